"""Messages that take their time are charged, and the oldest are ended when they are too many."""

import asyncio

import pytest

from predictor.errors import DeadlineExceeded, TooManyBytes
from predictor.server.grpc_server.calls import Messages
from predictor.server.ledger import Ledger
from tests.deadlines import DEADLINE_S

SIZE = 100
TICK_S = 0.02


class Sending:
    """The context of a call whose message comes when it is set."""

    def __init__(self) -> None:
        self.message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def read(self) -> bytes:
        return await self.message


async def test_a_message_that_is_there_at_once_is_not_charged() -> None:
    ledger = Ledger(10 * SIZE)
    messages = Messages(10, ledger, SIZE, tick_s=1000)
    call = Sending()
    call.message.set_result(b"all")
    assert await messages.read(call) == b"all"
    assert ledger.waiting == 0


async def test_slow_messages_are_charged_until_they_are_read() -> None:
    ledger = Ledger(10 * SIZE)
    messages = Messages(DEADLINE_S, ledger, SIZE, TICK_S)
    call = Sending()
    reading = asyncio.create_task(messages.read(call))
    async with asyncio.timeout(DEADLINE_S):
        while not ledger.messages:  # noqa: ASYNC110 - nothing rings
            await asyncio.sleep(0.001)
    assert ledger.messages == SIZE
    call.message.set_result(b"all")
    assert await reading == b"all"
    assert ledger.waiting == 0


async def test_the_oldest_of_too_many_slow_messages_are_refused() -> None:
    ledger = Ledger(6 * SIZE)  # three of them
    messages = Messages(DEADLINE_S, ledger, SIZE, TICK_S)
    calls = [Sending() for _ in range(5)]
    readings = [asyncio.create_task(messages.read(call)) for call in calls]
    async with asyncio.timeout(DEADLINE_S):
        for reading in readings[:2]:
            with pytest.raises(TooManyBytes, match="--waiting-memory-share"):
                await reading
    assert not any(reading.done() for reading in readings[2:])
    for call in calls[2:]:
        call.message.set_result(b"all")
    assert await asyncio.gather(*readings[2:]) == [b"all"] * 3
    assert ledger.waiting == 0


async def test_a_message_that_does_not_end_is_ended_by_its_clock() -> None:
    ledger = Ledger(6 * SIZE)
    messages = Messages(4 * TICK_S, ledger, SIZE, TICK_S)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(DeadlineExceeded, match="--body-timeout-s"):
            await messages.read(Sending())
    assert ledger.waiting == 0


async def test_a_client_that_leaves_gives_its_bytes_back() -> None:
    ledger = Ledger(6 * SIZE)
    messages = Messages(DEADLINE_S, ledger, SIZE, TICK_S)
    reading = asyncio.create_task(messages.read(Sending()))
    async with asyncio.timeout(DEADLINE_S):
        while not ledger.messages:  # noqa: ASYNC110 - nothing rings
            await asyncio.sleep(0.001)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert ledger.waiting == 0
