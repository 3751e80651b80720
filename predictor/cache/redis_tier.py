"""The second tier: rows in Redis or Valkey, shared by pods and kept over restarts.

It may be slow, full, down or give wrong answers: a request loses the time limit at most, and a
circuit makes that rare. Values are opaque here; `frame` checks them.
"""

import asyncio
import logging
from collections.abc import Iterable

from predictor.cache.circuit import Circuit
from predictor.cache.redis_client import RedisClient, classify_error
from predictor.cache.redis_writer import RedisWriter
from predictor.cache.rows import DTYPES
from predictor.metrics import REDIS_FAILURES, REDIS_OPEN, REDIS_SECONDS
from predictor.settings import CacheSettings

logger = logging.getLogger(__name__)

# Keys an MGET: reading this many answers holds the event loop for about a millisecond. Answers that
# came within the time limit count, the other rows are computed.
AT_ONCE = 128
# Longest wait for the connections to close, seconds.
CLOSE_S = 1.0


class RedisTier:
    """One a process. Create anywhere; `start`, `get`, `put` and `stop` on one event loop."""

    def __init__(self, settings: CacheSettings) -> None:
        """Check the settings; nothing is connected.

        Raises:
            BadSetting: the redis package is missing, or the URL is not that of a Redis.
        """
        self.dtype = DTYPES[settings.cache_dtype]
        self._timeout_s = settings.cache_redis_timeout_ms / 1000
        self._client = RedisClient(settings.cache_redis_url)
        self._writer = RedisWriter(self._client, settings.cache_redis_ttl_s)
        self._circuit = Circuit("reads")
        self._started = False
        self._seconds = REDIS_SECONDS.labels("get")
        REDIS_OPEN.set_function(lambda: self._circuit.open)

    def start(self) -> None:
        self._started = True
        self._writer.start()

    async def get(self, keys: list[bytes]) -> list[bytes | None]:
        """The values of `keys`, None for those that are missing or late."""
        now = asyncio.get_running_loop().time
        started = now()
        values: list[bytes | None] = []
        if self._started and self._circuit.allows(started):
            try:
                async with asyncio.timeout(self._timeout_s):
                    for at in range(0, len(keys), AT_ONCE):
                        values += await self._client.get(keys[at : at + AT_ONCE])
            except Exception as error:
                if values:  # it answers, but not all of a large request in time
                    REDIS_FAILURES.labels(classify_error(error)[0]).inc()
                else:
                    self._circuit.record_failure(*classify_error(error), now())
            else:
                self._circuit.record_success()
            self._seconds.observe(now() - started)
        return values + [None] * (len(keys) - len(values))

    def put(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Have values written soon; never waits."""
        self._writer.put(pairs)

    async def stop(self) -> None:
        """End the writer and close the connections."""
        self._started = False
        await self._writer.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._client.close()
        except Exception as error:
            logger.warning("closing the connections to Redis failed: %s", type(error).__name__)
