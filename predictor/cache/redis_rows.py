"""The rows of one model version in Redis: their names, and the check of their values."""

from collections.abc import Iterable, Sequence

from predictor.cache.frame import framed, unframed
from predictor.cache.keys import redis_prefix
from predictor.cache.redis_tier import RedisTier
from predictor.metrics import REDIS_FAILURES


class RedisRows:
    """Rows by key, as bytes of the tier's dtype."""

    def __init__(self, tier: RedisTier, digest: str, dimensions: int) -> None:
        self._tier = tier
        self._dimensions = dimensions
        self._prefix = redis_prefix(digest)
        self._garbage = REDIS_FAILURES.labels("garbage")

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key.hex().encode()

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The rows that Redis has; None for missing and invalid ones."""
        values = await self._tier.get([self._name(key) for key in keys])
        return [
            None if value is None else self._row(key, value)
            for key, value in zip(keys, values, strict=True)
        ]

    def _row(self, key: bytes, value: bytes) -> bytes | None:
        row = unframed(key, value, self._dimensions, self._tier.dtype)
        if row is None:
            self._garbage.inc()
        return row

    def put(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Have rows `(key, row)` written soon; never waits."""
        dtype = self._tier.dtype
        self._tier.put([(self._name(key), framed(key, row, dtype)) for key, row in rows])
