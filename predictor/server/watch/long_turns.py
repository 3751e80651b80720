"""Long turns of the event loop, with the route of the request that took them.

While one turn lasts, no other request, probe or deadline is served. Each step of a request between
two waits is timed, which takes less than a microsecond; what else stops the loop shows as the lag
of a timer (`loop_lag`) and has no route.
"""

import logging
from collections.abc import Coroutine, Generator
from time import perf_counter
from types import coroutine
from typing import Any, TypeVar

from predictor.metrics import LONG_TURNS

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds of a turn that is counted and logged: a quarter of the kubelet's timeout for a probe.
LONG_S = 0.25
# The label of turns that no request took.
NO_ROUTE = "none"


class LongTurns:
    """Counts and logs long turns of one process."""

    def __init__(self) -> None:
        # Number of turns so far.
        self.count = 0

    def record(self, route: str, seconds: float) -> None:
        """Count and log one turn; route: the template of its path, or gRPC's method."""
        self.count += 1
        LONG_TURNS.labels(route).inc()
        logger.warning(
            "a turn of the event loop took %.0f ms", seconds * 1e3, extra={"route": route}
        )


TURNS = LongTurns()


@coroutine
def timed(steps: Coroutine[Any, Any, T], route: str) -> Generator[Any, Any, T]:
    """Await a coroutine, and record each of its steps that takes long."""
    value: Any = None
    error: BaseException | None = None
    send = steps.send
    while True:
        started = perf_counter()
        try:
            waits_for = send(value) if error is None else steps.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            seconds = perf_counter() - started
            if seconds > LONG_S:
                TURNS.record(route, seconds)
        error = None
        try:
            value = yield waits_for
        except BaseException as thrown:  # cancelled: the coroutine decides what follows
            error = thrown
