"""A version's cache before a compute that is a function: what is computed, kept and counted."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from prometheus_client import REGISTRY

from predictor.cache import RowCache
from predictor.cache.version import ROWS_A_TURN
from predictor.errors import EngineError, NotFinite
from predictor.settings import CacheSettings
from predictor.types import FloatRows, Lane
from tests.unit.cache.doubles import FakeCompute, Ids, turns, vectors, version_cache

MODEL = {"model": "cache-test"}


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"predictor_cache_{name}_total", MODEL | labels) or 0.0


async def test_the_second_request_computes_nothing_and_gets_the_same() -> None:
    compute = FakeCompute()
    cache = version_cache(compute)
    rows = [[1, 2, 3], [4, 5]]
    first = await cache.embed(rows, Lane.QUERY, 12.5)
    second = await cache.embed(rows, Lane.INGEST, None)
    np.testing.assert_array_equal(first, vectors(rows))
    np.testing.assert_array_equal(second, vectors(rows))
    assert compute.calls == [(rows, Lane.QUERY, 12.5)]


async def test_a_mixed_request_computes_what_is_missing_once_and_keeps_the_order() -> None:
    compute = FakeCompute()
    cache = version_cache(compute)
    await cache.embed([[2], [4]], Lane.QUERY, None)
    rows = [[1], [2], [3], [1], [4], [3], [2]]
    answer = await cache.embed(rows, Lane.QUERY, None)
    np.testing.assert_array_equal(answer, vectors(rows))
    assert compute.rows == [[2], [4], [1], [3]]


async def test_a_request_may_change_what_it_was_given() -> None:
    compute = FakeCompute()
    cache = version_cache(compute)
    for rows in ([[1]], [[1]], [[1], [2]], [[1], [2]]):
        answer = await cache.embed(rows, Lane.QUERY, None)
        np.testing.assert_array_equal(answer, vectors(rows))
        answer[:] = -1
    assert compute.rows == [[1], [2]]


async def test_versions_variants_and_dimensions_share_memory_and_no_row() -> None:
    memory, compute = RowCache(CacheSettings()), FakeCompute()
    caches = [
        version_cache(compute, memory),
        version_cache(compute, memory, digest="d2" * 32),
        version_cache(compute, memory, variant="fp32"),
    ]
    for _ in range(2):
        for cache in caches:
            await cache.embed([[7, 8]], Lane.QUERY, None)
    assert compute.rows == [[7, 8]] * 3
    wide = FakeCompute()
    wide.answer = lambda rows: np.full((len(rows), 5), 9, dtype=np.float32)
    other = version_cache(wide, memory, dimensions=5)
    assert (await other.embed([[7, 8]], Lane.QUERY, None)).shape == (1, 5)
    assert memory.rows() == 4


async def test_the_same_bundle_loaded_again_finds_its_rows() -> None:
    memory, compute = RowCache(CacheSettings()), FakeCompute()
    await version_cache(compute, memory, version="1").embed([[7]], Lane.QUERY, None)
    await version_cache(compute, memory, version="2").embed([[7]], Lane.QUERY, None)
    assert compute.rows == [[7]]


async def test_without_cache_nothing_is_read_or_written() -> None:
    compute, memory = FakeCompute(), RowCache(CacheSettings())
    cache = version_cache(compute, memory)
    for _ in range(2):
        await cache.embed([[1], [1]], Lane.INGEST, 3.0, use_cache=False)
    assert compute.calls == [([[1], [1]], Lane.INGEST, 3.0)] * 2
    assert memory.rows() == 0
    await cache.embed([[1]], Lane.QUERY, None)
    await cache.embed([[1]], Lane.QUERY, None, use_cache=False)
    assert len(compute.calls) == 4


async def test_a_request_without_rows_gets_none() -> None:
    assert (await version_cache(FakeCompute()).embed([], Lane.QUERY, None)).shape == (0, 4)


async def test_a_large_request_is_right_in_every_row() -> None:
    compute = FakeCompute()
    cache = version_cache(compute)
    rows = [[n, n % 7] for n in range(3 * ROWS_A_TURN + 5)]
    for _ in range(2):
        np.testing.assert_array_equal(await cache.embed(rows, Lane.INGEST, None), vectors(rows))
    assert len(compute.calls) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
async def test_a_row_that_is_not_finite_is_returned_and_not_kept(bad: float) -> None:
    def answer(rows: Sequence[Ids]) -> FloatRows:
        computed = vectors(rows)
        computed[[row[0] == 13 for row in rows], 2] = bad
        return computed

    compute = FakeCompute()
    compute.answer = answer
    cache = version_cache(compute)
    rows = [[1], [13], [2]]
    for _ in range(2):
        np.testing.assert_array_equal(await cache.embed(rows, Lane.QUERY, None), answer(rows))
    assert compute.rows == [[1], [13], [2], [13]]


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
async def test_the_good_rows_of_a_failed_request_are_kept_and_shared(
    bad: float, dtype: str
) -> None:
    def answer(rows: Sequence[Ids]) -> FloatRows:
        computed = vectors(rows)
        spoiled = [index for index, row in enumerate(rows) if row[0] == 13]
        computed[spoiled, 2] = bad
        if spoiled:
            raise NotFinite(spoiled, computed)
        return computed

    compute = FakeCompute()
    compute.answer = answer
    cache = version_cache(compute, cache_dtype=dtype)
    compute.gate.clear()
    first = asyncio.create_task(cache.embed([[1], [13], [2], [13]], Lane.QUERY, None))
    await turns()
    # Follows the good rows of the first request; it must not share its failure.
    neighbour = asyncio.create_task(cache.embed([[2], [1]], Lane.QUERY, None))
    # Follows the bad row too, which has another index here.
    unlucky = asyncio.create_task(cache.embed([[13], [2]], Lane.QUERY, None))
    await turns()
    compute.gate.set()
    np.testing.assert_array_equal(await neighbour, vectors([[2], [1]]))
    with pytest.raises(NotFinite) as failed:
        await first
    assert failed.value.indices == [1, 3]
    with pytest.raises(NotFinite, match=r"inputs\[0\]$"):
        await unlucky
    assert compute.rows == [[1], [13], [2]]
    with pytest.raises(NotFinite, match=r"inputs\[2\]$"):
        await cache.embed([[1], [2], [13]], Lane.QUERY, None)
    assert compute.rows == [[1], [13], [2], [13]]


@pytest.mark.parametrize(
    "wrong",
    [
        np.ones((1, 4), dtype=np.float32),
        np.ones((3, 4), dtype=np.float32),
        np.ones((2, 5), dtype=np.float32),
        np.ones(8, dtype=np.float32),
        np.ones((2, 4), dtype=np.float64),
    ],
)
async def test_a_wrong_shape_is_the_engines_error_and_is_not_kept(wrong: FloatRows) -> None:
    compute, memory = FakeCompute(), RowCache(CacheSettings())
    compute.answer = lambda rows: wrong
    cache = version_cache(compute, memory)
    with pytest.raises(EngineError, match="wrong shape"):
        await cache.embed([[1], [2]], Lane.QUERY, None)
    assert memory.rows() == 0
    assert len(cache._flights) == 0


async def test_float16_is_exact_at_first_and_near_enough_after() -> None:
    row = np.random.default_rng(5).normal(size=(1, 384)).astype(np.float32)
    compute = FakeCompute()
    compute.answer = lambda rows: np.repeat(row, len(rows), axis=0)
    cache = version_cache(compute, dimensions=384, cache_dtype="fp16")
    np.testing.assert_array_equal(await cache.embed([[1]], Lane.QUERY, None), row)
    kept = await cache.embed([[1]], Lane.QUERY, None)
    mixed = await cache.embed([[1], [2]], Lane.QUERY, None)
    assert kept.dtype == mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed[0], kept[0])
    np.testing.assert_array_equal(mixed[1], row[0])
    assert 0 < np.abs(kept - row).max() <= np.abs(row).max() * 2**-11


async def test_hits_misses_and_saved_tokens_are_counted() -> None:
    cache = version_cache(FakeCompute(), version="counted")
    await cache.embed([[1, 1], [2], [2]], Lane.QUERY, None)
    await cache.embed([[1, 1], [3, 3, 3]], Lane.QUERY, None)
    await cache.embed([[1, 1], [2]], Lane.QUERY, None)
    assert counted("misses", version="counted") == 3
    assert counted("hits", version="counted", tier="memory") == 3
    assert counted("hits", version="counted", tier="flight") == 1
    assert counted("hits", version="counted", tier="redis") == 0
    assert counted("saved_tokens", version="counted") == 1 + 2 + 3


async def test_a_hit_does_not_give_up_the_loop() -> None:
    cache = version_cache(FakeCompute())
    await cache.embed([[1], [2]], Lane.QUERY, None)
    answer = cache.embed([[1], [2]], Lane.QUERY, None)
    with pytest.raises(StopIteration) as done:
        answer.send(None)
    np.testing.assert_array_equal(done.value.value, vectors([[1], [2]]))
