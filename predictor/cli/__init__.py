"""The command line. An error is one line with a hint, and an exit code other than 0."""

import argparse
import logging
import os
import sys
from typing import NoReturn

from predictor import __version__
from predictor.cli import ask, bench, compare, drift, export, inspect, rollout, serve
from predictor.errors import BadModel, BadSetting, Internal

COMMANDS = (serve, export, inspect, compare, bench, ask, drift, rollout)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code.

    0: success; 1: an error of the model; 2: an error of a setting; 130: interrupted by Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="predictor", description="Embedding server for Kubernetes.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"predictor {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    args = parser.parse_args(arguments)
    try:
        code = args.run(args)
    except (BadModel, BadSetting, Internal) as error:
        sys.stderr.write(f"predictor: {error}\n")
        code = 2 if isinstance(error, BadSetting) else 1
    except KeyboardInterrupt:
        sys.stderr.write("predictor: interrupted\n")
        code = 130
    except BrokenPipeError:  # the reader of the pipe has gone
        code = 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for handler in logging.getLogger().handlers:
        handler.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    # Engine threads are daemon threads, so there is nothing to wait for; exit handlers may block.
    os._exit(code)
