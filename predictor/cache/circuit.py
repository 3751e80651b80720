"""A breaker with its log lines and counters, for reads from and writes to Redis."""

import logging

from predictor.cache.breaker import Breaker
from predictor.metrics import REDIS_FAILURES

logger = logging.getLogger(__name__)


class Circuit:
    """Decides whether to use Redis, and logs when that changes. `what` is reads or writes."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._breaker = Breaker()

    @property
    def open(self) -> bool:
        return self._breaker.open

    def allows(self, now: float) -> bool:
        return self._breaker.allows(now)

    def record_success(self) -> None:
        if self._breaker.record_success():
            logger.info("Redis answers again: %s resumed", self._what)

    def record_failure(self, reason: str, detail: str, now: float) -> None:
        """Count one failure.

        Args:
            reason: a label of REDIS_FAILURES.
            detail: for the log; never the error's text, which may quote the URL.
        """
        REDIS_FAILURES.labels(reason).inc()
        if self._breaker.record_failure(now):
            logger.warning("Redis fails (%s, %s): %s paused", reason, detail, self._what)
