"""What a client that behaves well sees while a server is attacked, as a table.

    python -m tests.attack.latencies [--only NAME,...] [--url URL --grpc-port PORT --key KEY]

Without --url it starts a server of its own, in a memory cgroup of 1 GiB where one can be made.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.attack.pod import resident_mb, started
from tests.attack.programs import PROGRAMS
from tests.attack.steady_client import (
    GrpcClient,
    Outcomes,
    RestClient,
    SteadyClient,
    Vector,
    expected_vectors,
    percentile,
)
from tests.attack.target import Target

# Seconds without an attack that are measured first.
QUIET_S = 5.0
HEAD = ("attack", "protocol", "answers", "p50 ms", "p99 ms", "max ms", "other answers", "RSS MiB")


def main() -> int:
    """Measure; 1 if a vector was wrong."""
    options = _options()
    names = options.only.split(",") if options.only else list(PROGRAMS)
    if options.url:
        address = urlsplit(options.url)
        target = Target(
            address.port or 80,
            options.grpc_port,
            options.key,
            options.model,
            address.hostname or "127.0.0.1",
        )
        return _table(target, names, lambda: "")
    model = os.environ["PREDICTOR_TEST_MODEL"]
    with tempfile.TemporaryDirectory() as folder:
        flags = (f"--model-dir={model}", f"--cache-dir={folder}", "--cache-mb=64")
        with started(Path(folder), *flags) as (server, target):
            return _table(target, names, lambda: f"{resident_mb(server):.0f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="names of attacks, separated by commas")
    parser.add_argument("--url", default="", help="a server that runs already")
    parser.add_argument("--grpc-port", type=int, default=8081)
    parser.add_argument("--key", default="")
    parser.add_argument("--model", default="minilm")
    return parser.parse_args()


def _table(target: Target, names: list[str], memory: Callable[[], str]) -> int:
    expected = expected_vectors(target)
    print("| " + " | ".join(HEAD) + " |")
    print("| --- | --- " + "| ---: " * 4 + "| --- | ---: |")
    wrong = _row("(none)", lambda _: time.sleep(QUIET_S), target, expected, memory)
    for name in names:
        wrong += _row(name, PROGRAMS[name], target, expected, memory)
    if wrong:
        print(f"{wrong} wrong vectors")
    return 1 if wrong else 0


def _row(
    name: str,
    attack: Callable[[Target], None],
    target: Target,
    expected: dict[str, Vector],
    memory: Callable[[], str],
) -> int:
    """Print the rows of an attack; the number of wrong vectors."""
    rest = SteadyClient(RestClient(target), expected)
    calls = SteadyClient(GrpcClient(target), expected, seed=1)
    with rest, calls:
        attack(target)
    for protocol, client in (("REST", rest), ("gRPC", calls)):
        print("| " + " | ".join((name, protocol, *_cells(client.outcomes), memory())) + " |")
    return rest.outcomes.wrong + calls.outcomes.wrong


def _cells(outcomes: Outcomes) -> list[str]:
    seconds = outcomes.seconds
    figures = [percentile(seconds, part) for part in (0.5, 0.99, 1.0)]
    others = [
        f"{count} {outcome}"
        for outcome, count in sorted(outcomes.counts.items())
        if outcome not in ("200", "OK")
    ]
    return [str(len(seconds)), *(f"{figure:.1f}" for figure in figures), ", ".join(others)]


if __name__ == "__main__":
    raise SystemExit(main())
