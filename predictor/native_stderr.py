"""What native libraries write to standard error, without the messages of panics.

Rust writes the message of a panic to the file descriptor itself, past the log, and a message may
quote the text that it was about. While a server runs, descriptor 2 is a pipe that a thread reads:
of a panic the log gets the place in the library's code, and everything else goes on as it came.
"""

import contextlib
import logging
import os
import re
import select
import sys
import threading
from collections.abc import Iterator

logger = logging.getLogger(__name__)

PANIC = re.compile(rb"thread '.*panicked at (.*)", re.DOTALL)
PLACE = re.compile(rb"([\w./@+-]+:\d+:\d+):\s*")
# A message ends when nothing was written for so long, seconds: it may itself look like other lines.
QUIET_S = 0.2
# Longest wait for the thread at the end, seconds.
STOP_S = 2.0
CHUNK_BYTES = 65_536
# A line that is longer is taken in pieces.
MAX_LINE_BYTES = 8192


class PanicScanner:
    """Separates the messages of panics from the rest; pure, fed in the order of the bytes."""

    def __init__(self) -> None:
        self._line = b""
        self._is_message = False

    def feed(self, chunk: bytes) -> tuple[bytes, list[str]]:
        """What may be written of these bytes, and the places of the panics that began in them."""
        if self._is_message:
            return b"", []
        self._line += chunk
        *lines, self._line = self._line.splitlines(keepends=True) or [b""]
        if self._line.endswith(b"\n") or len(self._line) > MAX_LINE_BYTES:
            lines.append(self._line)
            self._line = b""
        kept: list[bytes] = []
        for line in lines:
            if (panic := PANIC.match(line)) is not None:
                self._is_message = True
                self._line = b""
                place = PLACE.fullmatch(panic[1])
                shown = place[1].decode("ascii", "replace") if place else "an unknown place"
                return b"".join(kept), [shown]
            kept.append(line)
        return b"".join(kept), []

    def quiet(self) -> bytes:
        """What is left when nothing was written for a while."""
        line = self._line
        self._line = b""
        self._is_message = False
        return line


@contextlib.contextmanager
def without_panic_messages() -> Iterator[None]:
    """Filter descriptor 2 meanwhile; Python's own `sys.stderr` goes past the filter."""
    original = os.dup(2)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    before = sys.stderr
    # Never closed: log handlers keep the stream for as long as the process lives.
    copy = os.dup(original)
    sys.stderr = os.fdopen(copy, "w", 1, encoding="utf-8", errors="replace", closefd=False)
    thread = threading.Thread(target=_copy, args=(reader, original), name="stderr", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr = before
        os.dup2(original, 2)  # which closes the pipe: the thread reads it to its end
        thread.join(STOP_S)
        if not thread.is_alive():
            os.close(reader)
            os.close(original)


def _copy(reader: int, original: int) -> None:
    """Copy the pipe to the original descriptor until its other end is closed."""
    scanner = PanicScanner()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        if not poll.poll(QUIET_S * 1e3):
            _write(original, scanner.quiet())
            poll.poll()  # nothing is held back: wait for the next bytes, however long
        chunk = os.read(reader, CHUNK_BYTES)
        if not chunk:
            _write(original, scanner.quiet())
            return
        kept, places = scanner.feed(chunk)
        _write(original, kept)
        for place in places:
            logger.error(
                "a native library panicked at %s; its message is not logged, because it may quote "
                "a text",
                place,
            )


def _write(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody reads the log any more
        while content:
            content = content[os.write(descriptor, content) :]
