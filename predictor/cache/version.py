"""The cache of one loaded model version, in front of its batcher and with the same signature.

A row that is in memory takes a hash and a look-up, but no task and no iteration of the event loop.
A missing row is read from Redis, if Redis is used, and otherwise computed by the batcher. If
several requests need the same row, only one of them computes it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from predictor.cache.keys import row_key, version_state
from predictor.cache.memory import RowCache
from predictor.cache.redis_rows import RedisRows
from predictor.cache.redis_tier import RedisTier
from predictor.cache.rows import F32, join_rows, split_rows, storable, to_float32
from predictor.cache.single_flight import Complete, Ids, SingleFlight
from predictor.errors import EngineError, NotFinite
from predictor.types import FloatRows, Lane
from predictor.version_metrics import ModelMetrics
from predictor.wall import run_error

logger = logging.getLogger(__name__)

Compute = Callable[[Sequence[Ids], Lane, float | None], Awaitable[FloatRows]]
# Rows hashed before the event loop serves other requests; hashing a long text takes 10 µs.
ROWS_A_TURN = 64
# In place of a row that was computed and has no finite numbers; it is never stored.
NOT_FINITE = b""


def _no_memory(key: bytes) -> None:
    """Stand in for the look-up where there is no memory tier."""


class VersionCache:
    """Rows of one version; `embed` can replace `Batcher.embed`. Used on one event loop."""

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
        """Connect the tiers; both are shared with other versions and owned by the caller.

        Args:
            compute: the batcher's `embed`.
            digest: the digest of the bundle, in hexadecimal.
            dimensions: number of components of a row as the engine gives it.
        """
        self._compute = compute
        self._dimensions = dimensions
        self._memory = memory
        self._redis = RedisRows(redis, digest, dimensions) if redis else None
        self._find_stored: Callable[[bytes], bytes | None] = memory.get if memory else _no_memory
        self._dtype = memory.dtype if memory else redis.dtype if redis else F32
        self._state = version_state(digest, variant, dimensions)
        self._flights = SingleFlight(self._compute_rows, self._look_up)
        self._hits = metrics.cache_hits
        self._memory_hits = self._hits["memory"]
        self._misses = metrics.cache_misses
        self._saved_tokens = metrics.cache_saved_tokens

    async def embed(
        self,
        rows: Sequence[Ids],
        lane: Lane,
        deadline: float | None,
        *,
        use_cache: bool = True,
    ) -> FloatRows:
        """Return vectors `[len(rows), dim]`, not normalised; the caller may change them.

        Args:
            deadline: on the event loop's clock, seconds.
            use_cache: if False, no tier is read or written.

        Raises:
            Overloaded, NotReady, DeadlineExceeded, NotFinite, EngineError: see `Batcher.embed`.
        """
        if not use_cache:
            return await self._compute(rows, lane, deadline)
        if len(rows) <= ROWS_A_TURN:
            state = self._state
            keys = [row_key(state, ids) for ids in rows]
        else:
            keys = await self._keys_in_turns(rows)
        find_stored = self._find_stored
        try:
            stored = [find_stored(key) for key in keys]
        except BaseException as error:
            raise run_error("the cache", error) from error
        if None in stored:
            return await self._fill(rows, keys, stored, lane, deadline)
        self._memory_hits.inc(len(rows))
        self._saved_tokens.inc(sum(map(len, rows)))
        return join_rows(stored, len(rows), self._dimensions, self._dtype)  # type: ignore[arg-type]

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
        """Return the rows of a request of which at least one is not in memory."""
        absent = [index for index, row in enumerate(stored) if row is None]
        absent_rows: dict[bytes, Ids] = {keys[index]: rows[index] for index in absent}
        hits = len(rows) - len(absent)
        collected = await self._flights.rows(absent_rows, lane, deadline)
        if hits:
            self._memory_hits.inc(hits)
        shared = len(absent) - len(absent_rows) + len(collected.shared)
        if shared:
            self._hits["flight"].inc(shared)
        if hits or shared:
            led = sum(map(len, absent_rows.values())) - sum(
                len(absent_rows[key]) for key in collected.shared
            )
            self._saved_tokens.inc(sum(map(len, rows)) - led)
        computed = collected.rows
        filled = [
            computed[key] if row is None else to_float32(row, self._dtype)
            for key, row in zip(keys, stored, strict=True)
        ]
        if NOT_FINITE in filled:
            raise NotFinite([index for index, row in enumerate(filled) if row == NOT_FINITE])
        return join_rows(filled, len(rows), self._dimensions, F32)

    # The leader's work

    async def _compute_rows(
        self,
        absent_rows: Mapping[bytes, Ids],
        lane: Lane,
        deadline: float | None,
        complete: Complete,
    ) -> None:
        """Complete every wanted row, either from Redis or by computing it."""
        if self._redis is not None:
            absent_rows = await self._from_redis(self._redis, absent_rows, complete)
            if not absent_rows:
                return
        not_finite: Sequence[int] = ()
        try:
            matrix = await self._compute(list(absent_rows.values()), lane, deadline)
        except NotFinite as error:  # the other rows are good: they are stored and shared
            if error.rows is None:
                raise
            not_finite = error.indices
            matrix = error.rows
        if matrix.shape != (len(absent_rows), self._dimensions) or matrix.dtype != F32:
            logger.error(
                "the engine returned %s %s instead of %s %s",
                matrix.dtype,
                matrix.shape,
                F32,
                (len(absent_rows), self._dimensions),
            )
            raise EngineError("the engine returned vectors of a wrong shape")
        self._misses.inc(len(absent_rows))
        rows = split_rows(matrix)
        stored = storable(rows, matrix, self._dtype)
        for index in not_finite:
            rows[index] = NOT_FINITE
            stored[index] = None
        self._store(absent_rows, stored)
        for key, row in zip(absent_rows, rows, strict=True):
            complete(key, row)

    def _store(self, keys: Iterable[bytes], rows: list[bytes | None]) -> None:
        stored = [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]
        if self._memory is not None:
            put = self._memory.put
            try:
                for key, row in stored:
                    put(key, row)
            except BaseException as error:
                raise run_error("the cache", error) from error
        if self._redis is not None:
            self._redis.put(stored)

    async def _from_redis(
        self, redis: RedisRows, absent_rows: Mapping[bytes, Ids], complete: Complete
    ) -> Mapping[bytes, Ids]:
        """Complete the rows that Redis has; return the wanted rows that it does not have."""
        rows = await redis.get(list(absent_rows))
        absent: dict[bytes, Ids] = {}
        tokens = 0
        for (key, ids), row in zip(absent_rows.items(), rows, strict=True):
            if row is None:
                absent[key] = ids
                continue
            if self._memory is not None:
                self._memory.put(key, row)
            tokens += len(ids)
            complete(key, to_float32(row, self._dtype))
        self._hits["redis"].inc(len(absent_rows) - len(absent))
        self._saved_tokens.inc(tokens)
        return absent

    def _look_up(self, key: bytes) -> bytes | None:
        """Return a row as float32 if it is in memory by now."""
        row = self._find_stored(key)
        return None if row is None else to_float32(row, self._dtype)
