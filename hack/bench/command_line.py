"""The command line of the benchmark: hack/bench.sh passes its arguments on."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import against
from .harness import BenchOptions
from .sections import SECTIONS

ROUNDS = 3
ROUNDS_AGAINST = 7
SECONDS = 6.0


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """All arguments; `only` is a list of sections that exist."""
    parser = argparse.ArgumentParser(prog="bench.sh")
    parser.add_argument("--only", help="sections, comma-separated [default: all]")
    parser.add_argument("--rounds", type=int, help="samples of each figure")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one run")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s: does it run?")
    parser.add_argument("--json", type=Path, help="write all samples to this file as well")
    parser.add_argument("--against", metavar="COMMIT", help="compare with this commit instead")
    parser.add_argument(
        "--at-least", type=positive, metavar="RATIO", help="with --against: fail below this ratio"
    )
    parser.add_argument("--soak", action="store_true", help="memory over 200 000 requests")
    parser.add_argument("--reloads", type=int, default=100, help="changes of version in `reload`")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the runs")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="of our server")
    parser.add_argument(
        "--model-dir", type=Path, default=Path(".cache/models/all-MiniLM-L6-v2"), help="the model"
    )
    parser.add_argument("--server-flag", action="append", default=[], help="added to ours; repeat")
    arguments = parser.parse_args(words)
    if arguments.at_least is not None and arguments.against is None:
        parser.error("--at-least compares with a commit: name it with --against")
    if arguments.against is not None and arguments.server_flag:
        parser.error("--server-flag does not go with --against: both sides run with their defaults")
    arguments.only = _sections(parser, arguments)
    if arguments.rounds is None:
        arguments.rounds = ROUNDS if arguments.against is None else ROUNDS_AGAINST
    if arguments.quick:
        arguments.rounds = 1
        arguments.seconds = 2.0
        arguments.reloads = 10
    return arguments


def options(arguments: argparse.Namespace) -> BenchOptions:
    """What the sections are told."""
    return BenchOptions(
        venv=arguments.venv,
        model_dir=arguments.model_dir,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        seed=arguments.seed,
        soak=arguments.soak,
        reloads=arguments.reloads,
        server_flags=tuple(arguments.server_flag),
    )


def positive(text: str) -> float:
    """A number above 0; raises ValueError for any other."""
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def _sections(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    known: Iterable[str] = SECTIONS if arguments.against is None else against.SECTIONS
    if arguments.only is None:
        return list(known)
    chosen: list[str] = arguments.only.split(",")
    unknown = [name for name in chosen if name not in known]
    if unknown:
        parser.error(f"unknown sections {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen
