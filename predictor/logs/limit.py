"""One rate limit for every log line that a client can cause, with or without a key."""

import logging
import time

from predictor.metrics import LOG_LINES_DROPPED

# Lines that one place in the code may write at once, and per second after that.
BURST = 20.0
PER_SECOND = 1.0
# Our loggers whose lines clients can cause; so can those of any library.
BY_CLIENTS = ("predictor.server.http", "predictor.server.grpc_server", "predictor.batcher")
# The access log has a limit of its own (`--access-log-rate`).
EXEMPT = "predictor.access"


class _Bucket:
    """What one place in the code may still write."""

    __slots__ = ("left", "skipped", "time_s")

    def __init__(self, now: float) -> None:
        self.left = BURST
        self.time_s = now
        self.skipped = 0


class LineLimit(logging.Filter):
    """Limits the lines of each place; the next line says how many were left out before it.

    The lines are those of libraries, those about one request (they carry a request id), and those
    of our own loggers that clients reach. Lines of level debug are not limited: an operator has
    asked for them.
    """

    def __init__(self) -> None:
        super().__init__()
        # By logger and line number, so there are no more of them than log statements.
        self._buckets: dict[tuple[str, int], _Bucket] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.levelno < logging.INFO or not _is_by_clients(record):
            return True
        now = time.monotonic()
        place = (record.name, record.lineno)
        bucket = self._buckets.get(place) or self._buckets.setdefault(place, _Bucket(now))
        bucket.left = min(BURST, bucket.left + (now - bucket.time_s) * PER_SECOND)
        bucket.time_s = now
        if bucket.left < 1.0:
            bucket.skipped += 1
            LOG_LINES_DROPPED.labels("rate").inc()
            return False
        bucket.left -= 1.0
        if bucket.skipped:
            record.skipped = bucket.skipped
            bucket.skipped = 0
        return True


def _is_by_clients(record: logging.LogRecord) -> bool:
    name = record.name
    if name == EXEMPT:
        return False
    is_library = not name.startswith("predictor")
    return is_library or hasattr(record, "request_id") or name.startswith(BY_CLIENTS)
