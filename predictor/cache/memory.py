"""The memory tier: rows of all models and versions within one bound of bytes.

TinyLFU admits a row only if it was requested more often than the rows that it would displace: a
scan of texts that come once does not displace those that come every minute. Time is monotonic.
"""

from collections.abc import Callable

from moka_py import Moka

from predictor.cache.rows import DTYPES
from predictor.metrics import CACHE_BYTES, CACHE_EVICTIONS, CACHE_ROWS
from predictor.settings import CacheSettings

# What one entry takes beyond the numbers, bytes: key 64, header of the value 33 and rounding, the
# cache's own nodes and hash table. Measured as growth of the process; a test repeats it.
ENTRY_BYTES = 530
# The label of each cause of the library; "replaced" is not an eviction.
CAUSES = {"size": "size", "expired": "expired", "explicit": "flushed"}


class RowCache:
    """One a process. Values are rows as bytes of `dtype`; safe from any thread."""

    def __init__(self, settings: CacheSettings) -> None:
        """A cache of at most `cache_mb` MiB; no memory is taken before rows come."""
        self.dtype = DTYPES[settings.cache_dtype]
        evicted = {cause: CACHE_EVICTIONS.labels(name) for cause, name in CAUSES.items()}

        def count_eviction(key: bytes, row: bytes, cause: str) -> None:
            if cause in evicted:
                evicted[cause].inc()

        self._cache: Moka[bytes, bytes] = Moka(
            int(settings.cache_mb * 2**20),
            ttl=settings.cache_ttl_s or None,
            policy="tiny_lfu",
            weigher=lambda key, row: len(row) + ENTRY_BYTES,
            eviction_listener=count_eviction,
        )
        # The library's own methods, which saves a frame of Python for each row.
        self.get: Callable[[bytes], bytes | None] = self._cache.get
        self.put: Callable[[bytes, bytes], None] = self._cache.set
        CACHE_BYTES.set_function(self.bytes)
        CACHE_ROWS.set_function(self.rows)

    def bytes(self) -> int:
        """Memory used, by the same count that is bounded."""
        self._cache.run_pending_tasks()
        return self._cache.weighted_size()

    def rows(self) -> int:
        self._cache.run_pending_tasks()
        return self._cache.count()

    def flush(self) -> int:
        """Drop every row; the number of rows that were dropped."""
        dropped = self.rows()
        self._cache.clear()
        # The library only marks them; this gives the memory back now.
        self._cache.run_pending_tasks()
        return dropped
