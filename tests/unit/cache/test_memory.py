"""The memory tier: its bound, its count, what stays and what goes."""

import gc
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from prometheus_client import REGISTRY

from predictor.cache import RowCache
from predictor.cache.memory import ENTRY_BYTES
from predictor.settings import CacheSettings
from tests.deadlines import DEADLINE_S

ROW = bytes(1536)


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def evictions(cause: str) -> float:
    return REGISTRY.get_sample_value("predictor_cache_evictions_total", {"cause": cause}) or 0.0


def ask(cache: RowCache, number: int) -> bool:
    """As a request does: look, and keep what was computed."""
    if cache.get(key(number)) is not None:
        return True
    cache.put(key(number), ROW)
    return False


def test_a_row_comes_back_and_one_that_was_never_put_does_not() -> None:
    cache = RowCache(CacheSettings())
    cache.put(key(1), b"one")
    assert cache.get(key(1)) == b"one"
    assert cache.get(key(2)) is None


def test_the_bound_holds_while_100000_rows_are_put() -> None:
    bound = 4 << 20
    cache, before = RowCache(CacheSettings(cache_mb=4)), evictions("size")
    gc.collect()
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]
    for number in range(100_000):
        # Never zero bytes shared by all: each row is memory of its own.
        cache.put(key(number), number.to_bytes(1536, "little"))
    peak = tracemalloc.get_traced_memory()[1] - start
    tracemalloc.stop()
    held = cache.bytes()
    assert bound * 0.95 < held <= bound
    assert cache.rows() == held // (1536 + ENTRY_BYTES)
    assert evictions("size") - before == 100_000 - cache.rows()
    # Python's part (rows and keys, not the library's nodes) stays under the bound at every moment.
    assert peak < bound


GROWTH = """
import gc, sys
from predictor.cache import RowCache
from predictor.settings import CacheSettings

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

width, bound = int(sys.argv[1]), 32 << 20
cache = RowCache(CacheSettings(cache_mb=32))
gc.collect()
before = resident()
for number in range(5 * bound // width):
    cache.put(number.to_bytes(16, "little"), number.to_bytes(width, "little"))
print((resident() - before) / cache.bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("width", [256, 768, 1536, 4096])
def test_a_full_cache_takes_the_memory_it_says(width: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(width)],
        capture_output=True, text=True, check=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert 0.8 < float(done.stdout) < 1.2


def test_hot_rows_survive_a_scan_of_ten_times_the_capacity() -> None:
    cache = RowCache(CacheSettings(cache_mb=2))
    capacity, hot = (2 << 20) // (1536 + ENTRY_BYTES), 100
    for _ in range(5):
        for number in range(hot):
            ask(cache, number)
    for number in range(10 * capacity):
        ask(cache, 1_000_000 + number)
        # Each hot row is asked for once in 1.5 capacities: an LRU would have lost all by then.
        if number % (3 * capacity // (2 * hot)) == 0:
            ask(cache, number // (3 * capacity // (2 * hot)) % hot)
    assert sum(cache.get(key(number)) is not None for number in range(hot)) >= 0.95 * hot


def test_rows_without_requests_survive_a_scan_of_the_capacity() -> None:
    cache = RowCache(CacheSettings(cache_mb=2))
    capacity = (2 << 20) // (1536 + ENTRY_BYTES)
    for number in range(2 * capacity):
        ask(cache, 2_000_000 + number)
    for _ in range(5):
        for number in range(100):
            ask(cache, number)
    for number in range(capacity):
        ask(cache, 1_000_000 + number)
    assert all(cache.get(key(number)) is not None for number in range(100))


def test_rows_expire_and_a_cache_without_ttl_keeps_them() -> None:
    short, ever = RowCache(CacheSettings(cache_ttl_s=1)), RowCache(CacheSettings())
    before = evictions("expired")
    for cache in (short, ever):
        cache.put(key(1), ROW)
        assert cache.get(key(1)) == ROW
    end = time.monotonic() + DEADLINE_S  # the library's own clock cannot be turned
    while short.get(key(1)) is not None:
        assert time.monotonic() < end
    assert ever.get(key(1)) == ROW
    assert (short.rows(), short.bytes()) == (0, 0)
    assert evictions("expired") == before + 1


def test_flush_drops_all_counts_them_and_new_rows_stay() -> None:
    cache, before = RowCache(CacheSettings()), evictions("flushed")
    for number in range(1000):
        cache.put(key(number), ROW)
    assert cache.flush() == 1000
    assert cache.get(key(1)) is None
    assert (cache.rows(), cache.bytes()) == (0, 0)
    assert evictions("flushed") == before + 1000
    cache.put(key(1), ROW)
    assert cache.get(key(1)) == ROW
    assert cache.flush() == 1
    assert cache.flush() == 0


def test_a_row_put_twice_is_one_row_and_no_eviction() -> None:
    cache = RowCache(CacheSettings())
    before = evictions("size") + evictions("flushed")
    cache.put(key(1), ROW)
    cache.put(key(1), ROW)
    assert cache.rows() == 1
    assert evictions("size") + evictions("flushed") == before


def test_the_gauges_show_the_process_cache() -> None:
    cache = RowCache(CacheSettings())
    cache.put(key(1), np.zeros(384, dtype=np.float32).tobytes())
    assert REGISTRY.get_sample_value("predictor_cache_rows") == 1
    assert REGISTRY.get_sample_value("predictor_cache_bytes") == 1536 + ENTRY_BYTES
