"""Clients that ask and do not read: what they asked for is dropped, in the end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import pytest
import uvicorn

from predictor.server import http_connection
from predictor.server.http import Receive, Scope, Send
from predictor.server.http_connection import LEAST_BYTES, is_stalled
from predictor.server.listeners import Uvicorn, uvicorn_config

# More than the kernel keeps for a connection.
BODY = bytes(16 << 20)
ASK = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "now", "stalled"),
    [
        (0, 0, False),
        (100, 0, False),
        (100, 99, True),
        (1 << 20, 1 << 20, True),
        (1 << 20, (1 << 20) - LEAST_BYTES, False),
        (1 << 20, (1 << 20) - LEAST_BYTES + 1, True),
        (1 << 20, 2 << 20, True),  # another answer came behind the first
    ],
)
def test_an_answer_must_move(before: int, now: int, stalled: bool) -> None:
    assert is_stalled(before, now) == stalled


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    length = b"%d" % len(BODY)
    headers = [(b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


@pytest.fixture
async def serving(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """A server and its port; it looks after 50 ms."""
    monkeypatch.setattr(http_connection, "STALL_S", 0.05)
    server = Uvicorn(uvicorn_config(answer, 5))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield server, port
        server.should_exit = True
        async with asyncio.timeout(5.0):
            await task


def opened(port: int, *, asks: bytes = ASK, holds: int = 4096) -> socket.socket:
    """A client that has asked; its kernel holds about so many bytes for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, holds)
    client.connect(("127.0.0.1", port))
    client.sendall(asks)
    client.setblocking(False)
    return client


async def until_left(server: uvicorn.Server) -> None:
    """No connection and, a turn of the loop or two later, no task of one."""
    state = server.server_state
    async with asyncio.timeout(5.0):
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
        async with asyncio.timeout(5.0):
            while len(server.server_state.connections) < 5:  # noqa: ASYNC110 - nor here
                await asyncio.sleep(0.001)
        await until_left(server)


async def test_who_reads_a_little_is_dropped(serving: tuple[uvicorn.Server, int]) -> None:
    server, port = serving
    client = opened(port)
    loop, read = asyncio.get_running_loop(), 0
    async with asyncio.timeout(5.0):
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
    async with asyncio.timeout(20.0):
        while read < len(BODY):
            part = await loop.sock_recv(client, 1 << 18)
            assert part
            read += len(part)
            await asyncio.sleep(0.002)
    assert server.server_state.connections  # and is let go on
    client.close()
