"""A small file that is read again when it changes, and of which the last good content counts.

Kubernetes mounts a Secret as links through `..data`, which is swapped in one step: so it is the
file at the end of the links that is looked at. Whatever is wrong with a new file (gone, half
written, unreadable), what was read before stays in force and one line is logged: neither does a bad
file open the door, nor does it shut everybody out.

Reading is synchronous, on the event loop: a look costs microseconds on the file systems on which
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
# What tells one state of the file from another, or the number of the error that hides it.
Stamp = tuple[int, ...]

# Between two looks at the file, seconds.
LOOK_EVERY_S = 1.0
# A Kubernetes Secret has at most 1 MiB.
MAX_BYTES = 16 << 20


class WatchedFile(Generic[T]):
    """The file behind a flag, as `value`. One event loop only."""

    def __init__(self, flag: str, path: Path, parse: Callable[[bytes], T]) -> None:
        """Read the file for the first time.

        Args:
            parse: raises BadSetting with what is wrong, and repeats no secret.

        Raises:
            BadSetting: it cannot be read or parsed; names flag and path.
        """
        self._origin, self._path, self._parse = f"{flag} {path}", path, parse
        self._looked = -math.inf
        self._complaint: tuple[Stamp, str] | None = None
        self._stamp = _stamp(path)
        self._settled = False
        try:
            content = _read(path)
            self.value = parse(content)
        except OSError as error:
            raise BadSetting(f"{self._origin}: {_reason(error)}") from None
        except BadSetting as error:
            raise BadSetting(f"{self._origin}: {error}") from None
        self._content: bytes | None = hashlib.sha256(content).digest()

    def refresh(self, now: float) -> bool:
        """Look at the file unless it was looked at less than a second ago.

        Args:
            now: monotonic seconds; going back only makes it look earlier.

        Returns:
            Whether `value` was replaced.
        """
        if 0.0 <= now - self._looked < LOOK_EVERY_S:
            return False
        self._looked = now
        stamp = _stamp(self._path)
        if stamp == self._stamp and self._settled:
            return False
        # A file is read once more at the next look: clocks of file systems are coarse, and what is
        # written in the same tick as it was read leaves the stamp as it was.
        self._settled = stamp == self._stamp
        self._stamp = stamp
        return self._read_again()

    def _read_again(self) -> bool:
        try:
            content = _read(self._path)
        except OSError as error:
            # Not settled: it may go away without a trace in the stamp (too many open files).
            self._settled, self._content = False, None
            return self._complain(_reason(error))
        digest = hashlib.sha256(content).digest()
        if digest == self._content:
            return False
        self._content = digest
        try:
            self.value = self._parse(content)
        except BadSetting as error:
            return self._complain(str(error))
        self._complaint = None
        logger.info("%s: read again", self._origin)
        return True

    def _complain(self, reason: str) -> bool:
        """Log once for each state of the file; False, as nothing was replaced."""
        if (self._stamp, reason) != self._complaint:
            self._complaint = (self._stamp, reason)
            logger.error("%s: %s; what was read before stays in force", self._origin, reason)
        return False


def _stamp(path: Path) -> Stamp:
    try:
        seen = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    # The change time, too: permissions that were put right change nothing else.
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _read(path: Path) -> bytes:
    """All of a regular file, without a byte order mark.

    Raises:
        OSError: it is missing, unreadable, not a regular file, or too large.
    """
    # Not blocking: opening a pipe would wait for somebody to write.
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
