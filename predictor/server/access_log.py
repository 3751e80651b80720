"""One line a request, and not more lines a second than somebody could read. Never a text."""

import logging
import time

from predictor.timeline import Timeline

logger = logging.getLogger("predictor.access")


class AccessLog:
    """Errors of ours are always written; of the rest, `per_second` lines, evenly over the second.

    A line says how many were left out before it: rates can still be told from the log.
    """

    def __init__(self, per_second: int) -> None:
        self._gap_s = 1 / per_second
        self._next = 0.0
        self._skipped = 0

    def write(
        self, request_id: str, status: int, seconds: float, timeline: Timeline, **fields: str
    ) -> None:
        """Write a line, or count it as left out.

        Args:
            fields: protocol, model, version: the server's own words, never the client's.
        """
        now = time.monotonic()
        if now < self._next and status < 500:
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
