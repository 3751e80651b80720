"""The second tier with a real Redis or Valkey, and with servers that only pretend to be one.

Whatever they do, an answer is right and comes within the time limit; a misbehaving one is a small
TCP server of the test.
"""

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from predictor.cache import RedisTier, RowCache, VersionCache, breaker
from predictor.cache.breaker import FAILURES
from predictor.cache.frame import framed
from predictor.cache.keys import redis_prefix, row_key, version_state
from predictor.cache.redis_client import CONNECTIONS
from predictor.cache.rows import F16, F32
from predictor.settings import CacheDtype, CacheSettings
from predictor.types import Lane
from predictor.version_metrics import ModelMetrics
from tests.deadlines import DEADLINE_S
from tests.unit.cache.doubles import DIM, FakeCompute, vectors

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
DIGEST = "d1" * 32
real = pytest.mark.skipif(PROGRAM is None, reason="no redis-server or valkey-server in the PATH")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A Redis of the test's own on a unix socket, empty, without a disk."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.socket = folder / "redis.sock"
        self._folder, self._flags = folder, flags
        self.start()

    def start(self) -> None:
        assert PROGRAM
        self._process = subprocess.Popen(
            [PROGRAM, "--port", "0", "--unixsocket", str(self.socket), "--save", "",
             "--appendonly", "no", "--dir", str(self._folder), *self._flags],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + DEADLINE_S
        while not self._listens():
            assert time.monotonic() < end
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(DEADLINE_S)
        self.socket.unlink(missing_ok=True)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:  # a socket's path may not be long
        running = Server(Path(folder))
        yield running
        running.stop()


@asynccontextmanager
async def tier(
    url: str, *, timeout_ms: float = 1000, dtype: CacheDtype = "fp32"
) -> AsyncIterator[RedisTier]:
    owner = RedisTier(
        CacheSettings(
            cache_redis_url=url, cache_redis_timeout_ms=timeout_ms, cache_redis_ttl_s=60,
            cache_dtype=dtype,
        )
    )  # fmt: skip
    owner.start()
    try:
        yield owner
    finally:
        await owner.stop()


@asynccontextmanager
async def fake(handler: Handler) -> AsyncIterator[str]:
    """A TCP server; gives its URL."""
    ending: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        ending.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


def pod(redis: RedisTier, compute: FakeCompute, dtype: CacheDtype = "fp32") -> VersionCache:
    """A process with an empty memory of its own."""
    return VersionCache(
        compute.embed, digest=DIGEST, variant="int8", dimensions=DIM,
        memory=RowCache(CacheSettings(cache_dtype=dtype)), redis=redis,
        metrics=ModelMetrics("redis-test", "1"),
    )  # fmt: skip


def key(ids: list[int]) -> bytes:
    return row_key(version_state(DIGEST, "int8", DIM), ids)


def name(ids: list[int]) -> bytes:
    return redis_prefix(DIGEST) + key(ids).hex().encode()


def failures(reason: str) -> float:
    metric, labels = "predictor_cache_redis_failures_total", {"reason": reason}
    return REGISTRY.get_sample_value(metric, labels) or 0.0


def hits() -> float:
    labels = {"model": "redis-test", "version": "1", "tier": "redis"}
    return REGISTRY.get_sample_value("predictor_cache_hits_total", labels) or 0.0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110  what is waited for is elsewhere
            await asyncio.sleep(0.005)


async def written(redis: RedisTier, *rows: list[int]) -> None:
    async def has_all() -> bool:
        return None not in await redis._client.get([name(ids) for ids in rows])

    await until(has_all)


async def ask(cache: VersionCache, *rows: list[int]) -> None:
    """The answer is right, whatever Redis does."""
    answer = await cache.embed(list(rows), Lane.QUERY, None)
    np.testing.assert_array_equal(answer, vectors(rows))


@real
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
async def test_pods_share_rows_and_keep_them_in_memory(server: Server, dtype: CacheDtype) -> None:
    async with tier(server.url, dtype=dtype) as redis:
        first, second, rows = FakeCompute(), FakeCompute(), [[1, 2], [3], [4]]
        await ask(pod(redis, first, dtype), *rows)
        await written(redis, *rows)
        other, before = pod(redis, second, dtype), hits()
        await ask(other, [1, 2], [3], [9])
        assert second.rows == [[9]]
        assert hits() - before == 2
        await ask(other, [1, 2], [3])
        assert hits() - before == 2


@real
async def test_names_tell_whose_they_are_and_values_expire(server: Server) -> None:
    async with tier(server.url) as redis:
        await ask(pod(redis, FakeCompute()), [1])
        await written(redis, [1])
        client = redis._client._redis
        assert await client.keys(b"*") == [name([1])]
        assert name([1]).startswith(b"predictor:1:d1d1d1d1d1d1:")
        assert 0 < await client.ttl(name([1])) <= 60


def wrong_values() -> dict[str, bytes]:
    row = vectors([[1]])
    good = framed(key([1]), row.tobytes(), F32)
    return {
        "empty": b"",
        "text": b"OK",
        "bare row": row.tobytes(),
        "truncated": good[:-1],
        "longer": good + b"\0",
        "damaged": good[:-2] + bytes([good[-2] ^ 1]) + good[-1:],
        "another key's": framed(key([2]), vectors([[2]]).tobytes(), F32),
        "other dimension": framed(key([1]), row.tobytes()[:8], F32),
        "other dtype": framed(key([1]), row.astype(F16).tobytes(), F16),
        "NaN": framed(key([1]), np.full(DIM, np.nan, dtype=np.float32).tobytes(), F32),
    }


@real
@pytest.mark.parametrize("value", wrong_values().values(), ids=wrong_values())
async def test_a_wrong_value_is_a_counted_miss_and_is_replaced(
    server: Server, value: bytes
) -> None:
    async with tier(server.url) as redis:
        await redis._client.set([(name([1]), value)], 60)
        compute, before = FakeCompute(), failures("garbage")
        await ask(pod(redis, compute), [1])
        assert compute.rows == [[1]]
        assert failures("garbage") == before + 1
        right = framed(key([1]), vectors([[1]]).tobytes(), F32)

        async def replaced() -> bool:
            return await redis._client.get([name([1])]) == [right]

        await until(replaced)


@real
async def test_a_name_that_holds_another_type_is_a_miss_and_is_replaced(server: Server) -> None:
    async with tier(server.url) as redis:
        await redis._client._redis.lpush(name([1]), b"x")
        compute = FakeCompute()
        await ask(pod(redis, compute), [1])
        assert compute.rows == [[1]]
        await written(redis, [1])


@real
async def test_a_full_redis_is_read_and_refusals_are_counted(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with tier(server.url) as redis:
        await ask(pod(redis, FakeCompute()), [1])
        await written(redis, [1])
        await redis._client._redis.config_set("maxmemory", "1")
        before = failures("refused")
        for n in range(2, 12):
            await ask(pod(redis, FakeCompute()), [n])

        async def refused() -> bool:
            return failures("refused") - before >= FAILURES

        for n in range(12, 12 + FAILURES):
            await ask(pod(redis, FakeCompute()), [n])
            await asyncio.sleep(0.01)
        await until(refused)
        compute, hits_before = FakeCompute(), hits()
        await ask(pod(redis, compute), [1])
        assert compute.rows == []
        assert hits() == hits_before + 1
        assert "writes paused" in caplog.text


@real
async def test_without_cache_redis_is_not_asked_and_not_written(server: Server) -> None:
    async with tier(server.url) as redis:
        cache = pod(redis, FakeCompute())
        await cache.embed([[1]], Lane.QUERY, None, use_cache=False)
        await ask(cache, [2])
        await written(redis, [2])
        assert await redis._client.get([name([1])]) == [None]


@real
async def test_a_request_of_a_thousand_rows_is_found_again(server: Server) -> None:
    rows = [[n, n + 1] for n in range(1000)]
    async with tier(server.url, timeout_ms=5000) as redis:
        await ask(pod(redis, FakeCompute()), *rows)
        await written(redis, *rows)
        compute = FakeCompute()
        await ask(pod(redis, compute), *rows)
        assert compute.rows == []


@real
async def test_connections_are_bounded_and_survive_a_storm_of_cancellations(
    server: Server,
) -> None:
    async with tier(server.url, timeout_ms=5000) as redis:
        await ask(pod(redis, FakeCompute()), [1])
        await written(redis, [1])
        for cancel_after in range(12):
            tasks = [asyncio.create_task(redis.get([name([1])])) for _ in range(60)]
            for _ in range(cancel_after):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        values = await asyncio.gather(*(redis.get([name([1])]) for _ in range(60)))
        assert [value for (value,) in values] == [
            framed(key([1]), vectors([[1]]).tobytes(), F32)
        ] * 60
        assert len(await redis._client._redis.client_list()) <= CONNECTIONS


@real
async def test_redis_down_costs_little_and_coming_back_is_noticed(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(breaker, "PAUSE_S", 0.05)
    caplog.set_level("INFO")
    async with tier(server.url) as redis:
        await ask(pod(redis, FakeCompute()), [1])
        await written(redis, [1])
        server.stop()
        before = failures("connection")
        for n in range(2 * FAILURES):
            await ask(pod(redis, FakeCompute()), [n])
        assert failures("connection") - before >= FAILURES
        assert REGISTRY.get_sample_value("predictor_cache_redis_open") == 1
        assert caplog.text.count("reads paused") == 1
        server.start()
        cache = pod(redis, FakeCompute())

        async def closed() -> bool:
            await cache.embed([[1]], Lane.QUERY, None, use_cache=False)
            await redis.get([name([1])])
            return REGISTRY.get_sample_value("predictor_cache_redis_open") == 0

        await until(closed)
        assert "Redis answers again: reads resumed" in caplog.text


@real
async def test_a_wrong_password_is_no_error_and_not_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    running = Server(tmp_path, "--requirepass", "right")
    try:
        async with tier(f"{running.url}?password=wr0ng-secret") as redis:
            before = failures("refused")
            for n in range(FAILURES):
                await ask(pod(redis, FakeCompute()), [n])
            assert failures("refused") - before >= FAILURES
        assert "Redis fails (refused, AuthenticationError): reads paused" in caplog.text
        assert "wr0ng-secret" not in caplog.text
        async with tier(f"{running.url}?password=right") as redis:
            await ask(pod(redis, FakeCompute()), [1])
            await written(redis, [1])
    finally:
        running.stop()


# Servers that are none


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_server_that_never_answers_costs_the_time_limit_and_then_nothing() -> None:
    async with fake(hangs) as url, tier(url, timeout_ms=50) as redis:
        before = failures("timeout")
        for n in range(FAILURES):
            start = time.perf_counter()
            await ask(pod(redis, FakeCompute()), [n])
            assert time.perf_counter() - start > 0.045
        assert failures("timeout") - before >= FAILURES
        paused = failures("timeout")
        for n in range(100):
            await ask(pod(redis, FakeCompute()), [n])
        # Now and then a read or a write looks whether it answers again; the others do not wait.
        assert failures("timeout") - paused < 50
        assert REGISTRY.get_sample_value("predictor_cache_redis_open") == 1


async def test_a_cancelled_request_stops_waiting_for_redis_and_leaves_no_flight() -> None:
    async with fake(hangs) as url, tier(url, timeout_ms=60_000) as redis:
        cache = pod(redis, FakeCompute())
        task = asyncio.create_task(cache.embed([[1]], Lane.QUERY, None))
        await asyncio.sleep(0.02)
        assert len(cache._flights) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(cache._flights) == 0


@pytest.mark.parametrize(
    "reply",
    [
        b"garbage\r\n",
        b"\0\xff\xfe" * 50 + b"\r\n",
        b":1\r\n",
        b"$5\r\nhello\r\n",
        b"*0\r\n",
        b"*2\r\n$-1\r\n$-1\r\n",
        b"*1\r\n:7\r\n",
        b"*1\r\n*1\r\n$1\r\nx\r\n",
        b"*1\r\n$3\r\nabc\r\n",
        b"*x\r\n",
        b"*-1\r\n",
        b"$99999999999\r\nabc",
        b"*99999999\r\n",
        b"-ERR no such command\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
    ],
)
async def test_a_mad_server_gives_no_error_and_no_vector(reply: bytes) -> None:
    async def mad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            if not reply:
                return
            writer.write(reply)

    async with fake(mad) as url, tier(url, timeout_ms=50) as redis:
        compute = FakeCompute()
        cache = pod(redis, compute)
        for n in range(FAILURES + 1):
            await ask(cache, [n])
        assert compute.rows == [[n] for n in range(FAILURES + 1)]
        assert len(cache._flights) == 0


async def test_a_late_reply_never_answers_the_next_request() -> None:
    """The first MGET's answer is held until the second was sent: both rows are well framed."""
    held, connections = asyncio.Event(), list[int]()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        while command := await reader.read(65536):
            for ids in ([1], [2]):
                if name(ids) in command and b"MGET" in command:
                    if ids == [1]:
                        await held.wait()
                    value = framed(key(ids), vectors([ids]).tobytes(), F32)
                    writer.write(b"*1\r\n$%d\r\n%b\r\n" % (len(value), value))
            if b"PING" in command:
                writer.write(b"+PONG\r\n")
            if b"SETINFO" in command:
                writer.write(b"+OK\r\n" * command.count(b"SETINFO"))

    async with fake(late) as url, tier(url, timeout_ms=100) as redis:
        assert await redis.get([name([1])]) == [None]
        count = len(connections)
        held.set()
        second = await redis.get([name([2])])
        assert second == [framed(key([2]), vectors([[2]]).tobytes(), F32)]
        assert await redis.get([name([1])]) == [framed(key([1]), vectors([[1]]).tobytes(), F32)]
        assert len(connections) >= count
