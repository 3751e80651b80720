"""The two formats: one JSON object per line in a container, readable lines on a terminal.

No text of a user is logged: of a request only its id, sizes, times and outcome. The message of an
unknown error may quote the request, so only its type and traceback are written.
"""

import json
import logging
import traceback
from datetime import UTC, datetime

# Attributes that every record has; all others were passed as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# Most errors of a chain of causes that are written.
MAX_CHAIN = 8


class JsonFormatter(logging.Formatter):
    """Time (UTC, RFC 3339), level, logger, message, then the fields passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info:
            event["exception"] = _tracebacks(record) or self.formatException(record.exc_info)
        return json.dumps(event, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """The same content for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = _tracebacks(record) or record.exc_text  # which goes before `exc_info`
        fields = [f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD]
        return " ".join([super().format(record), *fields])


def _tracebacks(record: logging.LogRecord) -> str:
    """Types and tracebacks of a request's error; empty: the record has no error, or no request.

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
