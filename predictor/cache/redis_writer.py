"""Writes to Redis in the background: a bounded queue and one task that empties it."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from predictor.cache.circuit import Circuit
from predictor.cache.redis_client import RedisClient, classify_error
from predictor.metrics import REDIS_FAILURES, REDIS_SECONDS
from predictor.supervised_task import SupervisedTask

logger = logging.getLogger(__name__)

# Values waiting, bytes; 5000 rows of 384 dimensions.
QUEUE_BYTES = 8 << 20
# Rows a round trip: what is packed at once holds the event loop.
AT_ONCE = 32
# Longest wait for one write, seconds; no request waits for it.
WRITE_S = 1.0


class RedisWriter:
    """Takes pairs without waiting. Pairs that do not fit, or that Redis refuses, are dropped."""

    def __init__(self, client: RedisClient, ttl_s: int) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._queued_bytes = 0
        self._filled = asyncio.Event()
        self._circuit = Circuit("writes")
        self._task = SupervisedTask("the writer to Redis")
        self._dropped = REDIS_FAILURES.labels("dropped")
        self._refused = REDIS_FAILURES.labels("refused")
        self._seconds = REDIS_SECONDS.labels("set")

    def start(self) -> None:
        self._task.start(self._run, self._give_up)

    def put(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Queue what fits; count the rest as dropped."""
        is_running = self._task.is_running
        for pair in pairs:
            size = len(pair[0]) + len(pair[1])
            if not is_running or self._queued_bytes + size > QUEUE_BYTES:
                self._dropped.inc()
                continue
            self._queue.append(pair)
            self._queued_bytes += size
        if self._queue:
            self._filled.set()

    async def _run(self) -> None:
        # A first connection within the long limit: TLS may take longer than a read may wait.
        await self._try([])
        while True:
            await self._filled.wait()
            batch = self._take()
            if self._circuit.allows(asyncio.get_running_loop().time()):
                await self._try(batch)
            else:
                self._dropped.inc(len(batch))

    def _take(self) -> list[tuple[bytes, bytes]]:
        batch = [self._queue.popleft() for _ in range(min(AT_ONCE, len(self._queue)))]
        self._queued_bytes -= sum(len(name) + len(value) for name, value in batch)
        if not self._queue:
            self._filled.clear()
        return batch

    async def _try(self, batch: list[tuple[bytes, bytes]]) -> None:
        """One round trip, or a ping if there is nothing to write."""
        now = asyncio.get_running_loop().time
        started = now()
        refused = 0
        try:
            async with asyncio.timeout(WRITE_S):
                if batch:
                    refused = await self._client.set(batch, self._ttl_s)
                else:
                    await self._client.ping()
        except Exception as error:
            self._circuit.record_failure(*classify_error(error), now())
        else:
            if refused:
                self._refused.inc(refused - 1)
                self._circuit.record_failure(
                    "refused", "is its memory full, or is it a replica?", now()
                )
            else:
                self._circuit.record_success()
        finally:
            self._seconds.observe(now() - started)

    def _give_up(self, report: str) -> None:
        """Drop what waits: the task has ended more often than it is restarted."""
        del report  # logged already
        logger.error("the writer to Redis is not restarted again: no more rows are written")
        self._dropped.inc(len(self._queue))
        self._clear()

    def _clear(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

    async def stop(self) -> None:
        """End the task; waiting pairs are dropped, as they can be computed again."""
        await self._task.stop(WRITE_S)
        self._clear()
