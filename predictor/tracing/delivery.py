"""The way of spans out of the process: a bounded queue and one thread that empties it.

The SDK's own processor logs a line for every span that it drops and counts none, waits up to half a
minute at the end, and has spans made on the thread that answers requests.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from predictor.tracing.spans import PlainSpan

logger = logging.getLogger(__name__)

# Spans waiting: about 10 MB, or a second of 1000 sampled requests.
QUEUE_SPANS = 8192
# Spans an export: encoding them takes a millisecond, in which the event loop may have to wait.
AT_ONCE = 128
# How long spans wait for company, seconds.
DELAY_S = 1.0
# What aborting an export may take at the end, seconds.
ABORT_S = 0.5

Fate = Literal["exported", "failed", "dropped"]
Count = Callable[[Fate, int], None]
Make = Callable[[], Sequence[PlainSpan]]


class Sender(Protocol):
    """Where spans go. Used on the delivery's thread; `close` from any."""

    def send(self, spans: Sequence[PlainSpan]) -> str:
        """Deliver within a bounded time; why they were not, or nothing."""

    def close(self) -> None:
        """Abort what is being sent."""


class Delivery:
    """`put` from one thread (the event loop's) and never wait.

    Should the thread die, the queue fills up and the rest is dropped, which is counted.
    """

    def __init__(self, sender: Sender, count: Count) -> None:
        self._sender, self._count = sender, count
        self._queue: deque[tuple[int, Make]] = deque()
        # Each written by one thread only, so that no lock is needed.
        self._put = self._taken = 0
        self._closing = self._abandoned = self._failing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._main, name="tracing", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Spans in the queue."""
        return self._put - self._taken

    def put(self, size: int, make: Make) -> None:
        """Queue what `make` will make of it, `size` spans; or drop it if there is no room."""
        waiting = self._put - self._taken + size
        if waiting > QUEUE_SPANS or self._closing:
            self._count("dropped", size)
            return
        self._put += size
        self._queue.append((size, make))
        if waiting >= AT_ONCE and not self._wake.is_set():
            self._wake.set()

    def _main(self) -> None:
        while not self._closing:
            self._wake.wait(DELAY_S)
            self._wake.clear()
            self._empty()
        self._empty()

    def _empty(self) -> None:
        """Send what waits. A part of an export's worth is left to wait, unless it was all."""
        while self._queue and not self._abandoned:
            self._deliver(*self._take())
            if not self._closing and self.waiting < AT_ONCE:
                return

    def _take(self) -> tuple[int, list[Make]]:
        size, makes = 0, []
        while self._queue and size + self._queue[0][0] <= AT_ONCE:
            spans, make = self._queue.popleft()
            makes.append(make)
            size += spans
        self._taken += size
        return size, makes

    def _deliver(self, size: int, makes: Sequence[Make]) -> None:
        try:
            reason = self._sender.send([span for make in makes for span in make()])
        except Exception:  # whatever it is, the next ones may go well
            if not self._failing:  # once, not at every export
                logger.exception("spans could not be sent")
            reason = "see the error before"
        self._count("failed" if reason else "exported", size)
        if bool(reason) != self._failing:
            self._failing = bool(reason)
            if reason:
                logger.warning("spans are not delivered: %s", reason[:500])
            else:
                logger.info("spans are delivered again")

    async def close(self, timeout_s: float) -> None:
        """Send what waits, for at most about `timeout_s`; the rest is dropped."""
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(self._end, time.monotonic() + timeout_s)

    def _end(self, deadline: float) -> None:
        self._thread.join(max(deadline - time.monotonic() - ABORT_S, 0.0))
        self._abandoned = True
        self._sender.close()
        self._thread.join(ABORT_S)
        if self.waiting:
            self._count("dropped", self.waiting)
