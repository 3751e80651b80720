"""Structured logs: one JSON object per line in a container, readable lines on a terminal."""

import logging
import os
import sys
from typing import TextIO

from predictor.logs.formats import JsonFormatter, TextFormatter
from predictor.logs.limit import LineLimit
from predictor.logs.writer import LogWriter

__all__ = ["JsonFormatter", "LineLimit", "LogWriter", "TextFormatter", "configure"]


def configure(log_format: str, level: str) -> LogWriter:
    """Send all logs to standard error in one format, replacing the previous configuration.

    Args:
        log_format: `json`, `text`, or `auto`: text if standard error is a terminal.

    Returns:
        The handler, which writes in a thread of its own; `flush` waits for it.
    """
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    writer = LogWriter(_own_stream())
    writer.setFormatter(TextFormatter() if as_text else JsonFormatter())
    writer.addFilter(LineLimit())
    root = logging.getLogger()
    root.handlers = [writer]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "kserve", "kserve.trace"):
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
        library.setLevel(max(logging.WARNING, root.level))
    return writer


def _own_stream() -> TextIO:
    """Standard error with a buffer of its own.

    A thread that is stopped by a full pipe holds the lock of its buffer, and the end of the process
    flushes `sys.stderr`.
    """
    try:
        descriptor = sys.stderr.fileno()
    except OSError:  # it was replaced by an object in memory
        return sys.stderr
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
