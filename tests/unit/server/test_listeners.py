"""Listeners that end by themselves come back on the same port, until it happens too often."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from predictor.metrics import LISTENER_RESTARTS
from predictor.server.health import ListenerHealth
from predictor.server.http.connection import http_limits
from predictor.server.http.request import Receive, Scope, Send
from predictor.server.ledger import Ledger
from predictor.server.listeners import HttpListener, Listeners, pause_s
from predictor.server.watch.ports import PortWatch
from predictor.settings import TransportSettings
from tests.deadlines import DEADLINE_S

LIMITS = http_limits(TransportSettings(), descriptors=1000)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


class Served:
    """One HTTP listener that is watched."""

    def __init__(self, restarts_per_minute: int) -> None:
        self.health = ListenerHealth()
        self.fatal: list[str] = []
        self.listeners = Listeners(None, self.health, restarts_per_minute, self.fatal.append)
        self.listeners.add("REST", answer, ("127.0.0.1", 0), 1, LIMITS, Ledger(1 << 30))
        self.listener: HttpListener = self.listeners._http["REST"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.address[1]}"

    async def break_it(self) -> None:
        """End the listener's task as an error in uvicorn would."""
        task = self.listener._task
        assert task is not None
        assert self.listener._server is not None
        async with asyncio.timeout(DEADLINE_S):
            while not self.listener._server.started:  # noqa: ASYNC110 - uvicorn rings no bell
                await asyncio.sleep(0.001)

        async def broken(counter: int) -> bool:
            raise RuntimeError("a fault")

        self.listener._server.on_tick = broken  # type: ignore[method-assign]
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({task})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served_ = Served(restarts_per_minute=2)
    await served_.listeners.open()
    yield served_
    await served_.listeners.close(1.0)


async def test_a_listener_that_ends_answers_again_on_its_port(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    before = LISTENER_RESTARTS.labels("REST")._value.get()
    await served.break_it()
    await asyncio.sleep(0)
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        assert (await client.get(served.url)).text == "ok"
    assert LISTENER_RESTARTS.labels("REST")._value.get() == before + 1
    assert served.health.is_good
    assert "the REST listener ended and is started again" in caplog.text
    assert not served.fatal


async def test_a_listener_that_ends_too_often_is_fatal_and_unready(served: Served) -> None:
    for _ in range(3):
        await served.break_it()
        await asyncio.sleep(0.3)
    async with asyncio.timeout(DEADLINE_S):
        while not served.fatal:  # noqa: ASYNC110 - nothing rings
            await asyncio.sleep(0.01)
    assert served.fatal == ["the REST listener has ended 3 times in a minute"]
    assert served.health.problems() == [("REST", "the listener has ended")]


async def test_a_client_that_ends_a_listener_cannot_reach_the_limit_of_the_default() -> None:
    seconds = 0.0
    ends = 0
    while seconds < 60.0:
        ends += 1
        seconds += pause_s(ends)
    assert ends < TransportSettings().max_listener_restarts_per_minute


async def test_a_refused_connection_is_unready_and_a_slow_answer_is_not() -> None:
    health = ListenerHealth()
    silent = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    watch = PortWatch(health, {"gRPC": ("127.0.0.1", port)}, interval_s=0.01)
    watch.start(lambda why: None)
    try:
        await asyncio.sleep(0.1)
        assert health.is_good
        silent.close()
        async with asyncio.timeout(DEADLINE_S):
            while not health.problems():  # noqa: ASYNC110 - nothing rings
                await asyncio.sleep(0.001)
        assert health.problems() == [("gRPC", "the port refuses connections")]
        again = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
        async with asyncio.timeout(DEADLINE_S):
            while health.problems():  # noqa: ASYNC110 - nothing rings
                await asyncio.sleep(0.001)
        again.close()
    finally:
        await watch.stop()
