"""Memory that runs out, the end, and tasks that must never end by themselves."""

import asyncio
import itertools
import os
from typing import Any

import pytest

from predictor import supervised_task
from predictor.repository import Repository, unloader
from predictor.repository.states import VersionState
from tests.deadlines import DEADLINE_S
from tests.unit.repository.conftest import MakeHarness
from tests.unit.repository.doubles import (
    Memory,
    loads,
)

READY, UNAVAILABLE = VersionState.READY, VersionState.UNAVAILABLE


async def test_no_memory_leaves_the_old_version(new: MakeHarness, memory: Memory) -> None:
    memory.limit = 160
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    memory.resident = lambda: 100 + 50 * len(harness.alive())
    harness.publish("m", 2)
    await harness.rescan(3)
    assert harness.default() == 1
    assert "the limit is 160 MiB (--memory-limit-mb)" in harness.row("m", 2)[1]
    await harness.repository.unload("m", 1)
    await harness.repository.load("m", 2)
    assert harness.default() == 2


async def test_a_version_that_did_not_fit_is_tried_again_when_memory_is_free(
    new: MakeHarness, memory: Memory
) -> None:
    memory.limit = 160
    harness = new()
    harness.publish("a", 1)
    await harness.start()
    memory.resident = lambda: 100 + 50 * len(harness.alive())
    harness.publish("b", 1)
    await harness.rescan(4)
    assert loads("b", "memory") == 1
    assert harness.default("b") is None
    await harness.repository.unload("a", None)
    await harness.rescan()
    assert harness.default("b") == 1


async def test_poll_now_tries_failed_versions_again(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    folder = harness.publish("m", 2, "vectors")
    await harness.rescan(3)
    assert harness.opener.opened.count(("m", 2)) == 1
    mended, stat = folder / "outcome", (folder / "outcome").stat()
    mended.write_bytes(b"good 8".ljust(stat.st_size))  # the same size, and below the same time
    os.utime(mended, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    harness.repository.poll_now()
    await harness.rescan(1)
    assert harness.default() == 2


async def test_stop_stops_every_version_once(new: MakeHarness) -> None:
    harness = new(version_policy="b=all", warm_versions=3)
    for model, number in itertools.product("ab", (1, 2)):
        harness.publish(model, number)
    await harness.start()
    await harness.repository.load("a", 1)
    await harness.repository.stop()
    assert [served.stopped for served in harness.made] == [1] * len(harness.made)
    assert harness.routing_table.all() == []
    assert harness.fatal == []


async def test_stop_does_not_wait_for_ever(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unloader, "STOP_S", 0.0)
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.served(1).idle.clear()
    async with asyncio.timeout(DEADLINE_S):
        await harness.repository.stop()
    assert harness.routing_table.all() == []


async def test_polling_goes_on_after_any_error(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    harness = new(poll_interval_s=0.001)
    harness.publish("m", 1)
    await harness.start()
    looks, enough = itertools.count(), asyncio.Event()

    async def broken() -> bool:
        if next(looks) >= 3:
            enough.set()
        raise RuntimeError("never seen")

    monkeypatch.setattr(harness.repository, "refresh", broken)
    async with asyncio.timeout(DEADLINE_S):
        await enough.wait()
    assert "a poll of the repository failed; polling continues" in caplog.text
    assert harness.fatal == []


async def test_poll_now_works_without_polling(new: MakeHarness) -> None:
    """And two scans are made for one call, as a change has to be seen twice."""
    harness = new(poll_interval_s=0.0)
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    for _ in range(5):
        harness.repository.poll_now()
    async with asyncio.timeout(DEADLINE_S):
        while harness.default() != 2:  # noqa: ASYNC110  a poll tells no test that it is over
            await asyncio.sleep(0.001)


async def test_a_poll_that_ends_again_and_again_is_fatal(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(self: Repository[Any]) -> None:
        raise RuntimeError("a fault of the loop itself")

    monkeypatch.setattr(Repository, "_poll", end)
    monkeypatch.setattr(supervised_task, "PAUSE_S", 0.0)
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    async with asyncio.timeout(DEADLINE_S):
        while not harness.fatal:  # noqa: ASYNC110  # a list has no event
            await asyncio.sleep(0)
    assert harness.fatal == ["the poll of the repository ended unexpectedly"]
    await harness.repository.stop()
    assert len(harness.fatal) == 1
