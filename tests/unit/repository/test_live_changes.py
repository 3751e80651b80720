"""What is served follows what is published and deleted; and never less."""

import shutil

import pytest

from predictor.errors import ModelNotFound
from predictor.repository import unloader
from predictor.repository.merge import BEING_WRITTEN, CHANGED, REMOVED
from predictor.repository.states import VersionState
from tests.unit.repository.conftest import MakeHarness
from tests.unit.repository.doubles import (
    FAILURES,
    Opener,
    failed,
    infos,
    loads,
    ready,
)

READY, UNAVAILABLE = VersionState.READY, VersionState.UNAVAILABLE


async def test_a_new_version_takes_over(new: MakeHarness) -> None:
    harness = new(warm_versions=0)
    harness.publish("m", 1)
    await harness.start()
    first, counted = harness.served(1), loads("m", "ready")
    first.idle.clear()
    harness.publish("m", 2)
    await harness.rescan(1)
    assert (harness.default(), harness.row("m", 2)) == (1, (UNAVAILABLE, BEING_WRITTEN))
    await harness.rescan(1)
    assert harness.default() == 2
    assert harness.row("m", 1)[0] is VersionState.UNLOADING
    assert (first.stopped, first.waits_s) == (1, unloader.DRAIN_S)
    first.idle.set()
    await harness.wait_until_unloaded()
    assert harness.row("m", 1) == (UNAVAILABLE, "not selected by --version-policy latest:1")
    assert harness.alive() == [("m", 2)]
    assert (ready("m", 1), ready("m", 2)) == (0.0, 1.0)
    assert loads("m", "ready") == counted + 1
    assert [labels[1] for labels in infos("m")] == ["2"]
    assert harness.defaults == [("m", 1), ("m", 2)]


async def test_the_old_version_answers_until_the_new_one_does(
    new: MakeHarness, opener: Opener
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    defaults: list[int | None] = []
    opener.during = lambda folder: defaults.append(harness.default())
    harness.publish("m", 2)
    await harness.rescan()
    assert defaults == [1]
    assert harness.default() == 2


@pytest.mark.parametrize("outcome", FAILURES)
async def test_a_bad_new_version_changes_nothing(new: MakeHarness, outcome: str) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    code = "internal" if outcome == "panic" else outcome
    before = loads("m", code)
    harness.publish("m", 2, outcome)
    await harness.rescan(5)
    assert harness.default() == 1
    assert harness.routing_table.is_ready
    assert loads("m", code) == before + 1, "it is tried once, not at every scan"
    assert harness.opener.opened.count(("m", 2)) == 1
    assert harness.served(1).stopped == 0
    harness.publish("m", 2)
    await harness.rescan()
    assert harness.default() == 2
    assert failed("m", 2) == 0.0


async def test_a_directory_that_is_still_written(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    folder = harness.root / "m" / "2"
    folder.mkdir()
    for number, file in enumerate(("bundle.json", "outcome", "tokenizer.json", "model.onnx")):
        (folder / file).write_text("good 8" if file == "outcome" else f'{{"dimensions": {8}}}')
        await harness.rescan(1)
        assert harness.default() == 1
        assert harness.row("m", 2) == (UNAVAILABLE, BEING_WRITTEN), number
    assert ("m", 2) not in harness.opener.opened
    await harness.rescan(1)
    assert harness.default() == 2


async def test_a_directory_whose_copy_pauses(new: MakeHarness) -> None:
    """Seen twice alike, and not whole: it is found wanting, and tried again when it has changed."""
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    folder = harness.publish("m", 2, "incomplete")
    await harness.rescan()
    assert harness.default() == 1
    assert "missing" in harness.row("m", 2)[1]
    (folder / "outcome").write_text("good 8")
    await harness.rescan()
    assert harness.default() == 2


async def test_a_version_with_other_dimensions_waits_for_a_request(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2, width=16)
    await harness.rescan(3)
    assert harness.default() == 1
    state, reason = harness.row("m", 2)
    assert (state, failed("m", 2)) == (UNAVAILABLE, 1.0)
    assert reason.startswith("version 2 gives 16 dimensions, the vectors served so far have 8; ")
    assert ("m", 2) not in harness.opener.opened
    await harness.repository.load("m", 2)
    assert harness.default() == 2
    assert (harness.row("m", 2), failed("m", 2)) == ((READY, ""), 0.0)
    await harness.rescan(3)
    assert harness.default() == 2


async def test_other_dimensions_that_show_only_when_loaded(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    folder = harness.publish("m", 2, width=16)
    (folder / "bundle.json").rename(folder / "config.json")
    await harness.rescan()
    assert harness.default() == 1
    assert harness.row("m", 2)[1].startswith("version 2 gives 16 dimensions")
    await harness.repository.load("m", 2)
    assert harness.default() == 2


async def test_a_changed_version_is_served_as_it_was(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 1, "vectors")
    await harness.rescan(3)
    assert (harness.default(), harness.row("m", 1)) == (1, (READY, CHANGED))
    assert harness.opener.opened == [("m", 1)]


async def test_a_new_model_is_served_and_a_removed_one_is_not(new: MakeHarness) -> None:
    harness = new()
    harness.publish("a", 1)
    await harness.start()
    assert harness.routing_table.find("").key == ("a", 1)
    harness.publish("b", 1)
    await harness.rescan()
    assert (harness.default("a"), harness.default("b")) == (1, 1)
    with pytest.raises(ModelNotFound, match="several models"):
        harness.routing_table.find("")
    shutil.rmtree(harness.root / "b")
    await harness.rescan(3)
    assert harness.row("b", 1) == (READY, REMOVED)
    await harness.repository.unload("b", None)
    await harness.rescan()
    assert harness.routing_table.names() == ["a"]
    assert harness.routing_table.find("").key == ("a", 1)
    assert ready("b", 1) is None


async def test_a_deleted_version_is_served_on_where_there_is_no_other(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.delete("m", 1)
    await harness.rescan(3)
    assert (harness.default(), harness.row("m", 1)) == (1, (READY, REMOVED))
    assert harness.routing_table.is_ready
    harness.publish("m", 2)
    await harness.rescan()
    assert harness.default() == 2
    await harness.rescan()
    assert [entry.version for entry in harness.repository.index()] == ["2"]
    assert harness.alive() == [("m", 2)]


async def test_a_deleted_version_makes_room_for_the_one_before(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    harness.publish("m", 2)
    await harness.start()
    harness.delete("m", 2)
    await harness.rescan()
    assert harness.default() == 1
    await harness.rescan()
    assert harness.alive() == [("m", 1)]
    assert (ready("m", 2), failed("m", 2)) == (None, None)


@pytest.mark.parametrize("bad", ["vectors", "internal"])
async def test_a_deleted_version_goes_on_where_the_one_before_is_bad(
    new: MakeHarness, bad: str
) -> None:
    harness = new()
    harness.publish("m", 1, bad)
    harness.publish("m", 2)
    await harness.start()
    harness.delete("m", 2)
    await harness.rescan(3)
    assert harness.default() == 2
    assert harness.served(2).stopped == 0


async def test_a_version_that_comes_back(new: MakeHarness) -> None:
    harness = new()
    folder = harness.publish("m", 1)
    await harness.start()
    away = folder.rename(harness.root / ".away")
    await harness.rescan()
    away.rename(folder)
    await harness.rescan()
    assert harness.row("m", 1) == (READY, "")
    assert len(harness.made) == 1


async def test_a_repository_that_vanishes_and_comes_back(
    new: MakeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    away = harness.root.rename(harness.root.with_name("away"))
    await harness.rescan(20)
    assert harness.row("m", 1) == (READY, "")
    assert harness.default() == 1
    lines = [r for r in caplog.records if "cannot scan the repository" in r.getMessage()]
    assert len(lines) == 1, "once, not at every scan"
    away.rename(harness.root)
    harness.publish("m", 2)
    await harness.rescan()
    assert harness.default() == 2


async def test_a_volume_that_is_not_mounted_any_more(new: MakeHarness) -> None:
    """Its mount point is an empty directory: of every model something answers on."""
    harness = new()
    for model in "ab":
        harness.publish(model, 1)
    await harness.start()
    harness.root.rename(harness.root.with_name("away"))
    harness.root.mkdir()
    await harness.rescan(3)
    assert (harness.default("a"), harness.default("b")) == (1, 1)
