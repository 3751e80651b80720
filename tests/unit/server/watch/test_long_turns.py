"""Turns of the loop that take long are counted with the route that took them."""

import asyncio

import pytest

from predictor.metrics import LONG_TURNS
from predictor.server.watch import long_turns
from predictor.server.watch.long_turns import LONG_S, NO_ROUTE, TURNS, timed
from predictor.server.watch.loop_lag import LoopLag


def turns(route: str) -> float:
    return float(LONG_TURNS.labels(route)._value.get())


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(long_turns, "perf_counter", made)
    return made


async def test_a_long_step_is_counted_and_logged_with_its_route(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps() -> str:
        clock.now += LONG_S
        await asyncio.sleep(0)
        clock.now += 2 * LONG_S
        await asyncio.sleep(0)
        return "answer"

    before = turns("/long")
    assert await timed(steps(), "/long") == "answer"
    assert turns("/long") == before + 1
    (record,) = caplog.records
    assert record.getMessage() == "a turn of the event loop took 500 ms"
    assert record.__dict__["route"] == "/long"


async def test_waiting_is_no_turn(clock: Clock) -> None:
    async def steps() -> None:
        await asyncio.sleep(0)

    coroutine = timed(steps(), "/waits")
    before = turns("/waits")
    coroutine.send(None)
    clock.now += 100.0
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert turns("/waits") == before


async def test_errors_and_cancellation_pass_through(clock: Clock) -> None:
    outcomes: list[str] = []

    async def steps() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            await asyncio.sleep(0)
            return "left in order"
        return "not reached"

    task = asyncio.create_task(_run(steps()))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "left in order"
    assert outcomes == ["cancelled"]

    async def fails() -> None:
        clock.now += 2 * LONG_S
        raise KeyError("x")

    before = turns("/fails")
    with pytest.raises(KeyError):
        await timed(fails(), "/fails")
    assert turns("/fails") == before + 1


async def _run(steps: object) -> object:
    return await timed(steps, "/cancelled")  # type: ignore[arg-type]


async def test_a_turn_without_a_request_is_counted_once_and_without_a_route() -> None:
    lag = LoopLag()
    before = turns(NO_ROUTE)
    lag._due -= 2 * LONG_S
    lag._handle.cancel()
    lag._measure()
    assert turns(NO_ROUTE) == before + 1
    lag._due -= 2 * LONG_S
    lag._handle.cancel()
    TURNS.record("/known", 2 * LONG_S)
    lag._measure()
    assert turns(NO_ROUTE) == before + 1
    lag.stop()
