"""The queue of writes and its task, with a client that is a list."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from prometheus_client import REGISTRY

from predictor import supervised_task
from predictor.cache import redis_writer
from predictor.cache.breaker import FAILURES
from predictor.cache.redis_client import RedisClient
from predictor.cache.redis_writer import AT_ONCE, QUEUE_BYTES, RedisWriter
from predictor.supervised_task import MAX_RESTARTS
from tests.deadlines import DEADLINE_S
from tests.unit.cache.doubles import turns

Pair = tuple[bytes, bytes]


class FakeClient:
    """Keeps what is set; `gate` holds writes back, `fault` is raised instead."""

    def __init__(self) -> None:
        self.batches: list[list[Pair]] = []
        self.pings = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.refuses = False

    async def set(self, pairs: list[Pair], ttl_s: int) -> int:
        assert ttl_s == 60
        await self.gate.wait()
        if self.fault:
            raise self.fault
        self.batches.append(pairs)
        return len(pairs) if self.refuses else 0

    async def ping(self) -> None:
        self.pings += 1


@asynccontextmanager
async def writing(client: FakeClient) -> AsyncIterator[RedisWriter]:
    writer = RedisWriter(cast(RedisClient, client), 60)
    writer.start()
    await turns()
    yield writer
    await writer.stop()


def failures(reason: str) -> float:
    name, labels = "predictor_cache_redis_failures_total", {"reason": reason}
    return REGISTRY.get_sample_value(name, labels) or 0.0


def pairs(count: int, size: int = 10) -> list[Pair]:
    return [(b"%d" % n, bytes(size)) for n in range(count)]


async def test_rows_are_written_in_order_in_small_round_trips() -> None:
    client, sent = FakeClient(), pairs(2 * AT_ONCE + 3)
    async with writing(client) as writer:
        writer.put(sent)
        await turns(10)
        assert writer._queued_bytes == 0
    assert [pair for batch in client.batches for pair in batch] == sent
    assert [len(batch) for batch in client.batches] == [AT_ONCE, AT_ONCE, 3]
    assert client.pings == 1


async def test_a_full_queue_drops_and_counts() -> None:
    client, before = FakeClient(), failures("dropped")
    async with writing(client) as writer:
        client.gate.clear()
        writer.put(pairs(100, QUEUE_BYTES // 50))
        assert writer._queued_bytes <= QUEUE_BYTES
        assert failures("dropped") - before == 51
        client.gate.set()
        await turns(10)
        assert sum(map(len, client.batches)) == 49
        assert writer._queued_bytes == 0


async def test_nothing_is_queued_before_start_and_after_stop() -> None:
    client, before = FakeClient(), failures("dropped")
    writer = RedisWriter(cast(RedisClient, client), 60)
    writer.put(pairs(2))
    writer.start()
    await writer.stop()
    writer.put(pairs(3))
    assert writer._queued_bytes == 0
    assert failures("dropped") - before == 5
    assert client.batches == []


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_redis_that_refuses_writes_is_not_used_for_a_while(refuses: bool) -> None:
    client = FakeClient()
    reason = "refused" if refuses else "connection"
    client.refuses, client.fault = refuses, None if refuses else ConnectionResetError("gone")
    before, dropped = failures(reason), failures("dropped")
    async with writing(client) as writer:
        for _ in range(FAILURES + 4):
            writer.put(pairs(1))
            await turns(5)
        assert failures(reason) - before == FAILURES
        assert failures("dropped") - dropped == 4


async def test_a_write_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_writer, "WRITE_S", 0.01)
    client, before = FakeClient(), failures("timeout")
    async with writing(client) as writer:
        client.gate.clear()
        writer.put(pairs(1))
        async with asyncio.timeout(DEADLINE_S):
            while failures("timeout") == before:  # noqa: ASYNC110  a counter rings no bell
                await asyncio.sleep(0.005)
        client.gate.set()
        writer.put([(b"next", b"row")])
        await turns(5)
    assert client.batches == [[(b"next", b"row")]]


async def test_a_task_that_dies_is_logged_and_restarted_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeClient()
    async with writing(client) as writer:

        def broken(self: RedisWriter) -> list[Pair]:
            self._queue.clear()
            raise KeyError("a fault of ours")

        monkeypatch.setattr(supervised_task, "PAUSE_S", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(RedisWriter, "_take", broken)
            writer.put(pairs(1))
            await turns(4)
            assert "the writer to Redis ended unexpectedly and is restarted" in caplog.text
        writer._queue.clear()
        writer._queued_bytes = 0
        writer.put([(b"next", b"row")])
        await turns(10)
        assert client.batches == [[(b"next", b"row")]]
        monkeypatch.setattr(RedisWriter, "_take", broken)
        for _ in range(MAX_RESTARTS):
            writer.put(pairs(1))
            await turns(10)
        assert "no more rows are written" in caplog.text
        before = failures("dropped")
        writer.put(pairs(1))
        assert failures("dropped") == before + 1
        assert writer._queued_bytes == 0
