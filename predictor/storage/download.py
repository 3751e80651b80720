"""Runs the downloading process: within a deadline, to its end, with nothing left of it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

import predictor
from predictor.progress import LINE_EVERY_S
from predictor.storage.failure import Failure, Reason
from predictor.storage.messages import Order, Report
from predictor.storage.tree import size_of
from predictor.storage.uri import mask_text, masked

logger = logging.getLogger(__name__)

# How often the process is looked at, and how long it may take to be gone when killed, seconds.
LOOK_S = 0.1
GONE_S = 5.0
# What is kept of what the process writes, bytes: the report is shorter, of the rest the end counts.
KEPT_BYTES = 65_536
# Of a repository on a hub: other frameworks' weights, and graphs that are not served.
UNWANTED = (
    "*.h5", "*.msgpack", "*.ot", "*.tflite", "coreml/*", "openvino/*",
    "onnx/model_*.onnx", "training_args.bin",
)  # fmt: skip


def child_environment(uri: str, environment: Mapping[str, str], temporary: Path) -> dict[str, str]:
    """The environment of the process: its temporary files go with the download."""
    child = dict(environment)
    child |= {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    child["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # Not HF_HOME: a token may lie there. Home may be read-only.
    for name in ("HF_HUB_CACHE", "HF_XET_CACHE", "MODELSCOPE_CACHE"):
        child.setdefault(name, str(temporary / "cache"))
    package = str(Path(predictor.__file__).parents[1])
    child["PYTHONPATH"] = os.pathsep.join(filter(None, (package, child.get("PYTHONPATH"))))
    chosen = child.get("STORAGE_ALLOW_PATTERNS") or child.get("STORAGE_IGNORE_PATTERNS")
    if uri.startswith("hf://") and not chosen:
        child["STORAGE_IGNORE_PATTERNS"] = ",".join(UNWANTED)
    return child


def download(uri: str, aside: Path, deadline: float, stop: threading.Event) -> Report:
    """Fetch to `aside/tree`; whatever happens, no process of it is left.

    Args:
        deadline: on the monotonic clock, seconds.
        stop: ends it early when set.
    """
    tree, temporary = aside / "tree", aside / "tmp"
    tree.mkdir()
    temporary.mkdir()
    # -P: no module of the working directory is taken for one of Python's.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "predictor.storage.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(uri, os.environ, temporary),
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        answer, log = Tail(process.stdout), Tail(process.stderr)
        _give(process.stdin, msgspec.json.encode(Order(uri, str(tree), os.getpid())))
        early = _wait(process, deadline, stop, _Watch(masked(uri), tree).look)
    finally:
        _end(process)
    written = mask_text(log.text().decode(errors="replace")).strip()
    if written:
        logger.debug("%s: the clients wrote: %s", masked(uri), written[-2000:])
    return Report(Failure(early)) if early else _report(answer.text(), process.returncode)


class Tail:
    """Reads a pipe to its end in a thread, and keeps the last of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = b""
        self._thread = threading.Thread(target=self._read, name="download-pipe", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), KEPT_BYTES):
                self._kept = (self._kept + chunk)[-KEPT_BYTES:]

    def text(self) -> bytes:
        self._thread.join(GONE_S)
        return self._kept


class _Watch:
    """A log line now and then, with what has come so far."""

    def __init__(self, shown: str, tree: Path) -> None:
        self._shown, self._tree = shown, tree
        self._started = self._last = time.monotonic()

    def look(self, now: float) -> None:
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            came = size_of(self._tree) / 1e6
            logger.info("fetching %s: %.1f MB in %.0f s", self._shown, came, now - self._started)


def _give(pipe: IO[bytes], order: bytes) -> None:
    # Broken if it is dead already, which its exit status tells.
    with suppress(BrokenPipeError), pipe:
        pipe.write(order)


def _wait(
    process: subprocess.Popen[bytes],
    deadline: float,
    stop: threading.Event,
    look: Callable[[float], None],
) -> Reason | None:
    """Wait for the end without taking the exit status: until then its group has a name."""
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        now = time.monotonic()
        if now >= deadline:
            return Reason.DEADLINE
        if stop.wait(min(LOOK_S, deadline - now)):
            return Reason.STOPPED
        look(now)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it forked."""
    # Nobody may be left in the group; macOS says PermissionError of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(GONE_S)
    except subprocess.TimeoutExpired:
        logger.error("process %d cannot be killed: its disk does not answer", process.pid)


def _report(answer: bytes, status: int | None) -> Report:
    try:
        return msgspec.json.decode(answer, type=Report)
    except msgspec.DecodeError:
        how = f"exit status {status}"
        if status is not None and status < 0:
            how = signal.Signals(-status).name
        return Report(Failure(Reason.KILLED, how))
