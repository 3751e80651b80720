"""The lag of the event loop: everything on it waits as long, and no other metric shows it."""

import asyncio

from predictor.metrics import LOOP_LAG_SECONDS
from predictor.server.watch.long_turns import LONG_S, NO_ROUTE, TURNS

INTERVAL_S = 0.1


class LoopLag:
    """Measures the running loop until it is stopped, by a timer that records how late it runs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle = self._schedule()

    def _schedule(self) -> asyncio.TimerHandle:
        self._recorded = TURNS.count
        self._due = self._loop.time() + INTERVAL_S
        return self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        late_s = max(0.0, self._loop.time() - self._due)
        LOOP_LAG_SECONDS.observe(late_s)
        # A turn that a request took is recorded already, with its route.
        if late_s > LONG_S and self._recorded == TURNS.count:
            TURNS.record(NO_ROUTE, late_s)
        self._handle = self._schedule()

    def stop(self) -> None:
        self._handle.cancel()
