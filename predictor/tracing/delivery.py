"""Delivery of spans: a bounded queue, and one thread that sends what is in it.

The SDK's own span processor logs a line for every span that it drops but does not count them, waits
up to half a minute at shutdown, and makes the spans on the thread that answers requests.
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

# Most spans in the queue: about 10 MB, or one second at 1000 sampled requests a second.
QUEUE_SPANS = 8192
# Most spans per export. Encoding them takes 1 ms, during which the event loop may have to wait.
AT_ONCE = 128
# How long spans wait for others to be exported with, seconds.
DELAY_S = 1.0
# Longest wait for an aborted export at shutdown, seconds.
ABORT_S = 0.5

Fate = Literal["exported", "failed", "dropped"]
Count = Callable[[Fate, int], None]
Make = Callable[[], Sequence[PlainSpan]]


class Sender(Protocol):
    """Sends spans. Used on the delivery's thread, except for `close`, which any thread may call."""

    def send(self, spans: Sequence[PlainSpan]) -> str:
        """Send spans within a bounded time; return why they were not sent, or an empty text."""

    def close(self) -> None:
        """Abort an export that is under way."""


class Delivery:
    """Queues spans and sends them. `put` never waits; only the event loop's thread calls it.

    If the sending thread dies, the queue fills up, and further spans are dropped and counted.
    """

    def __init__(self, sender: Sender, count: Count) -> None:
        self._sender = sender
        self._count = count
        self._queue: deque[tuple[int, Make]] = deque()
        # Each of these is written by one thread only, so no lock is needed.
        self._put = 0
        self._removed = 0
        self._closing = False
        self._abandoned = False
        self._failing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._main, name="tracing", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Spans in the queue."""
        return self._put - self._removed

    def put(self, size: int, make: Make) -> None:
        """Queue the `size` spans that `make` will make, or drop them if there is no room."""
        waiting = self._put - self._removed + size
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
        """Send one export, and further ones while the queue holds a full export."""
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
        self._removed += size
        return size, makes

    def _deliver(self, size: int, makes: Sequence[Make]) -> None:
        try:
            reason = self._sender.send([span for make in makes for span in make()])
        except Exception:  # the next export may succeed
            if not self._failing:  # once, not at every export
                logger.exception("spans could not be sent")
            reason = "see the previous error"
        self._count("failed" if reason else "exported", size)
        if bool(reason) != self._failing:
            self._failing = bool(reason)
            if reason:
                logger.warning("spans are not delivered: %s", reason[:500])
            else:
                logger.info("spans are delivered again")

    async def close(self, timeout_s: float) -> None:
        """Send the queue for at most about `timeout_s`, and drop the rest."""
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
