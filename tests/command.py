"""The `predictor` command run to its end: what it prints, and its exit code.

To import the libraries takes longer than most commands run. So a process that has imported them
(`tests.fork_server`) forks for each command, which is then a process of its own with its own
streams, environment and end. Whole starts are tested where a start matters: every `tests.serving`
server, and the exports that are interrupted while they import.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deadlines import DEADLINE_S

# Variables that are read while Python starts or a library is imported.
READ_AT_START = ("PYTHON", "LD_", "HF_", "OMP_", "TRANSFORMERS_")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class ForkServer:
    """One for each process of the tests; started with the first command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, arguments: list[str], streams: list[str], environment: Mapping[str, str]) -> int:
        """The exit code; streams are paths of files: standard input, output and error.

        Raises:
            TimeoutError: the command did not end by the deadline; it is killed.
        """
        order = {
            "arguments": arguments,
            "streams": streams,
            "environment": dict(environment),
            "folder": os.getcwd(),
        }
        with self._lock:
            server = self._running()
            assert server.stdin is not None
            server.stdin.write(json.dumps(order).encode() + b"\n")
            process_id = int(self._answer(server))
            try:
                return int(self._answer(server))
            except TimeoutError:
                os.kill(process_id, signal.SIGKILL)
                self._answer(server)
                raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server"],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Unbuffered: a line that waits in a buffer of this process is not seen by `select`.
                bufsize=0,
            )
            atexit.register(self._stop)
        return self._process

    def _answer(self, server: subprocess.Popen[bytes]) -> bytes:
        assert server.stdout is not None
        if not select.select([server.stdout], [], [], DEADLINE_S)[0]:
            raise TimeoutError("the command did not end")
        line = server.stdout.readline()
        if not line:
            raise RuntimeError(f"the fork server ended with {server.wait(DEADLINE_S)}")
        return line

    def _stop(self) -> None:
        if self._process is not None:
            self._process.communicate()


_SERVER = ForkServer()


def run_command(
    *arguments: object, stdin: str = "", environment: Mapping[str, str] | None = None
) -> Ended:
    """Run `predictor ARGUMENT ...` to its end.

    Raises:
        TimeoutError: it did not end by the deadline.
    """
    changed = dict(environment or {})
    words = [str(argument) for argument in arguments]
    if any(name.startswith(READ_AT_START) for name in changed):
        return _run_started(words, stdin, changed)
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("in", "out", "err")]
        for path, content in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(content)
        code = _SERVER.run(words, [str(path) for path in streams], os.environ | changed)
        return Ended(code, streams[1].read_text(), streams[2].read_text())


def _run_started(words: list[str], stdin: str, changed: Mapping[str, str]) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "predictor", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=os.environ | changed,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
