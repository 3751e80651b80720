"""A process that has imported what the command imports, and forks for each command it is asked for.

`tests.command` starts it and talks to it: an order is a line of JSON on standard input; the answer
is a line with the child's process id, and one with its exit code once it has ended.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from typing import Any

# What the subcommands import, some of it only when they run.
PRELOADED = ("predictor.cli", "predictor.server.app", "predictor.export.convert", "onnx")


def main() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; their end ends this
    for line in sys.stdin:
        process_id = os.fork()
        if not process_id:
            _be_the_command(json.loads(line))
        print(process_id, flush=True)
        _, status = os.waitpid(process_id, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _be_the_command(order: dict[str, Any]) -> None:
    """Become `predictor ARGUMENT ...` with those streams and that environment; never return."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, path in enumerate(order["streams"]):
            flags = os.O_WRONLY if number else os.O_RDONLY
            os.dup2(os.open(path, flags), number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        tempfile.tempdir = None  # TMPDIR may be another one
        sys.argv = ["predictor", *order["arguments"]]
        sys.modules["predictor.cli"].main()
    except SystemExit as ended:  # argparse: help, and usage errors
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
