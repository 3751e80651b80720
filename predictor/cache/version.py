"""The cache of one loaded model version, with the signature of the batcher that it stands before.

A row that is in memory costs a hash and a look-up, no task and no turn of the event loop. What is
missing is asked of Redis, if there is one, and of the batcher, in this order, by one request only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from predictor.cache.flights import Flights, Ids, Land
from predictor.cache.keys import row_key, version_state
from predictor.cache.memory import RowCache
from predictor.cache.redis_rows import RedisRows
from predictor.cache.redis_tier import RedisTier
from predictor.cache.rows import F32, joined, split, storable, widened
from predictor.errors import EngineError
from predictor.metrics import ModelMetrics
from predictor.types import FloatRows, Lane

logger = logging.getLogger(__name__)

Compute = Callable[[Sequence[Ids], Lane, float | None], Awaitable[FloatRows]]
# Rows hashed before other requests get a turn of the loop; long texts take 10 µs each.
ROWS_A_TURN = 64


def _nowhere(key: bytes) -> None:
    """The look-up where there is no memory tier."""


class VersionCache:
    """Rows of one version; `embed` may stand wherever `Batcher.embed` does. One event loop."""

    def __init__(
        self,
        compute: Compute,
        *,
        digest: str,
        variant: str,
        dimensions: int,
        memory: RowCache | None,
        redis: RedisTier | None,
        metrics: ModelMetrics,
    ) -> None:
        """Prepare; both tiers are shared with other versions and owned by the caller.

        Args:
            compute: the batcher's `embed`.
            digest: of the bundle, hex.
            dimensions: of a row as the engine gives it.
        """
        self._compute, self._dimensions = compute, dimensions
        self._memory = memory
        self._redis = RedisRows(redis, digest, dimensions) if redis else None
        self._look_up: Callable[[bytes], bytes | None] = memory.get if memory else _nowhere
        self._dtype = memory.dtype if memory else redis.dtype if redis else F32
        self._state = version_state(digest, variant, dimensions)
        self._flights = Flights(self._lead, self._kept)
        self._hits = metrics.cache_hits
        self._memory_hits = self._hits["memory"]
        self._misses, self._saved_tokens = metrics.cache_misses, metrics.cache_saved_tokens

    @property
    def flying(self) -> int:
        """Rows being computed for somebody at this moment."""
        return len(self._flights)

    async def embed(
        self,
        rows: Sequence[Ids],
        lane: Lane,
        deadline: float | None,
        *,
        use_cache: bool = True,
    ) -> FloatRows:
        """Vectors `[len(rows), dim]`, not normalised; the caller may change them.

        Args:
            deadline: on the event loop's clock, seconds.
            use_cache: False neither reads nor writes any tier.

        Raises:
            Overloaded, NotReady, DeadlineExceeded, EngineError: as the batcher.
        """
        if not use_cache:
            return await self._compute(rows, lane, deadline)
        if len(rows) <= ROWS_A_TURN:
            state = self._state
            keys = [row_key(state, ids) for ids in rows]
        else:
            keys = await self._keys_in_turns(rows)
        look_up = self._look_up
        stored = [look_up(key) for key in keys]
        if None in stored:
            return await self._fill(rows, keys, stored, lane, deadline)
        self._memory_hits.inc(len(rows))
        self._saved_tokens.inc(sum(map(len, rows)))
        return joined(stored, len(rows), self._dimensions, self._dtype)  # type: ignore[arg-type]

    async def _keys_in_turns(self, rows: Sequence[Ids]) -> list[bytes]:
        keys: list[bytes] = []
        for start in range(0, len(rows), ROWS_A_TURN):
            keys += [row_key(self._state, ids) for ids in rows[start : start + ROWS_A_TURN]]
            await asyncio.sleep(0)
        return keys

    async def _fill(
        self,
        rows: Sequence[Ids],
        keys: list[bytes],
        stored: list[bytes | None],
        lane: Lane,
        deadline: float | None,
    ) -> FloatRows:
        """A request of which at least one row is not in memory."""
        absent = [index for index, row in enumerate(stored) if row is None]
        wanted: dict[bytes, Ids] = {keys[index]: rows[index] for index in absent}
        hits = len(rows) - len(absent)
        landed = await self._flights.rows(wanted, lane, deadline)
        if hits:
            self._memory_hits.inc(hits)
        shared = len(absent) - len(wanted) + len(landed.shared)
        if shared:
            self._hits["flight"].inc(shared)
        if hits or shared:
            led = sum(map(len, wanted.values())) - sum(len(wanted[key]) for key in landed.shared)
            self._saved_tokens.inc(sum(map(len, rows)) - led)
        found = landed.rows
        filled = [
            found[key] if row is None else widened(row, self._dtype)
            for key, row in zip(keys, stored, strict=True)
        ]
        return joined(filled, len(rows), self._dimensions, F32)

    # What a leader does

    async def _lead(
        self, wanted: Mapping[bytes, Ids], lane: Lane, deadline: float | None, land: Land
    ) -> None:
        """Land every wanted row: from Redis, else computed."""
        if self._redis is not None:
            wanted = await self._from_redis(self._redis, wanted, land)
            if not wanted:
                return
        matrix = await self._compute(list(wanted.values()), lane, deadline)
        if matrix.shape != (len(wanted), self._dimensions) or matrix.dtype != F32:
            logger.error(
                "the engine gave %s %s instead of %s %s",
                matrix.dtype, matrix.shape, F32, (len(wanted), self._dimensions),
            )  # fmt: skip
            raise EngineError("the engine gave vectors of a wrong shape")
        self._misses.inc(len(wanted))
        rows = split(matrix)
        self._keep(wanted, storable(rows, matrix, self._dtype))
        for key, row in zip(wanted, rows, strict=True):
            land(key, row)

    def _keep(self, keys: Iterable[bytes], rows: list[bytes | None]) -> None:
        kept = [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]
        if self._memory is not None:
            put = self._memory.put
            for key, row in kept:
                put(key, row)
        if self._redis is not None:
            self._redis.put(kept)

    async def _from_redis(
        self, redis: RedisRows, wanted: Mapping[bytes, Ids], land: Land
    ) -> Mapping[bytes, Ids]:
        """Land what Redis has; what it has not."""
        rows = await redis.get(list(wanted))
        absent: dict[bytes, Ids] = {}
        tokens = 0
        for (key, ids), row in zip(wanted.items(), rows, strict=True):
            if row is None:
                absent[key] = ids
                continue
            if self._memory is not None:
                self._memory.put(key, row)
            tokens += len(ids)
            land(key, widened(row, self._dtype))
        self._hits["redis"].inc(len(wanted) - len(absent))
        self._saved_tokens.inc(tokens)
        return absent

    def _kept(self, key: bytes) -> bytes | None:
        row = self._look_up(key)
        return None if row is None else widened(row, self._dtype)
