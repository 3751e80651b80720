"""A version is tried before it is loaded, unless it is the only one that the process knows."""

import asyncio

import pytest

from predictor.errors import BadModel, NoResources
from predictor.repository import loader, states, trial
from predictor.repository import repository as repository_module
from predictor.repository.states import VersionState
from tests.deadlines import DEADLINE_S
from tests.integration.faults.troubled import wait_until
from tests.unit.repository.conftest import MakeHarness
from tests.unit.repository.doubles import Memory, Opener

UNAVAILABLE = VersionState.UNAVAILABLE


async def test_the_only_version_is_opened_directly(new: MakeHarness, opener: Opener) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    assert harness.alive() == [("m", 1)]
    assert opener.trial.tried == []


async def test_a_version_with_one_to_fall_back_to_is_tried(
    new: MakeHarness, opener: Opener
) -> None:
    harness = new()
    harness.publish("m", 1)
    harness.publish("m", 2)
    await harness.start()
    assert opener.trial.tried == [("m", 2)]
    assert harness.alive() == [("m", 2)]


async def test_versions_that_are_to_be_served_together_are_tried(
    new: MakeHarness, opener: Opener
) -> None:
    harness = new()
    harness.publish("a", 1)
    harness.publish("b", 1)
    await harness.start()
    assert opener.trial.tried == [("a", 1), ("b", 1)]
    assert harness.alive() == [("a", 1), ("b", 1)]


async def test_a_version_beside_one_that_is_served_is_tried_once(
    new: MakeHarness, opener: Opener
) -> None:
    harness = new(warm_versions=0)
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    await harness.rescan()
    assert opener.trial.tried == [("m", 2)]
    await harness.repository.load("m", 1)
    await harness.repository.load("m", 2)
    assert opener.trial.tried == [("m", 2), ("m", 1)]
    assert harness.alive() == [("m", 2)]


async def test_a_version_that_fails_its_trial_is_never_opened(
    new: MakeHarness, opener: Opener
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    opener.trial.fails = BadModel("the process that tried it ended by SIGSEGV")
    harness.publish("m", 2)
    await harness.rescan()
    assert harness.row("m", 2) == (UNAVAILABLE, "the process that tried it ended by SIGSEGV")
    assert opener.opened == [("m", 1)]
    assert (harness.alive(), harness.fatal) == ([("m", 1)], [])


async def test_at_the_start_too(new: MakeHarness, opener: Opener) -> None:
    harness = new()
    harness.publish("a", 1)
    harness.publish("b", 1)
    opener.trial.fails = BadModel("no")
    harness.repository.preload()
    assert opener.opened == []


async def test_there_must_be_room_for_the_process_that_tries(
    new: MakeHarness, opener: Opener, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "PROCESS_BYTES", trial.PROCESS_BYTES)
    memory.limit = 100 + 50 + trial.PROCESS_BYTES // memory.MIB - 1
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    await harness.rescan()
    assert harness.row("m", 2)[1].startswith("needs about 114 MiB beside the 100 MiB in use")
    assert opener.trial.tried == []


@pytest.mark.parametrize("is_proven", [True, False])
async def test_a_version_that_passed_before_is_opened_directly(
    new: MakeHarness, opener: Opener, is_proven: bool
) -> None:
    harness = new()
    folders = [harness.publish("a", 1), harness.publish("b", 1)]
    if is_proven:
        opener.trial.proven.update(folders)
    await harness.start()
    assert bool(opener.trial.tried) is not is_proven
    assert harness.alive() == [("a", 1), ("b", 1)]


async def test_a_fault_of_the_surroundings_is_tried_again_without_a_change(
    new: MakeHarness, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(repository_module, "RESCAN_S", 0.01)
    harness = new(poll_interval_s=0.0)
    harness.publish("m", 1)
    harness.publish("m", 2)
    opener.trial.fails = NoResources("cannot be written (No space left on device)")
    opener.trial.proven.add(harness.root / "m" / "1")
    await harness.start()
    assert harness.default() == 1
    tried = len(opener.trial.tried)
    opener.trial.fails = None
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.to_thread(wait_until, lambda: harness.default() == 2)
    assert opener.trial.tried[tried:] == [("m", 2)]


async def test_a_fault_of_the_files_waits_for_other_files(
    new: MakeHarness, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "FIRST_RETRY_S", 0.0)
    harness = new()
    harness.publish("m", 1)
    harness.publish("m", 2)
    opener.trial.fails = BadModel("the process that tried it ended by SIGSEGV")
    opener.trial.proven.add(harness.root / "m" / "1")
    await harness.start()
    for _ in range(5):
        await harness.rescan()
    assert opener.trial.tried == [("m", 2)]
