"""The queue is bounded, its thread waits for nobody for ever, and nothing is lost uncounted."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence

import pytest

from predictor.tracing import PlainSpan, delivery
from predictor.tracing.delivery import AT_ONCE, QUEUE_SPANS, Delivery
from tests.deadlines import DEADLINE_S
from tests.unit.tracing.doubles import Counts, FakeSender

SPAN = PlainSpan("x", 1, 2, 0, 0, 1, {})


def three() -> Sequence[PlainSpan]:
    return [SPAN] * 3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DELAY_S", 0.02)
    monkeypatch.setattr(delivery, "ABORT_S", 0.1)


@pytest.fixture
def sender() -> Iterator[FakeSender]:
    made = FakeSender()
    yield made
    made.gate.set()


@pytest.fixture
def counts() -> Counts:
    return Counts()


async def test_every_span_that_is_put_is_sent(sender: FakeSender, counts: Counts) -> None:
    queue = Delivery(sender, counts)
    for _ in range(100):
        queue.put(3, three)
    await asyncio.to_thread(counts.wait_for, "exported", 300)
    assert sender.sent == [SPAN] * 300
    assert max(sender.sizes) <= AT_ONCE
    assert queue.waiting == 0
    await queue.close(1.0)


async def test_a_hanging_collector_fills_no_memory_and_delays_nobody(
    sender: FakeSender, counts: Counts
) -> None:
    sender.gate.clear()
    queue = Delivery(sender, counts)
    queue.put(3, three)
    assert await asyncio.to_thread(sender.entered.wait, DEADLINE_S)
    started = time.thread_time()
    for _ in range(QUEUE_SPANS):
        queue.put(3, three)
    took = time.thread_time() - started
    assert QUEUE_SPANS - 3 < queue.waiting <= QUEUE_SPANS
    assert counts["dropped"] == 3 * QUEUE_SPANS - queue.waiting
    assert took / QUEUE_SPANS < 50e-6  # of the CPU; a put is under a microsecond
    await queue.close(0.3)


async def test_the_end_is_in_time_even_if_the_collector_hangs(
    sender: FakeSender, counts: Counts
) -> None:
    sender.gate.clear()
    sender.close_frees = False
    queue = Delivery(sender, counts)
    for _ in range(AT_ONCE):
        queue.put(3, three)
    assert await asyncio.to_thread(sender.entered.wait, DEADLINE_S)
    started = time.monotonic()
    await queue.close(0.3)
    assert time.monotonic() - started < DEADLINE_S / 2  # the gate would keep it to the deadline
    assert sender.closed
    in_flight = 3 * AT_ONCE - counts["dropped"]
    assert 0 < in_flight <= AT_ONCE


async def test_the_end_sends_what_waits(
    sender: FakeSender, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "DELAY_S", 60.0)
    queue = Delivery(sender, counts)
    for _ in range(20):
        queue.put(3, three)
    assert not counts
    await queue.close(5.0)
    assert counts == {"exported": 60}
    assert len(sender.sent) == 60


async def test_after_the_end_nothing_is_queued(sender: FakeSender, counts: Counts) -> None:
    queue = Delivery(sender, counts)
    await queue.close(1.0)
    queue.put(3, three)
    assert (counts, queue.waiting) == ({"dropped": 3}, 0)


async def test_one_line_when_delivery_fails_and_one_when_it_works_again(
    sender: FakeSender, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sender.reason = "connection refused"
    queue = Delivery(sender, counts)
    for failed in (3, 6, 9):
        queue.put(3, three)
        await asyncio.to_thread(counts.wait_for, "failed", failed)
    sender.reason = ""
    queue.put(3, three)
    await asyncio.to_thread(counts.wait_for, "exported", 3)
    await queue.close(1.0)
    assert caplog.messages == [
        "spans are not delivered: connection refused",
        "spans are delivered again",
    ]


async def test_an_error_of_ours_ends_neither_thread_nor_process(
    sender: FakeSender, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Sequence[PlainSpan]:
        raise ValueError("x")

    queue = Delivery(sender, counts)
    queue.put(3, broken)
    await asyncio.to_thread(counts.wait_for, "failed", 3)
    queue.put(3, broken)
    await asyncio.to_thread(counts.wait_for, "failed", 6)
    assert caplog.messages.count("spans could not be sent") == 1
    queue.put(3, three)
    await asyncio.to_thread(counts.wait_for, "exported", 3)
    await queue.close(1.0)
