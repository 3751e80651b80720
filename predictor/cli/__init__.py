"""The command line. Errors are one line with the mend, and an exit code that is not 0."""

import argparse
import os
import sys
from typing import NoReturn

from predictor import __version__
from predictor.cli import ask, bench, compare, drift, export, inspect, rollout, serve
from predictor.errors import BadModel, BadSetting, Internal

COMMANDS = (serve, export, inspect, compare, bench, ask, drift, rollout)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code: 0, 1 (a model), 2 (a setting), 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(
        prog="predictor", description="Embedding server for Kubernetes.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"predictor {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    given = parser.parse_args(arguments)
    try:
        code = given.run(given)
    except (BadModel, BadSetting, Internal) as error:
        sys.stderr.write(f"predictor: {error}\n")
        code = 2 if isinstance(error, BadSetting) else 1
    except KeyboardInterrupt:
        sys.stderr.write("predictor: interrupted\n")
        code = 130
    except BrokenPipeError:  # the reader of a pipe went away
        code = 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout.flush()
    sys.stderr.flush()
    # Engine threads are daemons; nothing is left to wait for, and exit handlers could wait.
    os._exit(code)
