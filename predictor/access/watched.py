"""A small file that is read again when it changes; its last valid content stays in force.

Kubernetes mounts a Secret as links through `..data`, which it replaces in one step, so the file at
the end of the links is checked. If a new file is missing, half written or unreadable, the previous
content stays in force and one line is logged. A bad file therefore neither admits unknown clients
nor refuses all requests.

Reading is synchronous, on the event loop: a check takes microseconds on the file systems on which
such files are mounted, and a changed file is read once or twice.
"""

import codecs
import errno
import hashlib
import logging
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from predictor.errors import BadSetting

logger = logging.getLogger(__name__)

T = TypeVar("T")
# Identifies a state of the file; if the file cannot be examined, the number of the error.
Stamp = tuple[int, ...]

# Time between two checks of the file, seconds.
CHECK_EVERY_S = 1.0
# A Kubernetes Secret has at most 1 MiB.
MAX_BYTES = 16 << 20


class WatchedFile(Generic[T]):
    """The file that a flag names; `value` is its parsed content. Used on one event loop only."""

    def __init__(self, flag: str, path: Path, parse: Callable[[bytes], T]) -> None:
        """Read the file for the first time.

        Args:
            parse: parses the content; raises BadSetting with the problem, without any secret.

        Raises:
            BadSetting: the file cannot be read or parsed; the message names flag and path.
        """
        self._origin = f"{flag} {path}"
        self._path = path
        self._parse = parse
        self._checked_at_s = -math.inf
        self._logged_problem: tuple[Stamp, str] | None = None
        self._stamp = _stamp(path)
        self._is_stable = False
        try:
            content = _read(path)
            self.value = parse(content)
        except OSError as error:
            raise BadSetting(f"{self._origin}: {_reason(error)}") from None
        except BadSetting as error:
            raise BadSetting(f"{self._origin}: {error}") from None
        self._content: bytes | None = hashlib.sha256(content).digest()

    def refresh(self, now: float) -> bool:
        """Check the file unless it was checked less than a second ago.

        Args:
            now: monotonic seconds; if the time goes back, the file is only checked earlier.

        Returns:
            Whether `value` was replaced.
        """
        if 0.0 <= now - self._checked_at_s < CHECK_EVERY_S:
            return False
        self._checked_at_s = now
        stamp = _stamp(self._path)
        if stamp == self._stamp and self._is_stable:
            return False
        # A changed file is read once more at the next check: file system clocks are coarse, and a
        # write in the same tick as the read does not change the stamp.
        self._is_stable = stamp == self._stamp
        self._stamp = stamp
        return self._read_again()

    def _read_again(self) -> bool:
        try:
            content = _read(self._path)
        except OSError as error:
            # Read it again: the error may go away without a change of the stamp, such as EMFILE.
            self._is_stable = False
            self._content = None
            return self._log_problem(_reason(error))
        digest = hashlib.sha256(content).digest()
        if digest == self._content:
            return False
        self._content = digest
        try:
            self.value = self._parse(content)
        except BadSetting as error:
            return self._log_problem(str(error))
        self._logged_problem = None
        logger.info("%s: read again", self._origin)
        return True

    def _log_problem(self, reason: str) -> bool:
        """Log a problem once for each state of the file; False, as nothing was replaced."""
        if (self._stamp, reason) != self._logged_problem:
            self._logged_problem = (self._stamp, reason)
            logger.error("%s: %s; the previous content stays in force", self._origin, reason)
        return False


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    # The change time is included because corrected permissions change nothing else.
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _read(path: Path) -> bytes:
    """All of a regular file, without a byte order mark.

    Raises:
        OSError: it is missing, unreadable, not a regular file, or too large.
    """
    # Non-blocking, because opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MAX_BYTES} bytes")
    return content.removeprefix(codecs.BOM_UTF8)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
