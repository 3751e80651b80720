"""Writes log lines in a thread, so that a reader of the log that stands still stops nothing.

Standard error of a container is a pipe of 64 KiB. If its reader stops, a write blocks, and a server
that writes from its event loop answers nothing any more, not even its probes.
"""

import logging
import os
import threading
import time
from collections import deque
from typing import TextIO
from weakref import WeakMethod

from predictor.metrics import LOG_LINES_DROPPED

# Characters that may wait; lines beyond them are dropped and counted.
MAX_CHARACTERS = 4 << 20
# Longest wait at the end of the process for the lines that still wait, seconds.
CLOSE_S = 2.0


class LogWriter(logging.Handler):
    """Formats records where they are made, and writes them to a stream in a thread of its own."""

    def __init__(self, stream: TextIO, max_characters: int = MAX_CHARACTERS) -> None:
        super().__init__()
        self._stream = stream
        self._max_characters = max_characters
        self._lines: deque[str] = deque()
        # Of the lines that wait or are being written.
        self._characters = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # A forked child has no thread; it is short-lived and may end without a flush.
        self._is_forked = False
        forked = WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or drop it if too much is waiting."""
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return
        if self._is_forked:
            self._write(line)
            return
        with self._changed:
            if self._characters + len(line) > self._max_characters:
                LOG_LINES_DROPPED.labels("queue_full").inc()
                return
            self._lines.append(line)
            self._characters += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = CLOSE_S) -> None:
        """Wait until all lines are written, but not for ever."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while self._characters and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
                text = "".join(self._lines)
                self._lines.clear()
            self._write(text)
            with self._changed:
                self._characters -= len(text)
                self._changed.notify_all()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # standard error is closed: there is nobody left to tell

    def _after_fork(self) -> None:
        self._changed = threading.Condition()
        self._lines = deque()
        self._characters = 0
        self._is_forked = True
