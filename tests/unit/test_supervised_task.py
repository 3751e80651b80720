"""A background task whose end is reported, unless it was stopped."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

import pytest

from predictor import supervised_task
from predictor.metrics import TASK_RESTARTS
from predictor.supervised_task import RestartBudget, SupervisedTask


async def fail() -> None:
    raise RuntimeError("a fault")


async def return_early() -> None:
    return


async def run_for_ever() -> None:
    await asyncio.Event().wait()


async def ignore_cancellation(released: asyncio.Event) -> None:
    while not released.is_set():
        try:
            await released.wait()
        except asyncio.CancelledError:
            continue


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("run", [fail, return_early])
async def test_the_end_of_the_task_is_reported_once(
    run: Callable[[], Coroutine[None, None, None]], caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[str] = []
    task = SupervisedTask("the poll", restarts_per_minute=0)
    task.start(run, reports.append)
    await turns()
    assert reports == ["the poll ended unexpectedly"]
    assert not task.is_running
    assert ("a fault" in caplog.text) == (run is fail)
    await task.stop()
    assert len(reports) == 1


async def test_a_stopped_task_is_not_reported() -> None:
    reports: list[str] = []
    task = SupervisedTask("the poll")
    task.start(run_for_ever, reports.append)
    await turns()
    await task.stop()
    assert reports == []
    assert not task.is_running


async def test_a_task_that_fails_while_it_is_stopped_is_logged_and_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail_at_the_end() -> None:
        try:
            await run_for_ever()
        finally:
            raise RuntimeError("a fault")

    reports: list[str] = []
    task = SupervisedTask("the poll")
    task.start(fail_at_the_end, reports.append)
    await turns()
    await task.stop()
    await turns()
    assert reports == []
    assert "the poll failed while it was stopped" in caplog.text


async def test_the_owner_may_start_the_task_again_from_the_report() -> None:
    task, starts = SupervisedTask("the poll", restarts_per_minute=0), 0

    def restart(sentence: str) -> None:
        del sentence
        nonlocal starts
        starts += 1
        task.start(fail if starts < 3 else run_for_ever, restart)

    task.start(fail, restart)
    await turns()
    await turns()
    assert starts == 3
    assert task.is_running
    await task.stop()


async def test_the_wait_for_the_end_has_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    released = asyncio.Event()
    task = SupervisedTask("the poll")
    task.start(lambda: ignore_cancellation(released), list[str]().append)
    await turns()
    await task.stop(timeout_s=0.01)
    assert "the poll did not stop within 0 s" in caplog.text
    released.set()
    await turns()


async def test_a_task_that_ends_is_counted_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervised_task, "PAUSE_S", 0.0)
    starts = 0

    async def fail_twice() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise RuntimeError("a fault")
        await run_for_ever()

    reports: list[str] = []
    task = SupervisedTask("the flaky poll")
    task.start(fail_twice, reports.append)
    for _ in range(5):
        await turns()
    assert starts == 3
    assert reports == []
    assert task.is_running
    assert TASK_RESTARTS.labels("the flaky poll")._value.get() == 2
    assert "the flaky poll ended unexpectedly and is restarted" in caplog.text
    await task.stop()


async def test_a_task_that_ends_too_often_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_task, "PAUSE_S", 0.0)
    reports: list[str] = []
    task = SupervisedTask("the poll", restarts_per_minute=2)
    task.start(fail, reports.append)
    for _ in range(5):
        await turns()
    assert reports == ["the poll ended unexpectedly"]
    assert not task.is_running


def test_the_budget_is_for_a_minute() -> None:
    budget = RestartBudget(2)
    assert budget.take(0.0)
    assert budget.take(10.0)
    assert not budget.take(59.0)
    assert budget.recent == 3
    assert not budget.take(61.0)
    assert budget.take(200.0)
    assert budget.recent == 1
