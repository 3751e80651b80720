"""The queue behind its lock: every order in which the loop and the engine's threads may take it.

All changes happen in methods that take the lock once, so an interleaving is an order of calls. The
tests run every order of some callers' calls; `Guarded` fails where the queue is touched without the
lock.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import pytest

from predictor.batcher.dispatch import Dispatch
from predictor.batcher.lanes import Lanes
from predictor.batcher.submission import Batch, Submission
from predictor.settings import BatchingSettings
from predictor.types import Lane

QUERY, INGEST = Lane.QUERY, Lane.INGEST


class Guarded:
    """The lanes, which may be used by who has the lock only."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.lock: threading.Lock | None = None

    def __getattr__(self, name: str) -> Any:
        assert self.lock is not None
        assert self.lock.locked(), f"{name} without the lock"
        return getattr(self._lanes, name)


class Thread:
    """Stands for a thread of the engine; `batch` is what it runs."""

    def __init__(self, story: "Story", lane: Lane) -> None:
        self.story, self.lane = story, lane
        self.batch: Batch | None = None

    def assign(self, batch: Batch) -> None:
        assert self.batch is None, "a busy thread was given another batch"
        self.batch = batch
        self.story.started(batch)

    def finish(self) -> None:
        """End the batch, as after a run; nothing if it runs none."""
        if self.batch is None:
            return
        self.batch = None
        batch = self.story.dispatch.next_batch(self)
        assert self.batch is None, "a thread was given a batch while it asks for one"
        self.batch = batch
        if batch is not None:
            self.story.started(batch)

    def die(self) -> None:
        """End as by an error that nothing catches."""
        lost = self.story.dispatch.remove(self)
        assert lost is self.batch
        self.batch = None
        self.story.threads.remove(self)


class Story:
    """One order of calls: two threads of each lane, two batches at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **settings: float) -> None:
        self.loop = loop
        self.lanes = Lanes(BatchingSettings(**settings), 2)  # type: ignore[arg-type]
        guarded = Guarded(self.lanes)
        self.dispatch = Dispatch(guarded, 2)  # type: ignore[arg-type]
        guarded.lock = self.dispatch._lock
        self.threads = [Thread(self, lane) for lane in Lane for _ in range(2)]
        for thread in self.threads:
            self.dispatch.add(thread)
        self.ran: list[tuple[Submission, int]] = []
        self.requests: list[Submission] = []

    def started(self, batch: Batch) -> None:
        assert batch.rows
        assert batch.began
        self.ran += [(row.submission, row.index) for row in batch.rows]

    def admit(self, lane: Lane, *lengths: int) -> Submission:
        request = Submission(len(lengths), lane, 0.0, self.loop.create_future())
        rows = [[1] * length for length in lengths]
        assert self.dispatch.admit(request, rows, sum(lengths))
        self.requests.append(request)
        return request

    def busy_lanes(self) -> list[Lane]:
        return [thread.lane for thread in self.threads if thread.batch is not None]

    def check(self) -> None:
        """What must hold when every caller has returned."""
        assert len(self.ran) == len(set(self.ran)), "a row ran twice"
        busy = [thread for thread in self.threads if thread.batch is not None]
        assert {id(t.batch) for t in busy} == {id(b) for b in self.dispatch.running()}
        wide = any(t.batch.wide for t in busy if t.batch)
        if wide:
            assert len(busy) == 1, "something ran beside a wide run"
        assert len(busy) <= 2 + any(t.lane is INGEST for t in busy)
        if self.lanes.rows and not wide and len(self.threads) == 4:
            assert len(busy) >= 2, "rows wait, and a thread stands idle"

    def run_dry(self) -> None:
        """Let everything run that can."""
        for _ in range(200):
            self.dispatch.fill()
            self.check()
            busy = [thread for thread in self.threads if thread.batch is not None]
            if not busy:
                break
            busy[0].finish()
        assert self.lanes.accepted_rows == 0
        assert not self.dispatch.running()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


Action = Callable[[Story], object]


def _admit(*rows: int, lane: Lane = QUERY) -> Action:
    """A request comes, and at the end of its turn of the loop batches are started."""
    return lambda story: (story.admit(lane, *rows), story.dispatch.fill())


def _finish(place: int) -> Action:
    return lambda story: story.threads[place].finish()


CALLERS: list[Action] = [
    _admit(200, 100),
    _admit(8, 9, lane=INGEST),
    _finish(0),
    _finish(1),
    _finish(2),
    lambda story: story.dispatch.discard(story.requests[0]),
]


@pytest.mark.parametrize("first", [(QUERY, 300), (INGEST, 250), (QUERY, 20)])
def test_every_order_of_calls(loop: asyncio.AbstractEventLoop, first: tuple[Lane, int]) -> None:
    lane, tokens = first
    for order in permutations(CALLERS):
        story = Story(loop)
        story.admit(lane, tokens, tokens)
        story.dispatch.fill()
        story.check()
        for call in order:
            call(story)
            story.check()
        dropped = story.requests[0]
        story.run_dry()
        expected = {
            (request, index)
            for request in story.requests
            if request is not dropped
            for index in range(request._size)
        }
        assert expected <= set(story.ran), "a row was lost"


def test_every_order_with_a_thread_that_dies(loop: asyncio.AbstractEventLoop) -> None:
    calls: list[Action] = [
        _admit(100, 100, 100),
        _finish(1),
        lambda story: story.threads[0].die(),
        lambda story: story.dispatch.add(story.threads[0]),
        _admit(50, lane=INGEST),
    ]
    for order in permutations(calls):
        if order.index(calls[3]) < order.index(calls[2]):
            continue  # it is replaced after it has died
        story = Story(loop)
        story.admit(QUERY, 200, 200)
        story.dispatch.fill()
        dead = story.threads[0]
        for call in order:
            if call is calls[3]:
                story.threads.insert(0, dead)
            call(story)
        story.run_dry()


def test_nothing_starts_after_the_end(loop: asyncio.AbstractEventLoop) -> None:
    for ends in range(4):
        story = Story(loop)
        story.admit(QUERY, 200, 200, 200)
        story.dispatch.fill()
        before = len(story.ran)
        calls: list[Action] = [_finish(1), _admit(8), _finish(0)]
        for place, call in enumerate(calls):
            if place == ends:
                before = len(story.ran)
                story.dispatch.close()
            call(story)
        if ends < len(calls):
            assert len(story.ran) == before


def test_a_thread_leaves_the_other_lane_to_its_threads(loop: asyncio.AbstractEventLoop) -> None:
    story = Story(loop)
    story.admit(QUERY, 200, 200)
    story.dispatch.fill()
    story.admit(INGEST, 8)
    assert story.busy_lanes() == [QUERY, QUERY]
    story.threads[0].finish()
    assert story.busy_lanes() == [QUERY, INGEST]


def test_an_open_window_is_told(loop: asyncio.AbstractEventLoop) -> None:
    story = Story(loop, max_queue_delay_ms=1e9)
    story.admit(QUERY, 8)
    assert 0 < story.dispatch.fill() <= 1e6
    assert not story.ran


def test_idle_seconds_are_those_while_rows_wait(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("predictor.batcher.dispatch.time.perf_counter", lambda: now[0])
    story = Story(loop)
    now[0] += 5.0  # nothing waits
    request = story.admit(QUERY, 200, 200, 200)
    now[0] += 1.0  # two threads stand idle
    story.dispatch.fill()
    now[0] += 2.0  # both run
    assert story.dispatch.thread_seconds() == (4.0, 2.0)
    story.dispatch.discard(request)
    story.threads[0].finish()
    now[0] += 1.0  # one runs, and nothing waits
    assert story.dispatch.thread_seconds() == (1.0, 0.0)
