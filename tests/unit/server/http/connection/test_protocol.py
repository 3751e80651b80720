"""Connections of a real uvicorn: bounded, clocked, and refused in one sentence."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress

import msgspec
import pytest
import uvicorn

from predictor.server.http.connection import Connections, HttpConnection, http_limits
from predictor.server.http.request import Receive, Scope, Send
from predictor.server.ledger import Ledger
from predictor.server.listeners import Uvicorn, uvicorn_config
from predictor.settings import TransportSettings
from tests.deadlines import DEADLINE_S

# More than the kernel keeps for a connection.
BODY = bytes(16 << 20)
ASK = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"
DEFAULTS = TransportSettings()
# Seconds between two looks of the clocks.
TICK_S = 0.02


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    length = b"%d" % len(BODY)
    headers = [(b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


App = Callable[[Scope, Receive, Send], object]


@asynccontextmanager
async def listening(
    app: App = answer,
    settings: TransportSettings = DEFAULTS,
    *,
    tick_s: float = TICK_S,
    waiting_bytes: int = 4 << 30,
) -> AsyncIterator[tuple[uvicorn.Server, int, Connections]]:
    """A server, its port and its connections."""
    limits = http_limits(settings, descriptors=2000)
    connections = Connections(limits, Ledger(waiting_bytes), tick_s)
    server = Uvicorn(uvicorn_config(app, 5, connections))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield server, port, connections
        server.should_exit = True
        async with asyncio.timeout(DEADLINE_S):
            await task


@pytest.fixture
async def serving() -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """A server and its port; a client must read 64 KiB in 50 ms."""
    async with listening(settings=TransportSettings(transfer_window_s=0.05)) as (server, port, _):
        yield server, port


def opened(port: int, *, asks: bytes = ASK, holds: int = 4096) -> socket.socket:
    """A client that has asked; its kernel holds about so many bytes for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, holds)
    client.connect(("127.0.0.1", port))
    client.sendall(asks)
    client.setblocking(False)
    return client


def has_held_data(connection: object) -> bool:
    return isinstance(connection, HttpConnection) and bool(connection._held)


async def until_left(server: uvicorn.Server) -> None:
    """No connection and, a turn of the loop or two later, no task of one."""
    state = server.server_state
    async with asyncio.timeout(DEADLINE_S):
        while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn rings no bell
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "asks",
    [ASK, ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), ASK * 3],
    ids=["keeps alive", "closes", "pipelines"],
)
async def test_who_reads_nothing_is_dropped(
    serving: tuple[uvicorn.Server, int], asks: bytes
) -> None:
    server, port = serving
    with ExitStack() as clients:
        for _ in range(5):
            clients.enter_context(opened(port, asks=asks))
        async with asyncio.timeout(DEADLINE_S):
            while len(server.server_state.connections) < 5:  # noqa: ASYNC110 - nor here
                await asyncio.sleep(0.001)
        await until_left(server)


async def test_who_reads_a_little_is_dropped(serving: tuple[uvicorn.Server, int]) -> None:
    server, port = serving
    client = opened(port)
    loop, read = asyncio.get_running_loop(), 0
    async with asyncio.timeout(DEADLINE_S):
        while not read or server.server_state.connections:
            read += len(await loop.sock_recv(client, 1))
            await asyncio.sleep(0.01)
    with suppress(ConnectionResetError):
        while part := await loop.sock_recv(client, 1 << 20):
            read += len(part)
    assert read < 1 << 20  # what was in the server's kernel is gone, too
    client.close()


async def test_who_reads_slowly_gets_all(serving: tuple[uvicorn.Server, int]) -> None:
    server, port = serving
    client = opened(port, holds=1 << 18)
    loop = asyncio.get_running_loop()
    read = 0
    async with asyncio.timeout(DEADLINE_S):
        while read < len(BODY):
            part = await loop.sock_recv(client, 1 << 18)
            assert part
            read += len(part)
            await asyncio.sleep(0.002)
    assert server.server_state.connections  # and is let go on
    client.close()


class Echo:
    """Answers with the path and the body of each request, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        # Set to answer; requests wait for it.
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        names = [name for name, _ in scope["headers"]]
        self.requests.append((scope["raw_path"].decode(), body))
        await self.go.wait()
        content = scope["raw_path"] + b"|" + body + b"|" + b",".join(names)
        headers = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send the parts one after the other, and return all that comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            for part in parts:
                writer.write(part)
                with suppress(ConnectionError):
                    await writer.drain()
            received = b""
            with suppress(ConnectionError):
                while data := await reader.read(1 << 16):
                    received += data
            return received
    finally:
        writer.close()


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


@pytest.mark.parametrize(
    ("parts", "status", "sentence"),
    [
        ([b"GET / HTTP/1.1\r\nx: " + b"a" * 3000], 431, "more than 2048 bytes"),
        ([b"GET / HTTP/1.1\r\nx: ", *[b"a" * 500] * 9], 431, "more than 2048 bytes"),
        ([b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 21 + b"\r\n"], 431, "more than 20 headers"),
        ([b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n\r\n"], 414, "request line has more"),
        ([b"GET /", *[b"a" * 500] * 9], 414, "request line has more"),
        ([b"nonsense\r\n\r\n"], 400, "Invalid HTTP request"),
        ([b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n"], 400, "CONNECT is not served"),
    ],
)
async def test_a_head_over_a_limit_is_refused_in_one_sentence(
    parts: list[bytes], status: int, sentence: str
) -> None:
    echo = Echo()
    async with listening(echo, TransportSettings(max_header_bytes=2048, max_headers=20)) as (
        _,
        port,
        _,
    ):
        received = await exchange(port, *parts)
    assert statuses(received) == [status]
    assert sentence in received.decode()
    assert b"connection: close" in received
    assert not echo.requests


async def test_a_large_body_is_not_taken_for_a_head() -> None:
    echo = Echo()
    body = b"\r\n\r\n" * 5000 + b"x" * 100_000
    request = b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    last = b"POST /b HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    async with listening(echo, TransportSettings(max_header_bytes=2048)) as (_, port, _):
        received = await exchange(port, request * 3 + last[:20], last[20:])
    assert statuses(received) == [200] * 4
    assert [path for path, _ in echo.requests] == ["/a", "/a", "/a", "/b"]
    assert all(sent == body for _, sent in echo.requests[:3])


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
async def test_chunked_requests_in_any_pieces(size: int) -> None:
    echo = Echo()
    content = b"abc\r\n\r\ndef" * 30
    chunk = b"%x\r\n%s\r\n" % (len(content), content)
    chunked = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunk * 2 + b"0\r\n\r\n"
    data = chunked * 3 + ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    async with listening(echo, TransportSettings(max_header_bytes=1024)) as (_, port, _):
        received = await exchange(port, *pieces)
    assert statuses(received) == [200] * 4
    assert [body for _, body in echo.requests] == [content * 2] * 3 + [b""]


async def test_trailers_are_bounded_and_are_no_headers() -> None:
    echo = Echo()
    head = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    last = ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with listening(echo, TransportSettings(max_header_bytes=2048)) as (_, port, _):
        received = await exchange(port, head + b"x-api-key: k\r\n\r\n" + last)
        assert statuses(received) == [200, 200]
        assert b"x-api-key" not in received
        received = await exchange(port, head, b"x: ", *[b"y" * 1000] * 600)
        assert statuses(received) == [431]
        empty = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: "
        received = await exchange(port, empty, *[b"y" * 1000] * 600)
        assert statuses(received) == [431]


INNER = b"POST /inner HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na"
OFFER = (
    b"POST /outer HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
    b"http2-settings: AAEAAEAAAAIAAAAA\r\ncontent-length: %d\r\n\r\n" % len(INNER)
)


@pytest.mark.parametrize("cut", [0, 30, len(OFFER), len(OFFER) + 10, len(OFFER + INNER)])
async def test_an_offer_to_upgrade_is_ignored_and_its_body_is_no_request(cut: int) -> None:
    echo = Echo()
    data = OFFER + INNER + OFFER.replace(b"HTTP2-Settings", b"close") + INNER
    async with listening(echo) as (_, port, _):
        received = await exchange(port, data[:cut], data[cut:])
    assert statuses(received) == [200, 200]
    assert echo.requests == [("/outer", INNER)] * 2
    assert b"|host,content-length" in received


async def test_an_upgraded_connection_stays_usable() -> None:
    echo = Echo()
    async with listening(echo) as (_, port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(3):
                writer.write(OFFER + INNER)
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(b"/outer|" + INNER + b"|host,content-length"))
        writer.close()


async def test_reading_pauses_while_requests_wait() -> None:
    echo = Echo()
    echo.go.clear()
    count = 5000
    last = ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with listening(echo, TransportSettings(max_pipelined_requests=4)) as (
        server,
        port,
        connections,
    ):
        asking = asyncio.create_task(exchange(port, ASK * count + last))
        async with asyncio.timeout(DEADLINE_S):
            while not any(map(has_held_data, server.server_state.connections)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert connections.ledger.requests > 0
        (connection,) = server.server_state.connections
        assert len(connection.pipeline) == 4  # type: ignore[union-attr]
        assert len(echo.requests) == 1
        echo.go.set()
        received = await asking
        assert statuses(received) == [200] * (count + 1)
        assert connections.ledger.waiting == 0


async def test_a_malformed_request_waits_for_the_answers_before_it() -> None:
    echo = Echo()
    echo.go.clear()
    async with listening(echo) as (_, port, _):
        asking = asyncio.create_task(exchange(port, ASK * 3 + b"nonsense\r\n\r\n" + ASK))
        async with asyncio.timeout(DEADLINE_S):
            while not echo.requests:  # noqa: ASYNC110 - nothing rings
                await asyncio.sleep(0.001)
        echo.go.set()
        assert statuses(await asking) == [200, 200, 200, 400]
    assert len(echo.requests) == 3


async def test_a_malformed_body_ends_its_own_request() -> None:
    echo = Echo()
    wrong = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    async with listening(echo) as (_, port, _):
        assert statuses(await exchange(port, wrong)) == [400]
        assert statuses(await exchange(port, ASK + wrong)) == [200, 400]
    assert [path for path, _ in echo.requests] == ["/"]


@pytest.mark.parametrize(
    ("sent", "limit"),
    [
        (b"", "first_byte_timeout_s"),
        (b"\r\n", "first_byte_timeout_s"),
        (b"GET / HT", "header_timeout_s"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", "header_timeout_s"),
        (b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nabc", "body_timeout_s"),
        (b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nabc", "transfer_window_s"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc", "body_timeout_s"),
        (ASK, "keep_alive_timeout_s"),
    ],
)
async def test_a_client_that_stands_still_is_dropped(sent: bytes, limit: str) -> None:
    long = dict.fromkeys(
        (
            "first_byte_timeout_s",
            "header_timeout_s",
            "body_timeout_s",
            "transfer_window_s",
            "keep_alive_timeout_s",
        ),
        10 * DEADLINE_S,
    )
    settings = msgspec.structs.replace(TransportSettings(), **(long | {limit: 0.05}))
    async with listening(Echo(), settings) as (server, port, _):
        await exchange(port, sent)
        await until_left(server)


async def test_a_new_connection_replaces_the_one_that_waited_longest() -> None:
    echo = Echo()
    async with (
        listening(echo, TransportSettings(max_connections=3)) as (_, port, connections),
        AsyncExitStack() as stack,
    ):
        silent = []
        for count in range(1, 4):
            silent.append(await asyncio.open_connection("127.0.0.1", port))
            stack.callback(silent[-1][1].close)
            async with asyncio.timeout(DEADLINE_S):
                while len(connections) < count:  # noqa: ASYNC110 - nothing rings
                    await asyncio.sleep(0.001)
        silent[0][1].write(ASK)  # the first is used now, so the second has waited longest
        await silent[0][0].readuntil(b"\r\n\r\n")
        last = ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        assert statuses(await exchange(port, last)) == [200]
        with suppress(ConnectionError):
            assert await silent[1][0].read() == b""
        silent[0][1].write(ASK)
        assert b"200" in await silent[0][0].readuntil(b"\r\n\r\n")


async def test_health_is_answered_while_all_connections_are_busy() -> None:
    echo = Echo()
    echo.go.clear()
    last = ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with listening(echo, TransportSettings(max_connections=2)) as (_, port, _):
        busy = [asyncio.create_task(exchange(port, last)) for _ in range(2)]
        async with asyncio.timeout(DEADLINE_S):
            while len(echo.requests) < 2:  # noqa: ASYNC110 - nothing rings
                await asyncio.sleep(0.001)
        refused = await exchange(port, ASK)
        assert statuses(refused) == [503]
        assert b"--max-connections" in refused
        probe = asyncio.create_task(exchange(port, last.replace(b" / ", b" /v2/health/live ")))
        async with asyncio.timeout(DEADLINE_S):
            while len(echo.requests) < 3:  # noqa: ASYNC110 - nothing rings
                await asyncio.sleep(0.001)
        echo.go.set()
        assert statuses(await probe) == [200]
        assert [statuses(await task) for task in busy] == [[200], [200]]


async def test_unread_answers_are_bounded_and_the_oldest_goes_first() -> None:
    async with listening(
        settings=TransportSettings(transfer_window_s=1000), waiting_bytes=160 << 20
    ) as (server, port, _):
        with ExitStack() as clients:
            for _ in range(8):
                clients.enter_context(opened(port))
            async with asyncio.timeout(DEADLINE_S):
                while server.server_state.total_requests < 8:  # noqa: ASYNC110 - nothing rings
                    await asyncio.sleep(0.001)
            # A connection that was closed just now stays in the list until the loop's next turn.
            connections = server.server_state.connections
            left = [each for each in connections if not each.transport.is_closing()]
            unread = sum(each.transport.get_write_buffer_size() for each in left)
            assert unread <= 40 << 20
            assert 1 <= len(left) <= 3


async def test_a_draining_listener_closes_with_each_answer() -> None:
    echo = Echo()
    async with listening(echo) as (_, port, connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        async with asyncio.timeout(DEADLINE_S):
            assert b"connection: close" not in await reader.readuntil(b"\r\n\r\n")
            connections.drain()
            writer.write(ASK)
            assert b"connection: close" in await reader.read()
        writer.close()


async def test_an_old_connection_closes_with_its_next_answer_and_no_request_is_lost() -> None:
    echo = Echo()
    answers = renewals = 0
    async with listening(echo, TransportSettings(max_connection_age_s=TICK_S)) as (_, port, _):
        async with asyncio.timeout(DEADLINE_S):
            while renewals < 20:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = b""
                while b"connection: close" not in head:
                    writer.write(ASK)
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200")
                    await reader.readexactly(int(re.findall(rb"content-length: (\d+)", head)[0]))
                    answers += 1
                assert await reader.read() == b""
                writer.close()
                renewals += 1
    assert answers >= renewals


async def test_connections_that_wait_to_be_accepted_are_answered_before_the_listener_closes() -> (
    None
):
    echo = Echo()
    last = ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    for _ in range(5):
        async with listening(echo, tick_s=0.5) as (server, port, _):
            clients = []
            server.should_exit = True
            for _ in range(50):
                client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
                client.sendall(last)
                clients.append(client)
            loop = asyncio.get_running_loop()
            for client in clients:
                answer_ = await loop.run_in_executor(None, client.recv, 1000)
                assert b"200 OK" in answer_
                client.close()
