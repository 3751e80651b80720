"""The batcher with an engine that is a function: what runs, what fails, what is cancelled."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from predictor.batcher import Batcher
from predictor.errors import (
    DeadlineExceeded,
    EngineError,
    EngineOutOfMemory,
    NotFinite,
    NotReady,
    Overloaded,
)
from predictor.settings import BatchingSettings
from predictor.types import FloatRows, Lane
from predictor.version_metrics import ModelMetrics
from tests.deadlines import DEADLINE_S

Rows = Sequence[Sequence[int]]
METRICS = ModelMetrics("batcher-test", "1")


class FakeEngine:
    """Row `[a, b, …]` becomes vector `[a, len]`; `gate` holds runs back until it is opened."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.wide: list[bool] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Callable[[Rows], None] | None = None
        # Changes what the rows give.
        self.spoil: Callable[[Rows, FloatRows], None] | None = None

    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        self.batches.append([len(row) for row in rows])
        self.wide.append(wide)
        assert self.gate.wait(DEADLINE_S)
        if self.fault:
            self.fault(rows)
        vectors = np.array([[row[0], len(row)] for row in rows], dtype=np.float32)
        if self.spoil:
            self.spoil(rows, vectors)
        return vectors


@asynccontextmanager
async def batcher(
    engine: FakeEngine,
    *,
    threads: int = 1,
    fatal: list[str] | None = None,
    padded: bool = False,
    **settings: float,
) -> AsyncIterator[Batcher]:
    owner = Batcher(
        engine.run,
        BatchingSettings(**settings),  # type: ignore[arg-type]
        METRICS,
        threads=threads,
        on_fatal=(fatal if fatal is not None else []).append,
        padded=padded,
    )
    owner.start()
    yield owner
    engine.gate.set()
    await owner.stop()


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  what is waited for happens in a thread
            await asyncio.sleep(0.001)


async def test_rows_come_back_in_the_order_they_were_sent() -> None:
    engine = FakeEngine()
    rows = [[n] * (1 + n * 37 % 50) for n in range(100)]
    async with batcher(engine, threads=2) as owner:
        vectors = await owner.embed(rows, Lane.QUERY, None)
    np.testing.assert_array_equal(vectors, [[row[0], len(row)] for row in rows])
    assert max(sum(lengths) for lengths in engine.batches) <= 256


async def test_many_requests_share_a_batch_and_each_gets_its_own_rows() -> None:
    engine = FakeEngine()
    async with batcher(engine) as owner:
        answers = await asyncio.gather(
            *(owner.embed([[n, n], [n + 100, 0]], Lane.QUERY, None) for n in range(20))
        )
    for n, answer in enumerate(answers):
        assert answer[:, 0].tolist() == [n, n + 100]
    assert len(engine.batches) < 20


async def test_a_lone_request_runs_wide_and_a_queue_does_not() -> None:
    engine = FakeEngine()
    async with batcher(engine, threads=2) as owner:
        await owner.embed([[1, 2, 3]], Lane.QUERY, None)
        assert engine.wide == [True]
        await owner.embed([[1] * 200 for _ in range(8)], Lane.QUERY, None)
        assert not any(engine.wide[1:])


async def test_nothing_runs_beside_a_wide_run() -> None:
    engine = FakeEngine()
    async with batcher(engine, threads=2) as owner:
        engine.gate.clear()
        first = owner.submit([[1]], Lane.QUERY, None)
        await until(lambda: engine.wide == [True])
        second = owner.submit([[2]], Lane.QUERY, None)
        third = owner.submit([[3]], Lane.QUERY, None)
        await asyncio.sleep(0)
        assert len(engine.batches) == 1
        engine.gate.set()
        await asyncio.gather(first.future, second.future, third.future)
        assert engine.wide == [True, False]


async def test_admission_is_all_or_nothing() -> None:
    engine = FakeEngine()
    async with batcher(engine, max_queue_tokens=10) as owner:
        engine.gate.clear()
        running = owner.submit([[1] * 8], Lane.QUERY, None)
        await until(lambda: bool(engine.batches))
        waits = owner.submit([[1] * 8], Lane.QUERY, None)
        await asyncio.sleep(0)
        with pytest.raises(
            Overloaded, match="holds 8 query tokens and this request has 6; the limit is 10"
        ):
            owner.submit([[1, 2, 3], [4, 5, 6]], Lane.QUERY, None)
        assert owner._lanes.rows == 1
        engine.gate.set()
        await asyncio.gather(running.future, waits.future)


async def test_an_empty_queue_takes_a_request_larger_than_itself() -> None:
    engine = FakeEngine()
    async with batcher(engine, max_queue_tokens=10) as owner:
        assert len(await owner.embed([[1] * 9] * 4, Lane.INGEST, None)) == 4


async def test_ingest_that_fills_its_lane_refuses_no_query() -> None:
    engine = FakeEngine()
    async with batcher(engine, max_queue_tokens=10) as owner:
        engine.gate.clear()
        ingest = [owner.submit([[1] * 4] * 10, Lane.INGEST, None)]
        await until(lambda: bool(engine.batches))
        ingest.append(owner.submit([[1] * 5], Lane.INGEST, None))
        with pytest.raises(Overloaded, match="9 ingest tokens and this request has 5"):
            owner.submit([[1] * 5], Lane.INGEST, None)
        queries = [owner.submit([[1] * 5], Lane.QUERY, None) for _ in range(2)]
        with pytest.raises(Overloaded, match="10 query tokens and this request has 1;") as caught:
            owner.submit([[1]], Lane.QUERY, None)
        assert caught.value.retry_after_s >= 1
        engine.gate.set()
        await asyncio.gather(*(submission.future for submission in (*ingest, *queries)))


async def test_a_request_larger_than_its_lane_enters_in_pieces_and_keeps_its_order() -> None:
    engine = FakeEngine()
    waiting: list[int] = []
    rows = [[n] * (1 + n % 7) for n in range(500)]
    async with batcher(engine, threads=2, max_queue_tokens=64, max_batch_tokens=16) as owner:
        lanes = owner._lanes

        def hold_the_fifth(rows: Rows) -> None:
            waiting.append(lanes.tokens_of(Lane.INGEST))
            if len(waiting) == 4:
                engine.gate.clear()

        engine.fault = hold_the_fifth
        task = asyncio.create_task(owner.embed(rows, Lane.INGEST, None))
        await until(lambda: len(waiting) > 3)
        assert owner._lanes.accepted_tokens > owner._lanes.tokens
        with pytest.raises(Overloaded):
            owner.submit(rows, Lane.INGEST, None)
        # Half of the lane is free for others.
        other = owner.submit([[1] * 16], Lane.INGEST, None)
        engine.gate.set()
        await other.future
        vectors = await task
        assert (owner._lanes.accepted_tokens, owner._lanes.accepted_rows) == (0, 0)
        await owner.embed(rows, Lane.INGEST, None)
    np.testing.assert_array_equal(vectors, [[row[0], len(row)] for row in rows])
    assert max(waiting) <= 32 + 16


@pytest.mark.parametrize("way", ["deadline", "cancelled", "failed"])
async def test_a_request_larger_than_its_lane_leaves_nothing_behind(way: str) -> None:
    engine = FakeEngine()
    async with batcher(engine, max_queue_tokens=10) as owner:
        engine.gate.clear()
        deadline = soon(0.05) if way == "deadline" else None
        task = asyncio.create_task(owner.embed([[1] * 4] * 100, Lane.INGEST, deadline))
        await until(lambda: bool(engine.batches))
        if way == "cancelled":
            task.cancel()
        if way == "failed":
            engine.fault = lambda rows: (_ for _ in ()).throw(RuntimeError)
            engine.gate.set()
        with pytest.raises((DeadlineExceeded, EngineError, asyncio.CancelledError)):
            await task
        assert owner._lanes.accepted_rows == 0
        engine.fault = None
        engine.gate.set()
        await owner.embed([[1] * 4] * 100, Lane.INGEST, None)


async def test_room_that_a_dropped_request_leaves_is_used_by_the_pieces_of_another() -> None:
    engine = FakeEngine()
    async with batcher(engine, max_queue_tokens=10, max_batch_tokens=4) as owner:
        engine.gate.clear()
        running = owner.submit([[1] * 4], Lane.INGEST, None)
        await until(lambda: bool(engine.batches))
        other = owner.submit([[1] * 4] * 2, Lane.INGEST, None)
        large = owner.submit([[2]] * 20, Lane.INGEST, None)
        assert owner._lanes.tokens_of(Lane.INGEST) == 10
        owner.cancel(other)
        assert owner._lanes.tokens_of(Lane.INGEST) == 5
        engine.gate.set()
        await asyncio.gather(running.future, large.future)


async def test_a_lone_request_of_uneven_rows_does_not_pad_beyond_the_budget() -> None:
    """300 words beside 60 of one: as one batch, attention would have 18 000 cells."""
    engine = FakeEngine()
    async with batcher(engine, threads=2, max_batch_tokens=512) as owner:
        await owner.embed([[1] * 300] + [[1]] * 60, Lane.QUERY, None)
        assert len(engine.batches) > 1
        assert all(max(lengths) * len(lengths) <= 512 for lengths in engine.batches)
        engine.batches.clear()
        await owner.embed([[1] * 300], Lane.QUERY, None)
        assert engine.wide[-1]


@pytest.mark.parametrize("padded", [True, False])
async def test_a_graph_that_pads_gets_no_more_cells_than_the_budget(padded: bool) -> None:
    engine = FakeEngine()
    async with batcher(engine, padded=padded, max_batch_tokens=100) as owner:
        lengths = [10] * 5 + [20] * 5
        await owner.embed([[1] * length for length in lengths], Lane.QUERY, None)
    cells = [max(lengths) * len(lengths) for lengths in engine.batches]
    assert (max(cells) <= 100) is padded


async def test_a_deadline_fails_the_request_and_empties_the_queue() -> None:
    engine = FakeEngine()
    async with batcher(engine) as owner:
        engine.gate.clear()
        running = asyncio.create_task(owner.embed([[1]], Lane.QUERY, None))
        await until(lambda: bool(engine.batches))
        with pytest.raises(DeadlineExceeded):
            await owner.embed([[2], [3]], Lane.QUERY, soon(0.01))
        assert owner._lanes.rows == 0
        engine.gate.set()
        await running


async def test_a_cancelled_request_leaves_the_queue() -> None:
    engine = FakeEngine()
    async with batcher(engine) as owner:
        engine.gate.clear()
        running = asyncio.create_task(owner.embed([[1]], Lane.QUERY, None))
        await until(lambda: bool(engine.batches))
        cancelled = asyncio.create_task(owner.embed([[2]] * 5, Lane.QUERY, None))
        await until(lambda: owner._lanes.rows == 5)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert owner._lanes.rows == 0
        engine.gate.set()
        await running
        assert engine.batches == [[1]]


async def test_a_failing_batch_fails_its_own_rows_only() -> None:
    def fault(rows: Rows) -> None:
        if any(row[0] == 13 for row in rows):
            raise RuntimeError("secret detail")

    engine = FakeEngine()
    engine.fault = fault
    async with batcher(engine) as owner:
        with pytest.raises(EngineError) as caught:
            await owner.embed([[13]], Lane.QUERY, None)
        assert "secret" not in str(caught.value)
        assert (await owner.embed([[7]], Lane.QUERY, None))[0, 0] == 7
        assert owner.healthy


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
async def test_a_row_without_finite_numbers_fails_its_own_request_only(bad: float) -> None:
    engine = FakeEngine()
    before = METRICS.not_finite._value.get()
    engine.spoil = lambda rows, vectors: vectors.__setitem__(
        ([row[0] == 13 for row in rows], 1), bad
    )
    async with batcher(engine) as owner:
        spoiled, single, good = await asyncio.gather(
            owner.embed([[1], [13], [2], [13, 1]], Lane.QUERY, None),
            owner.embed([[13]], Lane.QUERY, None),
            owner.embed([[3], [4, 4]], Lane.QUERY, None),
            return_exceptions=True,
        )
    np.testing.assert_array_equal(good, [[3, 1], [4, 2]])
    assert isinstance(spoiled, NotFinite)
    assert spoiled.indices == [1, 3]
    assert str(spoiled).endswith("for inputs[1], inputs[3]")
    np.testing.assert_array_equal(spoiled.rows[[0, 2]], [[1, 1], [2, 1]])
    assert isinstance(single, NotFinite)
    assert single.indices == [0]
    assert METRICS.not_finite._value.get() == before + 3


async def test_out_of_memory_splits_the_batch_until_it_fits() -> None:
    def fault(rows: Rows) -> None:
        if len(rows) > 2:
            raise EngineOutOfMemory("too much")

    engine = FakeEngine()
    engine.fault = fault
    async with batcher(engine) as owner:
        vectors = await owner.embed([[n] for n in range(9)], Lane.QUERY, None)
    assert vectors[:, 0].tolist() == list(range(9))
    assert max(map(len, engine.batches)) == 9


async def test_one_row_that_never_fits_is_an_error() -> None:
    def fault(rows: Rows) -> None:
        raise EngineOutOfMemory("too much")

    engine = FakeEngine()
    engine.fault = fault
    async with batcher(engine) as owner:
        with pytest.raises(EngineOutOfMemory):
            await owner.embed([[1], [2]], Lane.QUERY, None)


async def test_a_dead_thread_fails_its_rows_and_is_replaced_by_a_proven_one() -> None:
    def die(rows: Rows) -> None:
        if rows[0][0] == 13:
            raise SystemExit

    engine = FakeEngine()
    engine.fault = die
    before = METRICS.engine_restarts._value.get()
    async with batcher(engine) as owner:
        ready: list[bool] = []
        failing = asyncio.create_task(owner.embed([[13]], Lane.QUERY, None))
        failing.add_done_callback(lambda _: ready.append(owner.healthy))
        with pytest.raises(EngineError):
            await failing
        await until(lambda: ready == [False])
        await until(lambda: owner.healthy)
        assert (await owner.embed([[7]], Lane.QUERY, None))[0, 0] == 7
        assert METRICS.engine_restarts._value.get() == before + 1


async def test_threads_that_keep_dying_are_fatal_and_no_request_hangs() -> None:
    def die(rows: Rows) -> None:
        raise SystemExit

    engine, fatal = FakeEngine(), list[str]()
    engine.fault = die
    async with batcher(engine, fatal=fatal) as owner:
        with pytest.raises(EngineError):
            await owner.embed([[1]], Lane.QUERY, None)
        await until(lambda: bool(fatal))
        assert not owner.healthy
        with pytest.raises(NotReady):
            await owner.embed([[1]], Lane.QUERY, None)


async def test_a_hung_engine_is_fatal_and_fails_its_requests() -> None:
    engine, fatal = FakeEngine(), list[str]()
    async with batcher(engine, fatal=fatal, engine_timeout_s=0.05) as owner:
        engine.gate.clear()
        with pytest.raises(NotReady):
            await owner.embed([[1]], Lane.QUERY, None)
        assert len(fatal) == 1
        assert "0 s" in fatal[0]
        assert not owner.healthy


async def test_a_process_that_stood_still_is_no_hung_engine() -> None:
    engine, fatal = FakeEngine(), list[str]()
    async with batcher(engine, fatal=fatal, engine_timeout_s=2.0) as owner:
        engine.gate.clear()
        running = asyncio.create_task(owner.embed([[7]], Lane.QUERY, None))
        await until(lambda: bool(engine.batches))
        time.sleep(2.5)  # noqa: ASYNC251  as if it was stopped
        await asyncio.sleep(0.1)  # the check that is late
        engine.gate.set()
        assert (await running)[0, 0] == 7
        assert (fatal, owner.healthy) == ([], True)


async def test_the_classic_window_waits_for_a_fuller_batch() -> None:
    engine = FakeEngine()
    # Longer than any pause that a busy machine makes between two of them.
    async with batcher(engine, max_queue_delay_ms=500, max_batch_rows=32) as owner:
        tasks = []
        for n in range(8):
            tasks.append(asyncio.create_task(owner.embed([[n]], Lane.QUERY, None)))
            await asyncio.sleep(0.0005)
        await asyncio.gather(*tasks)
    assert engine.batches == [[1] * 8]


async def test_a_full_window_starts_at_once() -> None:
    engine = FakeEngine()
    async with batcher(engine, max_queue_delay_ms=3000 * DEADLINE_S, max_batch_rows=4) as owner:
        async with asyncio.timeout(DEADLINE_S):
            await owner.embed([[n] for n in range(4)], Lane.QUERY, None)
    assert engine.batches == [[1] * 4]


async def test_stopping_fails_the_waiting_requests() -> None:
    engine = FakeEngine()
    async with batcher(engine) as owner:
        engine.gate.clear()
        waiting = [asyncio.create_task(owner.embed([[n]], Lane.QUERY, None)) for n in range(3)]
        await until(lambda: bool(engine.batches))
        stopping = asyncio.create_task(owner.stop())
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, NotReady) for outcome in outcomes)
        engine.gate.set()
        await stopping
