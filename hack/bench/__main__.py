"""`python -m hack.bench`: run the chosen sections and print one table.

hack/bench.sh is the way in: it checks the needs and sets the server up. Exit code 1 says that
something did not run or answered errors. Slow is an error only where --at-least names a ratio.
"""

import argparse
import signal
import sys

from . import against, machine
from .command_line import options, parse
from .errors import BenchError
from .harness import Harness
from .report import PeerReport, log
from .sections import SECTIONS
from .software import versions


def main() -> int:
    # As an exception, SIGTERM ends the servers that are up, like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    arguments = parse()
    harness = Harness(options(arguments))
    if arguments.against is not None:
        return compare(harness, arguments)
    return measure(harness, arguments)


def measure(harness: Harness, arguments: argparse.Namespace) -> int:
    """Measure the server beside its peers."""
    report = PeerReport(machine.describe(), versions())
    for name in arguments.only:
        report.busy_cores = max(report.busy_cores, machine.busy_before(name))
        try:
            report.rows += SECTIONS[name](harness)
        except (BenchError, OSError) as error:
            report.failures[name] = str(error)
            log(f"{name} did not run: {error}")
    print(report.table())
    if arguments.json:
        report.write(arguments.json)
    return 0 if report.valid else 1


def compare(harness: Harness, arguments: argparse.Namespace) -> int:
    """Compare this tree with another commit."""
    try:
        results = against.run(harness, arguments.against, arguments.only, arguments.at_least)
    except BenchError as error:
        log(str(error))
        return 1
    print(results.table())
    if arguments.json:
        results.write(arguments.json)
    return results.exit_code


if __name__ == "__main__":
    sys.exit(main())
