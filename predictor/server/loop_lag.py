"""How late the event loop is: everything on it waits as long, and no other metric shows it."""

import asyncio

from predictor.metrics import LOOP_LAG_SECONDS

INTERVAL_S = 0.1


class LoopLag:
    """Measures the running loop until stopped: a timer that sees how late it is called."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle = self._again()

    def _again(self) -> asyncio.TimerHandle:
        self._due = self._loop.time() + INTERVAL_S
        return self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        LOOP_LAG_SECONDS.observe(max(0.0, self._loop.time() - self._due))
        self._handle = self._again()

    def stop(self) -> None:
        self._handle.cancel()
