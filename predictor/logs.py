"""Structured logs: one JSON object a line in a container, readable lines on a terminal.

Never a text of a user: what is logged of a request is its id, sizes, times and outcome. The message
of an unknown error may quote what was sent, so of a request only its type and place are written.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

# Attributes every record has; what else a record carries was given as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# Errors that led to one another and are written.
MAX_CHAIN = 8


class JsonFormatter(logging.Formatter):
    """Time (UTC, RFC 3339), level, logger, message, then the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info:
            event["exception"] = _places(record) or self.formatException(record.exc_info)
        return json.dumps(event, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """The same for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = _places(record) or record.exc_text  # which goes before `exc_info`
        fields = [f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD]
        return " ".join([super().format(record), *fields])


def _places(record: logging.LogRecord) -> str:
    """The error of a request without its messages; empty: the record has none, or no request.

    At level debug messages are written, too.
    """
    error = record.exc_info[1] if record.exc_info else None
    if not hasattr(record, "request_id") or logging.getLogger().isEnabledFor(logging.DEBUG):
        return ""
    parts: list[str] = []
    while error is not None and len(parts) < MAX_CHAIN:
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"{frames}{type(error).__module__}.{type(error).__qualname__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\n".join(reversed(parts))


def configure(log_format: str, level: str) -> None:
    """Send all logs to standard error in one format; replaces what was configured before.

    Args:
        log_format: `json`, `text`, or `auto`: text if standard error is a terminal.
    """
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "kserve", "kserve.trace"):
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
        library.setLevel(max(logging.WARNING, root.level))
