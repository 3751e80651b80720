"""Where a fetch writes until it is done: beside the versions, out of sight, one fetch at a time."""

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

from predictor.storage.download import LOOK_S
from predictor.storage.failure import FetchFailed, Reason
from predictor.storage.uri import masked

logger = logging.getLogger(__name__)

# Hidden, so that whoever looks for models does not see them.
ASIDE = ".fetching-"
LOCK = ".lock"


@contextmanager
def locked(uri: str, mirror: Path, deadline: float, stop: threading.Event) -> Iterator[None]:
    """One fetch at a time, of this process or of another one."""
    with (mirror / LOCK).open("wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline or stop.wait(LOOK_S):
                    message = f"{masked(uri)}: another process is still fetching into {mirror}"
                    raise FetchFailed(f"{message}; try again later", Reason.DEADLINE) from error
        yield


@contextmanager
def aside_of(mirror: Path) -> Iterator[Path]:
    """A folder on the mirror's file system to fetch into; those of killed processes go first."""
    for left in mirror.glob(f"{ASIDE}*"):
        logger.info("removing %s, left by a fetch that was killed", left)
        _remove(left)
    folder = Path(tempfile.mkdtemp(prefix=ASIDE, dir=mirror))
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Also what an archive made read-only."""
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
