"""A real server process on free ports, for tests that talk to it as a client would."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.deadlines import DEADLINE_S

# The system picks them: the ports by default may be taken on this machine.
FREE_PORTS = ("--http_port=0", "--grpc_port=0")


class Server:
    """`predictor serve` in a process of its own; its log lines are kept as parsed JSON."""

    def __init__(
        self,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Start it. wrapper: a command that runs the one which follows it."""
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._listening: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "predictor", "serve", *FREE_PORTS,
             "--host=127.0.0.1", "--log-format=json", *flags],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=os.environ | dict(environment or {}),
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        event = self._listening.get(timeout=DEADLINE_S)
        if event is None:
            raise RuntimeError("the server did not start:\n" + "\n".join(self.lines))
        self.http_port, self.grpc_port = event["http"], event["grpc"]
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.grpc = f"127.0.0.1:{self.grpc_port}"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            try:
                event = json.loads(line)
            except ValueError:
                continue
            self.events.append(event)
            if event.get("message") == "listening":
                self._listening.put(event)
        self._listening.put(None)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout_s: float = DEADLINE_S) -> int:
        """SIGTERM and wait; the exit code."""
        if self.process.poll() is None:
            self.terminate()
        code = self.process.wait(timeout_s)
        self._reader.join(DEADLINE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def wait_for_log(self, text: str, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The first event whose JSON holds `text`.

        Raises:
            TimeoutError: it did not come.
        """
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for event in list(self.events):
                if text in json.dumps(event):
                    return event
            time.sleep(0.01)
        raise TimeoutError(f"no log line with {text!r}:\n" + "\n".join(self.lines[-20:]))


def model_flags(model_dir: Path, cache_dir: Path) -> list[str]:
    """Flags to serve that model as `minilm`, without the cache and the watch of vectors.

    Most tests ask the same again and mean that it is run again, and some count what is run.
    """
    return [
        f"--model-dir={model_dir}",
        f"--cache-dir={cache_dir}",
        "--model_name=minilm",
        "--cache-mb=0",
        "--canonical-interval-s=0",
    ]
