"""Runs the downloading process within a deadline, and leaves no process of it behind."""

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
from predictor.storage.failure import Failure, FailureKind
from predictor.storage.messages import FetchOrder, FetchReport
from predictor.storage.tree import size_of
from predictor.storage.uri import mask_text, masked

logger = logging.getLogger(__name__)

# Time between two checks of the process, seconds.
POLL_S = 0.1
# Longest wait for the end of a process that was killed, seconds.
KILL_S = 5.0
# Bytes kept of the end of each output of the process; the report is shorter.
KEPT_BYTES = 65_536
# Files of a hub's repository that are not fetched: other frameworks' weights, other graphs.
UNWANTED = (
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.tflite",
    "coreml/*",
    "openvino/*",
    "onnx/model_*.onnx",
    "training_args.bin",
)


def child_environment(uri: str, environment: Mapping[str, str], temporary: Path) -> dict[str, str]:
    """The environment of the process, with its temporary files in the folder `temporary`."""
    child = dict(environment)
    child |= {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    child["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # Not HF_HOME, which may hold a token. The home directory may be read-only.
    for name in ("HF_HUB_CACHE", "HF_XET_CACHE", "MODELSCOPE_CACHE"):
        child.setdefault(name, str(temporary / "cache"))
    package = str(Path(predictor.__file__).parents[1])
    child["PYTHONPATH"] = os.pathsep.join(filter(None, (package, child.get("PYTHONPATH"))))
    patterns = child.get("STORAGE_ALLOW_PATTERNS") or child.get("STORAGE_IGNORE_PATTERNS")
    if uri.startswith("hf://") and not patterns:
        child["STORAGE_IGNORE_PATTERNS"] = ",".join(UNWANTED)
    return child


def download(
    uri: str, staging: Path, deadline: float, timeout_s: float, stop: threading.Event
) -> FetchReport:
    """Fetch to `staging/tree`; no process of it is left, whatever happens.

    Args:
        deadline: on the monotonic clock, seconds.
        timeout_s: what the deadline was made of, for the message.
        stop: ends the download early when set.
    """
    tree, temporary = staging / "tree", staging / "tmp"
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
        report, log = Tail(process.stdout), Tail(process.stderr)
        _send(process.stdin, msgspec.json.encode(FetchOrder(uri, str(tree), os.getpid())))
        progress = _ProgressLog(masked(uri), tree)
        is_given_up = _wait(process, deadline, stop, progress.update)
    finally:
        _end(process)
    written = mask_text(log.text().decode(errors="replace")).strip()
    if written:
        logger.debug("%s: the clients wrote: %s", masked(uri), written[-2000:])
    if is_given_up and stop.is_set():
        return FetchReport(Failure(FailureKind.FAILED, "stopped before it was fetched"))
    if is_given_up:
        megabytes = size_of(tree) / 1e6
        detail = f"not fetched within {timeout_s:g} s ({megabytes:.1f} MB came)"
        return FetchReport(Failure(FailureKind.TIMED_OUT, detail))
    return _report(report.text(), process.returncode)


class Tail:
    """Reads a pipe to its end in a thread, and keeps its last bytes."""

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
        self._thread.join(KILL_S)
        return self._kept


class _ProgressLog:
    """A log line every `LINE_EVERY_S` seconds with the size of the download so far."""

    def __init__(self, shown: str, tree: Path) -> None:
        self._shown = shown
        self._tree = tree
        self._started = time.monotonic()
        self._last = self._started

    def update(self, now: float) -> None:
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            megabytes = size_of(self._tree) / 1e6
            elapsed_s = now - self._started
            logger.info("fetching %s: %.1f MB in %.0f s", self._shown, megabytes, elapsed_s)


def _send(pipe: IO[bytes], order: bytes) -> None:
    # The pipe is broken if the process is dead already; its exit status says so.
    with suppress(BrokenPipeError), pipe:
        pipe.write(order)


def _wait(
    process: subprocess.Popen[bytes],
    deadline: float,
    stop: threading.Event,
    on_poll: Callable[[float], None],
) -> bool:
    """Wait for the end of the process; whether it was given up instead.

    The exit status is left: until it is taken, no other process group gets this one's number.
    """
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        now = time.monotonic()
        if now >= deadline or stop.wait(min(POLL_S, deadline - now)):
            return True
        on_poll(now)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it forked."""
    # The group may be empty; macOS raises PermissionError for zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(KILL_S)
    except subprocess.TimeoutExpired:
        logger.error("process %d cannot be killed: its disk does not answer", process.pid)


def _report(content: bytes, status: int | None) -> FetchReport:
    try:
        return msgspec.json.decode(content, type=FetchReport)
    except msgspec.DecodeError:
        how = f"exit status {status}"
        if status is not None and status < 0:
            how = signal.Signals(-status).name
        detail = f"the process that fetches was killed ({how}), often for memory"
        hint = "raise the container's limit, or fetch again"
        return FetchReport(Failure(FailureKind.FAILED, detail, hint))
