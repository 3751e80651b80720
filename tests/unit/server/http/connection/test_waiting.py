"""What a connection has received and not answered is in the ledger, and bounded by it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from predictor.server.ledger import SMALL_BYTES, Ledger
from tests.deadlines import DEADLINE_S
from tests.unit.server.http.connection.test_protocol import Echo, exchange, listening, statuses

LIMIT = 1 << 20
HEALTH = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def post(size: int, *, sent: int | None = None, extra: bytes = b"") -> bytes:
    head = b"POST /embed HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n" % (extra, size)
    return head + b"a" * (size if sent is None else sent)


def chunked(sent: int) -> bytes:
    head = b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % (2 * LIMIT) + b"a" * sent


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - nothing rings
            await asyncio.sleep(0.001)


@pytest.fixture
async def full() -> AsyncIterator[tuple[int, Ledger, Echo]]:
    """A listener whose ledger is full because of something else; its clock does not tick."""
    echo = Echo()
    async with listening(echo, tick_s=1000, waiting_bytes=LIMIT) as (_, port, connections):
        connections.ledger.texts = LIMIT
        yield port, connections.ledger, echo


@pytest.mark.parametrize("request_", [post(SMALL_BYTES + 1, sent=0), chunked(0)])
async def test_a_full_ledger_refuses_large_bodies_before_they_are_read(
    full: tuple[int, Ledger, Echo], request_: bytes
) -> None:
    port, ledger, echo = full
    answer = await exchange(port, request_)
    assert statuses(answer) == [503]
    assert b"\r\nretry-after: 1\r\n" in answer
    assert b"--waiting-memory-share" in answer
    assert not echo.requests
    assert ledger.requests == 0


async def test_a_full_ledger_refuses_neither_health_checks_nor_small_requests(
    full: tuple[int, Ledger, Echo],
) -> None:
    port, ledger, _ = full
    assert statuses(await exchange(port, HEALTH)) == [200]
    close = b"connection: close\r\n"
    assert statuses(await exchange(port, post(SMALL_BYTES - 200, extra=close))) == [200]
    assert ledger.requests == 0


async def test_a_body_that_is_being_read_is_refused_when_the_ledger_is_full() -> None:
    echo = Echo()
    async with listening(echo, tick_s=1000, waiting_bytes=LIMIT) as (_, port, connections):
        ledger = connections.ledger
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        first = post(LIMIT, sent=LIMIT // 4)
        writer.write(first)
        await until(lambda: ledger.requests == len(first))
        ledger.texts = LIMIT
        writer.write(b"a" * 1000)
        async with asyncio.timeout(DEADLINE_S):
            assert statuses(await reader.read()) == [503]
        writer.close()
        await until(lambda: ledger.requests == 0)
        assert not echo.requests


async def test_bodies_without_end_are_closed_the_largest_first() -> None:
    """Three clients that send nothing more do not keep the others from sending."""
    async with listening(Echo(), tick_s=0.05, waiting_bytes=LIMIT) as (_, port, connections):
        ledger = connections.ledger
        clients = []
        for size in (LIMIT // 2, LIMIT // 4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            request = post(LIMIT, sent=size)
            total = ledger.requests + len(request)
            writer.write(request)
            await until(lambda total=total: ledger.requests == total)  # type: ignore[misc]
            clients.append((reader, writer))
        ledger.texts = LIMIT // 4  # what fills it up
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(ConnectionError):
                await clients[0][0].readexactly(1)
        await until(lambda: ledger.waiting < LIMIT)
        assert ledger.requests == len(post(LIMIT, sent=LIMIT // 4))
        assert not clients[1][0].at_eof()
        assert statuses(await exchange(port, post(LIMIT // 8, extra=b"connection: close\r\n"))) == [
            200
        ]
        for _, writer in clients:
            writer.close()
        await until(lambda: ledger.requests == 0)


async def send_in_parts(port: int, data: bytes, rng: random.Random) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    while data:
        size = rng.randrange(1, 3000)
        writer.write(data[:size])
        data = data[size:]
        await writer.drain()
        await asyncio.sleep(0)
    await asyncio.sleep(rng.random() * 0.01)
    writer.close()


@pytest.mark.parametrize("seed", range(20))
async def test_nothing_stays_in_the_ledger(seed: int) -> None:
    """Whatever clients send, in whatever parts, and wherever they leave."""
    rng = random.Random(seed)
    async with listening(Echo(), tick_s=1000, waiting_bytes=4 * LIMIT) as (_, port, connections):
        requests = [
            HEALTH.replace(b"connection: close\r\n", b""),
            post(10),
            post(40_000),
            post(90_000, sent=500),
            post(20, extra=b"upgrade: h2c\r\nconnection: upgrade\r\n"),
            b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n0\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"POST /embed HTTP/1.1\r\nx: " + b"y" * 40_000,
        ]
        clients = [
            send_in_parts(port, b"".join(rng.choices(requests, k=rng.randrange(1, 12))), rng)
            for _ in range(6)
        ]
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*clients, return_exceptions=True)
        await until(lambda: not len(connections))
        assert connections.ledger.waiting == 0


async def test_a_client_that_always_pipelines_is_charged_with_what_waits() -> None:
    count = 3000
    ask = HEALTH.replace(b"connection: close\r\n", b"")
    async with listening(Echo(), tick_s=1000, waiting_bytes=4 * LIMIT) as (_, port, connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        largest = 0
        for _ in range(count // 10):
            writer.write(ask * 10)
            for _ in range(9):  # one of the ten is still to come when the next ten are sent
                await reader.readuntil(b"\r\n\r\n")
            largest = max(largest, connections.ledger.requests)
        assert largest < 4 * SMALL_BYTES
        writer.close()
        await until(lambda: not len(connections))
        assert connections.ledger.waiting == 0
