"""`python -m tests.load`: run the chosen sections and print one table.

hack/bench.sh is the way in: it checks the needs and sets the server up. Exit code 1 says that
something did not run or answered errors, never that it was slow.
"""

import argparse
import signal
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import environments, machine
from .bench import Bench, Options
from .errors import BenchError
from .report import Report, log
from .sections import SECTIONS

NOISY_CORES = 0.1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.sh")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, comma-separated")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each figure")
    parser.add_argument("--seconds", type=float, default=6, help="of one run")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s: does it run?")
    parser.add_argument("--soak", action="store_true", help="memory over 200 000 requests")
    parser.add_argument("--reloads", type=int, default=100, help="changes of version in `reload`")
    parser.add_argument("--json", type=Path, help="write all samples to this file as well")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the runs")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="of our server")
    parser.add_argument(
        "--model-dir", type=Path, default=Path(".cache/models/all-MiniLM-L6-v2"), help="the model"
    )
    parser.add_argument("--server-flag", action="append", default=[], help="added to ours; repeat")
    options = parser.parse_args()
    unknown = [name for name in options.only.split(",") if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown sections {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if options.quick:
        options.rounds, options.seconds, options.reloads = 1, 2, 10
    return options


def main() -> int:
    # As an exception, SIGTERM ends the servers that are up, like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    asked = arguments()
    bench = Bench(
        Options(
            venv=asked.venv,
            model_dir=asked.model_dir,
            rounds=asked.rounds,
            seconds=asked.seconds,
            seed=asked.seed,
            soak=asked.soak,
            reloads=asked.reloads,
            server_flags=tuple(asked.server_flag),
        )
    )
    report = Report(machine.describe(), versions())
    for name in asked.only.split(","):
        log(f"section {name}")
        busy = machine.busy_cores()
        report.busy_cores = max(report.busy_cores, busy)
        if busy > NOISY_CORES:
            log(f"other processes keep {busy:.1f} cores busy: these figures will say little")
        try:
            report.rows += SECTIONS[name](bench)
        except (BenchError, OSError) as error:
            report.failures[name] = str(error)
            log(f"{name} did not run: {error}")
    print(report.table())
    if asked.json:
        report.write(asked.json)
    return 0 if report.valid else 1


def versions() -> dict[str, str]:
    return {
        "ours: onnxruntime": onnxruntime_version(),
        "Infinity": environments.version("infinity", "infinity_emb"),
        "with onnxruntime": environments.version("infinity", "onnxruntime"),
        "naive: kserve": environments.version("naive", "kserve"),
        "onnxruntime": environments.version("naive", "onnxruntime"),
        "sentence-transformers": environments.version("st", "sentence-transformers"),
        "torch": environments.version("st", "torch"),
    }


def onnxruntime_version() -> str:
    """Of the package that this environment has: there is one for CPUs and one for CUDA."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(PackageNotFoundError):
            return version(package)
    return "?"


if __name__ == "__main__":
    sys.exit(main())
