"""Writes to Redis, behind everybody's back: a bounded queue and one task that empties it."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from predictor.cache.circuit import Circuit
from predictor.cache.redis_client import RedisClient, failure
from predictor.metrics import REDIS_FAILURES, REDIS_SECONDS

logger = logging.getLogger(__name__)

# Values waiting, bytes; 5000 rows of 384 dimensions.
QUEUE_BYTES = 8 << 20
# Rows a round trip: what is packed at once holds the event loop.
AT_ONCE = 32
# Nobody waits for a write; this only keeps a dead connection from being waited for for ever.
WRITE_S = 1.0
# Times the task is started again after an error that nobody foresaw.
MAX_RESTARTS = 3


class Writer:
    """Takes pairs without waiting. What does not fit, or what Redis does not take, is dropped."""

    def __init__(self, client: RedisClient, ttl_s: int) -> None:
        self._client, self._ttl_s = client, ttl_s
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._queued_bytes = 0
        self._filled = asyncio.Event()
        self._circuit = Circuit("writes")
        self._task: asyncio.Task[None] | None = None
        self._restarts = 0
        self._dropped = REDIS_FAILURES.labels("dropped")
        self._refused = REDIS_FAILURES.labels("refused")
        self._seconds = REDIS_SECONDS.labels("set")

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    def put(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Queue what fits; count the rest as dropped."""
        for pair in pairs:
            size = len(pair[0]) + len(pair[1])
            if self._task is None or self._queued_bytes + size > QUEUE_BYTES:
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
        started, refused = now(), 0
        try:
            async with asyncio.timeout(WRITE_S):
                if batch:
                    refused = await self._client.set(batch, self._ttl_s)
                else:
                    await self._client.ping()
        except Exception as error:
            self._circuit.failed(*failure(error), now())
        else:
            if refused:
                self._refused.inc(refused - 1)
                self._circuit.failed("refused", "is its memory full, or is it a replica?", now())
            else:
                self._circuit.succeeded()
        finally:
            self._seconds.observe(now() - started)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task has no way to end but `stop`; anything else is a fault of ours."""
        if task.cancelled() or task is not self._task:
            return
        self._restarts += 1
        again = self._restarts <= MAX_RESTARTS
        logger.error(
            "the writer to Redis died, %s", "restarted" if again else "no more rows are written",
            exc_info=task.exception(),
        )  # fmt: skip
        self._task = None
        if again:
            self.start()
        else:
            self._dropped.inc(len(self._queue))
            self._queue.clear()
            self._queued_bytes = 0

    async def stop(self) -> None:
        """End the task; what waits is dropped, as it can be computed again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=WRITE_S)
        self._queue.clear()
        self._queued_bytes = 0
