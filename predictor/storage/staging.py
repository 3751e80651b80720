"""The hidden folder beside the versions that a fetch writes into, for one fetch at a time."""

import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predictor.storage.download import POLL_S
from predictor.storage.failure import Failure, FailureKind
from predictor.storage.words import fetch_failed

logger = logging.getLogger(__name__)

# Hidden, so that a scan for models does not see it.
PREFIX = ".fetching-"
LOCK = ".lock"


@contextmanager
def mirror_lock(uri: str, mirror: Path, deadline: float, stop: threading.Event) -> Iterator[None]:
    """Hold the mirror for one fetch, among all processes.

    Raises:
        FetchFailed: another process held it until the deadline, or `stop` was set.
    """
    with (mirror / LOCK).open("wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline or stop.wait(POLL_S):
                    detail = f"another process is still fetching into {mirror}"
                    failure = Failure(FailureKind.TIMED_OUT, detail, "try again later")
                    raise fetch_failed(uri, failure, mirror) from error
        yield


@contextmanager
def staging_folder(mirror: Path) -> Iterator[Path]:
    """A new folder on the mirror's file system; folders of killed processes are removed first."""
    for left in mirror.glob(f"{PREFIX}*"):
        logger.info("removing %s, left by a fetch that was killed", left)
        _remove(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=mirror))
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, even one that an archive made read-only."""
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
