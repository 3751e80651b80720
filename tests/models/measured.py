"""Runs a command and says what it took; to be run as a program by `test_models.py`.

A program of its own, because Linux counts to a child's peak the memory of the process that started
it: this one's is small, that of a test with a model loaded is not.

    python -m tests.models.measured RESULT.json COMMAND [ARGUMENT ...]
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command, write the result and end with the command's exit code."""
    started = time.monotonic()
    code = subprocess.run(sys.argv[2:], check=False).returncode
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    Path(sys.argv[1]).write_text(json.dumps({"seconds": seconds, "peak_bytes": peak}))
    sys.exit(code)


if __name__ == "__main__":
    main()
