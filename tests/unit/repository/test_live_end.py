"""Memory that runs out, the end, and tasks that must never end by themselves."""

import asyncio
import itertools
import os
from typing import Any

import pytest

from predictor.repository import keeper, live
from predictor.repository.states import State
from tests.unit.repository.conftest import MakeHarness
from tests.unit.repository.doubles import (
    Memory,
    loads,
)

READY, UNAVAILABLE = State.READY, State.UNAVAILABLE


async def test_no_memory_leaves_the_old_version(new: MakeHarness, memory: Memory) -> None:
    memory.limit = 160
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    memory.resident = lambda: 100 + 50 * len(harness.alive())
    harness.publish("m", 2)
    await harness.look(3)
    assert harness.default() == 1
    assert "the limit is 160 MiB (--memory-limit-mb)" in harness.row("m", 2)[1]
    await harness.repository.unload("m", 1)
    await harness.repository.load("m", 2)
    assert harness.default() == 2


async def test_what_did_not_fit_is_tried_again_when_memory_was_given_back(
    new: MakeHarness, memory: Memory
) -> None:
    memory.limit = 160
    harness = new()
    harness.publish("a", 1)
    await harness.start()
    memory.resident = lambda: 100 + 50 * len(harness.alive())
    harness.publish("b", 1)
    await harness.look(4)
    assert loads("b", "memory") == 1
    assert harness.default("b") is None
    await harness.repository.unload("a", None)
    await harness.look()
    assert harness.default("b") == 1


async def test_who_asks_to_look_has_what_failed_tried_again(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    folder = harness.publish("m", 2, "vectors")
    await harness.look(3)
    assert harness.opener.opened.count(("m", 2)) == 1
    mended, stat = folder / "outcome", (folder / "outcome").stat()
    mended.write_bytes(b"good 8".ljust(stat.st_size))  # the same size, and below the same time
    os.utime(mended, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    harness.repository.look_soon()
    await harness.look(1)
    assert harness.default() == 2


async def test_the_end_stops_everything_once(new: MakeHarness) -> None:
    harness = new(version_policy="b=all", warm_versions=3)
    for model, number in itertools.product("ab", (1, 2)):
        harness.publish(model, number)
    await harness.start()
    await harness.repository.load("a", 1)
    await harness.repository.stop()
    assert [served.stopped for served in harness.made] == [1] * len(harness.made)
    assert harness.answers.all() == []
    assert harness.fatal == []


async def test_the_end_does_not_wait_for_ever(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "STOP_S", 0.0)
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.served(1).idle.clear()
    async with asyncio.timeout(5.0):
        await harness.repository.stop()
    assert harness.answers.all() == []


async def test_looking_goes_on_whatever_happens(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    harness = new(poll_interval=0.001)
    harness.publish("m", 1)
    await harness.start()
    looks, enough = itertools.count(), asyncio.Event()

    async def broken() -> bool:
        if next(looks) >= 3:
            enough.set()
        raise RuntimeError("never seen")

    monkeypatch.setattr(harness.repository, "refresh", broken)
    async with asyncio.timeout(10.0):
        await enough.wait()
    assert "looking for changes failed; it goes on" in caplog.text
    assert harness.fatal == []


async def test_who_asks_to_look_is_heard_without_polling(new: MakeHarness) -> None:
    """And two looks are made for one wish, as a change has to be seen twice."""
    harness = new(poll_interval=0.0)
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    took_over = asyncio.Event()

    def told(name: str, served: object) -> None:
        del name, served
        took_over.set()

    harness.repository._settler._on_default = told
    for _ in range(5):
        harness.repository.look_soon()
    async with asyncio.timeout(10.0):
        await took_over.wait()
    assert harness.default() == 2


async def test_the_end_of_looking_is_fatal(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    poller = harness.repository._poller
    assert poller is not None
    live._ended(_failed_task(poller), harness.fatal.append)
    assert harness.fatal == ["nobody looks for changes any more"]
    await harness.repository.stop()
    assert len(harness.fatal) == 1


def _failed_task(task: Any) -> Any:
    class Failed:
        def cancelled(self) -> bool:
            return False

        def exception(self) -> Exception:
            return RuntimeError("gone")

    del task
    return Failed()
