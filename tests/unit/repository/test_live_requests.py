"""Versions requested by load and unload, beside the policy."""

import asyncio
import shutil
from pathlib import Path

import pytest

from predictor.errors import BadModel, ModelNotFound, NotReady, PredictorError
from predictor.repository import changes, unloader
from predictor.repository.merge import REMOVED
from predictor.repository.reconciler import UNLOADED_BY_REQUEST
from predictor.repository.states import VersionState
from tests.unit.repository.conftest import MakeHarness
from tests.unit.repository.doubles import (
    FAILURES,
    Opener,
    failed,
)

READY, UNAVAILABLE = VersionState.READY, VersionState.UNAVAILABLE
NOT_LATEST = "not selected by --version-policy latest:1"


async def test_going_back_to_a_warm_version_loads_nothing(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    await harness.rescan()
    assert harness.row("m", 1) == (UNAVAILABLE, unloader.KEPT_LOADED)
    await harness.repository.load("m", 1)
    assert harness.default() == 1
    assert harness.opener.opened == [("m", 1), ("m", 2)]
    assert harness.row("m", 2) == (UNAVAILABLE, unloader.KEPT_LOADED)


async def test_newer_versions_do_not_count_until_a_load_without_a_version(
    new: MakeHarness,
) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)
    harness.publish("m", 3)
    await harness.rescan(3)
    assert harness.default() == 1
    assert harness.row("m", 3) == (UNAVAILABLE, "version 1 was requested as the default")
    await harness.repository.load("m", None)
    assert harness.default() == 3


async def test_a_version_gone_back_to_stays_when_its_files_are_removed(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)
    harness.delete("m", 1)
    await harness.rescan(3)
    assert (harness.default(), harness.row("m", 1)) == (1, (READY, REMOVED))
    await harness.repository.load("m", None)
    assert harness.default() == 2


@pytest.mark.parametrize("outcome", FAILURES)
async def test_loading_a_bad_version_says_why_and_changes_nothing(
    new: MakeHarness, outcome: str
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2, outcome)
    for _ in range(2):  # who asks again is told again, of a new attempt
        with pytest.raises(PredictorError) as raised:
            await harness.repository.load("m", 2)
        assert str(raised.value) == harness.row("m", 2)[1]
    assert harness.opener.opened.count(("m", 2)) == 2
    assert harness.default() == 1
    with pytest.raises(PredictorError):
        await harness.repository.load("m", None)
    assert harness.default() == 1
    harness.publish("m", 3)
    await harness.rescan()
    assert harness.default() == 3, "the failed request for 2 is withdrawn"


async def test_a_failed_request_leaves_the_earlier_one_in_force(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    harness.publish("m", 3, "vectors")
    await harness.start()
    await harness.repository.load("m", 1)
    with pytest.raises(BadModel):
        await harness.repository.load("m", 3)
    await harness.rescan(3)
    assert harness.default() == 1


async def test_a_load_succeeds_even_if_another_version_fails(
    new: MakeHarness,
) -> None:
    harness = new(version_policy="latest:2")
    harness.publish("m", 1, "vectors")
    for number in (2, 3):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 2)
    assert harness.default() == 2
    assert harness.row("m", 1)[0] is UNAVAILABLE
    assert failed("m", 1) == 1.0


async def test_a_link_that_leads_out_cannot_be_loaded(new: MakeHarness, tmp_path: Path) -> None:
    harness = new()
    folder = harness.publish("m", 1)
    await harness.start()
    shutil.copytree(folder, tmp_path / "outside")
    (harness.root / "m" / "2").symlink_to(tmp_path / "outside")
    with pytest.raises(BadModel, match="a link that leads out of the repository"):
        await harness.repository.load("m", 2)
    assert harness.default() == 1
    assert ("m", 2) not in harness.opener.opened


@pytest.mark.parametrize(
    ("name", "number"),
    [("n", None), ("n", 1), ("m", 9), ("", None), ("../m", None), ("m/1", None), ("x" * 9999, 1)],
)
async def test_an_unknown_model_or_version_is_not_found(
    new: MakeHarness, name: str, number: int | None
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    for change in (harness.repository.load, harness.repository.unload):
        with pytest.raises(ModelNotFound, match="is not in the repository") as raised:
            await change(name, number)
        assert len(str(raised.value)) < 200
    assert harness.default() == 1


async def test_a_load_does_not_wait_for_a_second_scan(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    await harness.repository.load("m", None)
    assert harness.default() == 2


async def test_unloading_a_model(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)  # 2 is warm
    await harness.repository.unload("m", None)
    await harness.wait_until_unloaded()
    with pytest.raises(NotReady, match="model 'm' is not ready: version 2: unloaded by request"):
        harness.routing_table.find("m")
    assert harness.alive() == []
    assert harness.last_default() == ("m", None)
    harness.publish("m", 3)
    await harness.rescan(3)
    assert harness.default() is None
    assert harness.row("m", 1) == (UNAVAILABLE, UNLOADED_BY_REQUEST)
    assert harness.row("m", 3) == (UNAVAILABLE, UNLOADED_BY_REQUEST)
    await harness.repository.load("m", None)
    assert harness.default() == 3
    assert harness.last_default() == ("m", 3)


async def test_unloading_a_version_makes_room_for_the_one_before(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.unload("m", 2)
    await harness.rescan()
    assert harness.default() == 1
    assert harness.row("m", 2) == (UNAVAILABLE, UNLOADED_BY_REQUEST)
    assert harness.alive() == [("m", 1)]


async def test_unloading_a_warm_version_gives_its_memory_back(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)
    assert harness.alive() == [("m", 1), ("m", 2)]
    await harness.repository.unload("m", 2)
    await harness.wait_until_unloaded()
    assert harness.alive() == [("m", 1)]
    assert harness.default() == 1


async def test_unloading_lets_requests_finish(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    busy = harness.served(1)
    busy.idle.clear()
    await harness.repository.unload("m", None)
    await asyncio.sleep(0)
    assert harness.row("m", 1)[0] is VersionState.UNLOADING
    assert harness.default() is None
    loading = asyncio.create_task(harness.repository.load("m", None))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not loading.done(), "a version is there once: the old one goes first"
    busy.idle.set()
    await loading
    assert harness.default() == 1
    assert harness.served(1) is not busy


async def test_the_reason_is_that_of_the_last_request_while_one_unloads(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)
    busy = harness.served(1)
    busy.idle.clear()
    await harness.repository.unload("m", None)
    await harness.repository.load("m", None)
    assert harness.row("m", 1) == (VersionState.UNLOADING, NOT_LATEST)
    busy.idle.set()
    await harness.wait_until_unloaded()
    assert harness.row("m", 1) == (UNAVAILABLE, NOT_LATEST)


async def test_changes_come_one_after_the_other(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2, 3):
        harness.publish("m", number)
    await harness.start()
    repository = harness.repository
    await asyncio.gather(
        *(repository.load("m", number) for number in (1, 2, 1, 3, 2)),
        *(repository.refresh() for _ in range(3)),
    )
    assert harness.default() == 2
    await harness.wait_until_unloaded()
    assert len(harness.alive()) == 2  # one serves, one is warm


async def test_a_change_does_not_wait_for_ever(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    monkeypatch.setattr(changes, "CHANGE_S", 0.0)
    async with harness.repository._changes.exclusive():
        with pytest.raises(NotReady, match="takes too long"):
            await harness.repository.load("m", 1)
    await harness.repository.load("m", 1)


async def test_a_load_goes_on_when_its_client_is_gone(new: MakeHarness, opener: Opener) -> None:
    """A client with a deadline shorter than a load must not leave it half done."""
    harness = new(warm_versions=1)
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    loop, started = asyncio.get_running_loop(), asyncio.Event()
    opener.during = lambda folder: loop.call_soon_threadsafe(started.set)
    task = asyncio.create_task(harness.repository.load("m", 2))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with harness.repository._changes.exclusive():  # whoever goes on with it has finished
        assert (harness.row("m", 1)[0], harness.row("m", 2)[0]) == (UNAVAILABLE, READY)
        assert harness.default() == 2
    assert harness.opener.opened == [("m", 1), ("m", 2)]
