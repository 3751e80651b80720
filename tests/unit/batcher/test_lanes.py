"""What runs next when both lanes wait: the state of the queue, without threads."""

import asyncio
from collections.abc import Iterator

import pytest

from predictor.batcher.lanes import Lanes
from predictor.batcher.submission import Batch, Submission
from predictor.settings import BatchingSettings
from predictor.types import Lane


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def submit(lanes: Lanes, loop: asyncio.AbstractEventLoop, lane: Lane, *lengths: int) -> Submission:
    submission = Submission(len(lengths), lane, 0.0, loop.create_future())
    lanes.add(submission, [[1] * length for length in lengths])
    return submission


def start(lanes: Lanes) -> Batch:
    lane = lanes.next_lane()
    assert lane is not None
    return lanes.take(lane)


def test_queries_overtake_ingest_and_ingest_gets_its_share(
    loop: asyncio.AbstractEventLoop,
) -> None:
    lanes = Lanes(BatchingSettings(max_batch_tokens=128, ingest_share=0.25), threads=1)
    for _ in range(20):
        submit(lanes, loop, Lane.INGEST, 120)
        submit(lanes, loop, Lane.QUERY, 120)
    order: list[Lane] = []
    for _ in range(24):
        batch = start(lanes)
        order.append(batch.lane)
        lanes.remove(batch)
    assert order[:4] == [Lane.QUERY] * 4
    assert order.count(Lane.INGEST) == 5  # a quarter, less the batch that is still owed


def test_a_query_starts_beside_ingest_and_ingest_never_beside_a_query(
    loop: asyncio.AbstractEventLoop,
) -> None:
    lanes = Lanes(BatchingSettings(), threads=1)
    submit(lanes, loop, Lane.INGEST, 200, 200)
    first = start(lanes)
    assert first.lane is Lane.INGEST
    assert lanes.next_lane() is None
    submit(lanes, loop, Lane.QUERY, 10)
    second = start(lanes)
    assert second.lane is Lane.QUERY
    lanes.remove(first)
    assert lanes.next_lane() is None


def test_after_a_contended_wide_run_the_next_are_narrow_until_it_is_quiet(
    loop: asyncio.AbstractEventLoop,
) -> None:
    lanes = Lanes(BatchingSettings(), threads=2)
    submit(lanes, loop, Lane.QUERY, 10)
    wide = start(lanes)
    assert wide.wide
    submit(lanes, loop, Lane.QUERY, 10)
    assert lanes.next_lane() is None
    lanes.remove(wide)
    narrow = start(lanes)
    assert not narrow.wide
    lanes.remove(narrow)
    submit(lanes, loop, Lane.QUERY, 10)
    assert start(lanes).wide


def test_a_dropped_request_leaves_no_rows_in_the_queue(
    loop: asyncio.AbstractEventLoop,
) -> None:
    lanes = Lanes(BatchingSettings(), threads=1)
    kept = submit(lanes, loop, Lane.QUERY, 5)
    dropped = submit(lanes, loop, Lane.QUERY, 6, 7)
    assert (lanes.rows, lanes.tokens) == (3, 18)
    lanes.discard(dropped)
    assert (lanes.rows, lanes.tokens) == (1, 5)
    assert [row.submission for row in start(lanes).rows] == [kept]
