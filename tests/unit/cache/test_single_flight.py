"""One row in several requests at once: which computes, which wait, and which are cancelled."""

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from predictor.cache import VersionCache
from predictor.errors import (
    DeadlineExceeded,
    EngineError,
    EngineOutOfMemory,
    NotReady,
    Overloaded,
    PredictorError,
)
from predictor.types import FloatRows, Lane
from predictor.version_metrics import ModelMetrics
from tests.unit.cache.doubles import DIM, FakeCompute, Ids, turns, vectors, version_cache

QUERY, INGEST = Lane.QUERY, Lane.INGEST


def embed(
    cache: VersionCache, rows: list[list[int]], lane: Lane = QUERY, deadline: float | None = None
) -> asyncio.Task[FloatRows]:
    return asyncio.create_task(cache.embed(rows, lane, deadline))


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def held_back() -> tuple[FakeCompute, VersionCache]:
    compute = FakeCompute()
    compute.gate.clear()
    return compute, version_cache(compute)


async def test_ten_requests_for_one_row_compute_it_once() -> None:
    compute, cache = await held_back()
    hits = {"model": "cache-test", "version": "1", "tier": "flight"}
    before = REGISTRY.get_sample_value("predictor_cache_hits_total", hits) or 0
    tasks = [embed(cache, [[1, 2]]) for _ in range(10)]
    await turns()
    assert len(cache._flights) == 1
    compute.gate.set()
    for answer in await asyncio.gather(*tasks):
        np.testing.assert_array_equal(answer, vectors([[1, 2]]))
        answer[:] = 0
    assert compute.rows == [[1, 2]]
    assert len(cache._flights) == 0
    assert REGISTRY.get_sample_value("predictor_cache_hits_total", hits) == before + 9


async def test_overlapping_requests_compute_their_own_rows_and_wait_for_the_others() -> None:
    compute, cache = await held_back()
    tasks = [embed(cache, rows) for rows in ([[1], [2]], [[2], [3], [1]], [[3], [4]])]
    await turns()
    assert compute.rows == [[1], [2], [3], [4]]
    compute.gate.set()
    answers = await asyncio.gather(*tasks)
    np.testing.assert_array_equal(answers[1], vectors([[2], [3], [1]]))
    np.testing.assert_array_equal(answers[2], vectors([[3], [4]]))
    assert len(cache._flights) == 0


async def test_a_query_does_not_wait_for_ingest_and_ingest_waits_for_both() -> None:
    compute, cache = await held_back()
    ingest = embed(cache, [[1]], INGEST)
    await turns()
    query = embed(cache, [[1]], QUERY)
    await turns()
    assert [lane for _, lane, _ in compute.calls] == [INGEST, QUERY]
    late = [embed(cache, [[1]], lane) for lane in (QUERY, INGEST)]
    await turns()
    assert len(compute.calls) == 2
    assert len(cache._flights) == 2
    compute.gate.set()
    for answer in await asyncio.gather(ingest, query, *late):
        np.testing.assert_array_equal(answer, vectors([[1]]))
    assert len(cache._flights) == 0


async def test_the_leaders_cancellation_makes_a_follower_the_leader() -> None:
    compute, cache = await held_back()
    tasks = [embed(cache, [[1]]) for _ in range(3)]
    await turns()
    tasks[0].cancel()
    await turns()
    assert len(compute.calls) == 2
    assert len(cache._flights) == 1
    compute.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    for task in tasks[1:]:
        np.testing.assert_array_equal(await task, vectors([[1]]))
    assert len(compute.calls) == 2
    assert len(cache._flights) == 0


@pytest.mark.parametrize(
    "error", [DeadlineExceeded("too late"), Overloaded("full", 2.5), NotReady("down"), OSError()]
)
async def test_what_only_concerns_the_leader_makes_followers_try_for_themselves(
    error: Exception,
) -> None:
    compute, cache = await held_back()

    def fault(call: int) -> None:
        if call == 1:
            raise error

    compute.fault = fault
    tasks = [embed(cache, [[1]]) for _ in range(3)]
    await turns()
    compute.gate.set()
    with pytest.raises(type(error)):
        await tasks[0]
    for task in tasks[1:]:
        np.testing.assert_array_equal(await task, vectors([[1]]))
    assert len(cache._flights) == 0


async def test_requests_that_are_not_admitted_each_raise_an_error_of_their_own() -> None:
    compute, cache = await held_back()

    def refuse(call: int) -> None:
        raise Overloaded(f"call {call}")

    compute.fault = refuse
    tasks = [embed(cache, [[1]]) for _ in range(4)]
    await turns()
    compute.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [f"call {n}" for n in (1, 2, 3, 4)]
    assert len(cache._flights) == 0


@pytest.mark.parametrize("kind", [EngineError, EngineOutOfMemory])
async def test_an_engine_error_reaches_all_and_nothing_is_computed_again(
    kind: type[EngineError],
) -> None:
    compute, cache = await held_back()

    def fault(call: int) -> None:
        raise kind("the engine failed on this batch")

    compute.fault = fault
    tasks = [embed(cache, [[1]], lane) for lane in (QUERY, QUERY, INGEST)]
    await turns()
    compute.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(o), str(o)) for o in outcomes] == [(kind, "the engine failed on this batch")] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    assert len(compute.calls) == 1
    assert len(cache._flights) == 0


async def test_the_deadline_of_a_follower_ends_that_request_alone() -> None:
    compute, cache = await held_back()
    leader = embed(cache, [[1]])
    await turns()
    with pytest.raises(DeadlineExceeded, match=r"not computed within 0\.0\d\d s"):
        await cache.embed([[1]], QUERY, soon(0.01))
    with pytest.raises(DeadlineExceeded, match="passed before the request was queued"):
        await cache.embed([[1]], QUERY, soon(0))
    patient = embed(cache, [[1]], QUERY, soon(60))
    await turns()
    compute.gate.set()
    for task in (leader, patient):
        np.testing.assert_array_equal(await task, vectors([[1]]))
    assert len(compute.calls) == 1
    assert len(cache._flights) == 0


async def test_a_follower_that_takes_over_has_its_own_deadline_and_lane() -> None:
    compute, cache = await held_back()
    leader = embed(cache, [[1]], QUERY, None)
    follower = embed(cache, [[1]], INGEST, deadline := soon(60))
    await turns()
    leader.cancel()
    await turns()
    assert compute.calls[1][1:] == (INGEST, deadline)
    compute.gate.set()
    await follower


async def test_a_cancelled_follower_leaves_leader_and_others_alone() -> None:
    compute, cache = await held_back()
    tasks = [embed(cache, [[1]]) for _ in range(3)]
    await turns()
    tasks[1].cancel()
    await turns()
    assert len(cache._flights) == 1
    compute.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    for index in (0, 2):
        np.testing.assert_array_equal(outcomes[index], vectors([[1]]))
    assert len(compute.calls) == 1


async def test_a_request_that_tries_again_takes_rows_that_are_cached_by_then() -> None:
    """Its leader went away, but while it waited for another row the first was computed."""
    compute, cache = await held_back()
    short = embed(cache, [[1]])
    long = embed(cache, [[2]])
    both = embed(cache, [[1], [2]])
    await turns()
    short.cancel()
    await turns()
    again = embed(cache, [[1]])
    await turns()
    compute.gate.set()
    np.testing.assert_array_equal(await both, vectors([[1], [2]]))
    await asyncio.gather(long, again)
    assert compute.rows == [[1], [2], [1]]
    assert len(cache._flights) == 0


class Chaos:
    """A compute that ends each call when and how a seeded dice says; the loop never sleeps."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._open: list[asyncio.Future[None]] = []

    async def embed(self, rows: Sequence[Ids], lane: Lane, deadline: float | None) -> FloatRows:
        if self._dice.random() < 0.15:
            raise self._dice.choice([Overloaded("full"), NotReady("down")])
        gate = asyncio.get_running_loop().create_future()
        self._open.append(gate)
        await gate
        return vectors(rows)

    def step(self) -> None:
        gates = [gate for gate in self._open if not gate.done()]
        if not gates:
            return
        gate = self._dice.choice(gates)
        errors = [EngineError("broken"), DeadlineExceeded("late"), RuntimeError("a bug")]
        if self._dice.random() < 0.3:
            gate.set_exception(self._dice.choice(errors))
        else:
            gate.set_result(None)


def chaotic(chaos: Chaos) -> VersionCache:
    return VersionCache(
        chaos.embed, digest="c" * 64, variant="fp32", dimensions=DIM, memory=None, redis=None,
        metrics=ModelMetrics("cache-test", "chaos"),
    )  # fmt: skip


async def storm(seed: int, requests: int) -> None:
    """Any order of starting, ending, failing and cancelling: answers are right, nothing is left."""
    dice = random.Random(seed)
    chaos = Chaos(dice)
    cache = chaotic(chaos)
    rows_of_task: dict[asyncio.Task[FloatRows], list[list[int]]] = {}
    for _ in range(requests):
        rows = [[dice.randrange(4)] for _ in range(dice.randint(1, 5))]
        rows_of_task[embed(cache, rows, dice.choice([QUERY, INGEST]))] = rows
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        if dice.random() < 0.3:
            dice.choice(list(rows_of_task)).cancel()
        if dice.random() < 0.5:
            chaos.step()
    turns_left = 100 * requests
    while not all(task.done() for task in rows_of_task):
        chaos.step()
        await asyncio.sleep(0)
        turns_left -= 1
        assert turns_left, "a request waits for a row that is not computed"
    for task, rows in rows_of_task.items():
        if task.cancelled():
            continue
        if (error := task.exception()) is not None:
            assert isinstance(error, PredictorError | RuntimeError)
        else:
            np.testing.assert_array_equal(task.result(), vectors(rows))
    assert len(cache._flights) == 0


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), requests=st.integers(1, 25))
def test_nothing_leaks_whatever_ends_in_whatever_order(seed: int, requests: int) -> None:
    asyncio.run(storm(seed, requests))
