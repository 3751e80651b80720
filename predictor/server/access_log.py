"""The access log: one line per request, with a limit on lines per second. Never a text."""

import logging
import time

from predictor.timeline import Timeline

logger = logging.getLogger("predictor.access")

# Server errors that are logged in each second, whatever the limit.
MIN_ERRORS = 10


class AccessLog:
    """`per_second` lines, evenly over the second, and as many again about server errors.

    A line says how many were left out before it: rates can still be told from the log.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._gap_s = 1 / per_second
        self._next = 0.0
        self._skipped = 0
        # Lines about server errors in the second that began at `_second`.
        self._errors = 0
        self._second = 0.0

    def write(
        self, request_id: str, status: int, seconds: float, timeline: Timeline, **fields: str
    ) -> None:
        """Write a line, or count it as left out.

        Args:
            fields: protocol, model, version: the server's own words, never the client's.
        """
        now = time.monotonic()
        if not self._may_write(now, status):
            self._skipped += 1
            return
        self._next = max(self._next, now - self._gap_s) + self._gap_s
        skipped, self._skipped = self._skipped, 0
        logger.info(
            "request",
            extra={
                "request_id": request_id,
                "status": status,
                "ms": round(seconds * 1e3, 2),
                "queue_ms": round(timeline.queue * 1e3, 2),
                "run_ms": round(timeline.run * 1e3, 2),
                **fields,
                **({"skipped": skipped} if skipped else {}),
            },
        )

    def _may_write(self, now: float, status: int) -> bool:
        if status < 500:
            return now >= self._next
        if now - self._second >= 1.0:
            self._second = now
            self._errors = 0
        self._errors += 1
        return self._errors <= max(self._per_second, MIN_ERRORS)
