"""What is served follows what is published, asked for, unloaded and broken; and never less."""

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.errors import BadModel, BadSetting, Internal, ModelNotFound, NotReady, PredictorError
from predictor.repository import keeper, live, outlook
from predictor.repository.settling import UNLOADED
from predictor.repository.states import CHANGED, GONE, SETTLING, State
from tests.unit.repository.conftest import MakeHarness
from tests.unit.repository.doubles import (
    FAILURES,
    Harness,
    Memory,
    Opener,
    failed,
    infos,
    loads,
    ready,
)

READY, UNAVAILABLE = State.READY, State.UNAVAILABLE


# The start


async def test_the_newest_version_of_each_model(new: MakeHarness) -> None:
    harness = new()
    for model, number in (("a", 1), ("a", 2), ("b", 7)):
        harness.publish(model, number)
    await harness.start()
    assert (harness.default("a"), harness.default("b")) == (2, 7)
    assert harness.alive() == [("a", 2), ("b", 7)]
    assert sorted(harness.defaults) == [("a", 2), ("b", 7)]
    assert harness.row("a", 1) == (UNAVAILABLE, "not chosen by --version-policy latest:1")


async def test_several_versions_and_a_policy_of_its_own(new: MakeHarness) -> None:
    harness = new(version_policy="latest:2; a=specific:1; b=all")
    for model, number in itertools.product("abc", (1, 2, 3)):
        harness.publish(model, number)
    await harness.start()
    served = {model: harness.answers.versions(model) for model in "abc"}
    assert served == {"a": ["1"], "b": ["1", "2", "3"], "c": ["2", "3"]}
    assert harness.answers.find("b", "1").key == ("b", 1)


@pytest.mark.parametrize("outcome", FAILURES)
async def test_a_bad_newest_version_leaves_the_one_before(new: MakeHarness, outcome: str) -> None:
    harness = new()
    harness.publish("m", 1)
    harness.publish("m", 2, outcome)
    await harness.start()
    assert harness.default() == 1
    state, reason = harness.row("m", 2)
    assert (state, bool(reason), failed("m", 2)) == (UNAVAILABLE, True, 1.0)
    assert [(e.name, e.version) for e in harness.answers.problems()] == [("m", "2")]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("vectors", BadModel), ("bad_setting", BadSetting), ("internal", Internal)],
)
async def test_nothing_but_bad_versions_is_an_error(
    new: MakeHarness, outcome: str, kind: type[Exception]
) -> None:
    harness = new(poll_interval=0.0)
    harness.publish("m", 1, outcome)
    with pytest.raises(kind):
        harness.repository.preload()


async def test_nothing_at_all_is_an_error(new: MakeHarness) -> None:
    harness = new(poll_interval=0.0)
    with pytest.raises(BadModel, match="no model here"):
        harness.repository.preload()
    (harness.root / "m" / "01").mkdir(parents=True)
    with pytest.raises(BadModel, match=r"no model here.*\(m/01: not a version number"):
        harness.repository.preload()


@pytest.mark.parametrize("outcome", [None, "vectors", "internal"])
async def test_nothing_yet_is_none_if_something_may_come(
    new: MakeHarness, outcome: str | None
) -> None:
    harness = new()
    if outcome:
        harness.publish("m", 1, outcome)
    await harness.start()
    assert not harness.is_ready()
    with pytest.raises(NotReady):
        harness.answers.find("")
    harness.publish("m", 2)
    await harness.look()
    assert harness.is_ready()
    assert harness.answers.find("").key == ("m", 2)


async def test_a_root_that_may_not_be_read_is_a_sentence(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(root: Path, name: str) -> Any:
        raise PermissionError(13, "Permission denied", str(root))

    harness = new(poll_interval=0.0)
    monkeypatch.setattr(outlook, "scan", denied)
    with pytest.raises(PredictorError, match="Permission denied"):
        harness.repository.preload()


async def test_versions_of_other_dimensions_at_the_start(new: MakeHarness, opener: Opener) -> None:
    """Those of the lowest count; a directory tells its dimensions only when it is opened."""
    harness = new()
    harness.publish("m", 1, width=8)
    (harness.publish("m", 2, width=16) / "bundle.json").rename(
        harness.root / "m" / "2" / "config.json"
    )
    await harness.start()
    assert harness.default() == 1
    assert "16 dimensions" in harness.row("m", 2)[1]
    version = harness.repository._models["m"].versions[2]
    assert version.opened is None, "what is not served holds memory"


@pytest.mark.parametrize("policy", ["all", "latest:9"])
async def test_while_versions_come_up_the_model_has_a_default(
    new: MakeHarness, opener: Opener, policy: str
) -> None:
    """The default comes first: who names no version is never told that there is none."""
    harness = await new(version_policy=policy).start()
    harness.publish("m", 1, width=8)
    harness.publish("m", 2, width=16 if policy == "all" else 8)
    seen: list[tuple[list[str], int | None]] = []
    opener.during = lambda folder: seen.append((harness.answers.versions("m"), harness.default()))
    await harness.look()
    assert len(seen) >= 1
    assert all(default for versions, default in seen if versions)


# What is published


async def test_a_new_version_takes_over(new: MakeHarness) -> None:
    harness = new(warm_versions=0)
    harness.publish("m", 1)
    await harness.start()
    first, counted = harness.served(1), loads("m", "ready")
    first.idle.clear()
    harness.publish("m", 2)
    await harness.look(1)
    assert (harness.default(), harness.row("m", 2)) == (1, (UNAVAILABLE, SETTLING))
    await harness.look(1)
    assert harness.default() == 2
    assert harness.row("m", 1)[0] is State.UNLOADING
    assert (first.stopped, first.waits_s) == (1, keeper.DRAIN_S)
    first.idle.set()
    await harness.settled()
    assert harness.row("m", 1) == (UNAVAILABLE, "not chosen by --version-policy latest:1")
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
    seen: list[int | None] = []
    opener.during = lambda folder: seen.append(harness.default())
    harness.publish("m", 2)
    await harness.look()
    assert seen == [1]
    assert harness.default() == 2


@pytest.mark.parametrize("outcome", FAILURES)
async def test_a_bad_new_version_changes_nothing(new: MakeHarness, outcome: str) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    before = loads("m", outcome)
    harness.publish("m", 2, outcome)
    await harness.look(5)
    assert harness.default() == 1
    assert harness.answers.is_ready
    assert loads("m", outcome) == before + 1, "it is tried once, not at every look"
    assert harness.opener.opened.count(("m", 2)) == 1
    assert harness.served(1).stopped == 0
    harness.publish("m", 2)
    await harness.look()
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
        await harness.look(1)
        assert harness.default() == 1
        assert harness.row("m", 2) == (UNAVAILABLE, SETTLING), number
    assert ("m", 2) not in harness.opener.opened
    await harness.look(1)
    assert harness.default() == 2


async def test_a_directory_whose_copy_pauses(new: MakeHarness) -> None:
    """Seen twice alike, and not whole: it is found wanting, and tried again when it has changed."""
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    folder = harness.publish("m", 2, "incomplete")
    await harness.look()
    assert harness.default() == 1
    assert "missing" in harness.row("m", 2)[1]
    (folder / "outcome").write_text("good 8")
    await harness.look()
    assert harness.default() == 2


async def test_other_dimensions_wait_to_be_asked_for(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2, width=16)
    await harness.look(3)
    assert harness.default() == 1
    state, reason = harness.row("m", 2)
    assert (state, failed("m", 2)) == (UNAVAILABLE, 1.0)
    assert reason.startswith("version 2 gives 16 dimensions, the vectors so far have 8: ")
    assert ("m", 2) not in harness.opener.opened
    await harness.repository.load("m", 2)
    assert harness.default() == 2
    assert (harness.row("m", 2), failed("m", 2)) == ((READY, ""), 0.0)
    await harness.look(3)
    assert harness.default() == 2


async def test_other_dimensions_that_show_only_when_loaded(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    folder = harness.publish("m", 2, width=16)
    (folder / "bundle.json").rename(folder / "config.json")
    await harness.look()
    assert harness.default() == 1
    assert harness.row("m", 2)[1].startswith("version 2 gives 16 dimensions")
    await harness.repository.load("m", 2)
    assert harness.default() == 2


async def test_a_changed_version_is_served_as_it_was(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 1, "vectors")
    await harness.look(3)
    assert (harness.default(), harness.row("m", 1)) == (1, (READY, CHANGED))
    assert harness.opener.opened == [("m", 1)]


async def test_a_new_model_and_one_that_goes(new: MakeHarness) -> None:
    harness = new()
    harness.publish("a", 1)
    await harness.start()
    assert harness.answers.find("").key == ("a", 1)
    harness.publish("b", 1)
    await harness.look()
    assert (harness.default("a"), harness.default("b")) == (1, 1)
    with pytest.raises(ModelNotFound, match="several models"):
        harness.answers.find("")
    shutil.rmtree(harness.root / "b")
    await harness.look(3)
    assert harness.row("b", 1) == (READY, GONE)
    await harness.repository.unload("b", None)
    await harness.look()
    assert harness.answers.names() == ["a"]
    assert harness.answers.find("").key == ("a", 1)
    assert ready("b", 1) is None


# What is deleted


async def test_a_deleted_version_is_served_on_where_there_is_no_other(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.delete("m", 1)
    await harness.look(3)
    assert (harness.default(), harness.row("m", 1)) == (1, (READY, GONE))
    assert harness.answers.is_ready
    harness.publish("m", 2)
    await harness.look()
    assert harness.default() == 2
    await harness.look()
    assert [entry.version for entry in harness.repository.index()] == ["2"]
    assert harness.alive() == [("m", 2)]


async def test_a_deleted_version_makes_room_for_the_one_before(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    harness.publish("m", 2)
    await harness.start()
    harness.delete("m", 2)
    await harness.look()
    assert harness.default() == 1
    await harness.look()
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
    await harness.look(3)
    assert harness.default() == 2
    assert harness.served(2).stopped == 0


async def test_a_version_that_comes_back(new: MakeHarness) -> None:
    harness = new()
    folder = harness.publish("m", 1)
    await harness.start()
    away = folder.rename(harness.root / ".away")
    await harness.look()
    away.rename(folder)
    await harness.look()
    assert harness.row("m", 1) == (READY, "")
    assert len(harness.made) == 1


async def test_a_repository_that_vanishes_and_comes_back(
    new: MakeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    away = harness.root.rename(harness.root.with_name("away"))
    await harness.look(20)
    assert harness.row("m", 1) == (READY, "")
    assert harness.default() == 1
    lines = [r for r in caplog.records if "cannot look at the repository" in r.getMessage()]
    assert len(lines) == 1, "once, not at every look"
    away.rename(harness.root)
    harness.publish("m", 2)
    await harness.look()
    assert harness.default() == 2


async def test_a_volume_that_is_not_mounted_any_more(new: MakeHarness) -> None:
    """Its mount point is an empty directory: of every model something answers on."""
    harness = new()
    for model in "ab":
        harness.publish(model, 1)
    await harness.start()
    harness.root.rename(harness.root.with_name("away"))
    harness.root.mkdir()
    await harness.look(3)
    assert (harness.default("a"), harness.default("b")) == (1, 1)


# Wishes


async def test_the_way_back_is_instant(new: MakeHarness) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    await harness.look()
    assert harness.row("m", 1) == (UNAVAILABLE, keeper.WARM)
    await harness.repository.load("m", 1)
    assert harness.default() == 1
    assert harness.opener.opened == [("m", 1), ("m", 2)]
    assert harness.row("m", 2) == (UNAVAILABLE, keeper.WARM)


async def test_newer_versions_do_not_count_until_a_load_without_a_version(
    new: MakeHarness,
) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)
    harness.publish("m", 3)
    await harness.look(3)
    assert harness.default() == 1
    assert harness.row("m", 3) == (UNAVAILABLE, "version 1 was asked for")
    await harness.repository.load("m", None)
    assert harness.default() == 3


async def test_who_went_back_stays_back_when_the_files_go(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)
    harness.delete("m", 1)
    await harness.look(3)
    assert (harness.default(), harness.row("m", 1)) == (1, (READY, GONE))
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
    await harness.look()
    assert harness.default() == 3, "the wish for 2 is forgotten"


async def test_a_bad_wish_does_not_take_the_place_of_the_one_before(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    harness.publish("m", 3, "vectors")
    await harness.start()
    await harness.repository.load("m", 1)
    with pytest.raises(BadModel):
        await harness.repository.load("m", 3)
    await harness.look(3)
    assert harness.default() == 1


async def test_loading_what_came_up_is_no_failure_because_another_did_not(
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
async def test_what_is_not_there(new: MakeHarness, name: str, number: int | None) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    for change in (harness.repository.load, harness.repository.unload):
        with pytest.raises(ModelNotFound, match="is not in the repository") as raised:
            await change(name, number)
        assert len(str(raised.value)) < 200
    assert harness.default() == 1


async def test_loading_does_not_wait_for_a_second_look(new: MakeHarness) -> None:
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
    await harness.settled()
    with pytest.raises(NotReady, match="model 'm' is not ready: version 2: unloaded by request"):
        harness.answers.find("m")
    assert harness.alive() == []
    assert harness.told() == ("m", None)
    harness.publish("m", 3)
    await harness.look(3)
    assert harness.default() is None
    assert harness.row("m", 1) == (UNAVAILABLE, UNLOADED)
    assert harness.row("m", 3) == (UNAVAILABLE, UNLOADED)
    await harness.repository.load("m", None)
    assert harness.default() == 3
    assert harness.told() == ("m", 3)


async def test_unloading_a_version_makes_room_for_the_one_before(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.unload("m", 2)
    await harness.look()
    assert harness.default() == 1
    assert harness.row("m", 2) == (UNAVAILABLE, UNLOADED)
    assert harness.alive() == [("m", 1)]


async def test_unloading_a_warm_version_gives_its_memory_back(new: MakeHarness) -> None:
    harness = new()
    for number in (1, 2):
        harness.publish("m", number)
    await harness.start()
    await harness.repository.load("m", 1)
    assert harness.alive() == [("m", 1), ("m", 2)]
    await harness.repository.unload("m", 2)
    await harness.settled()
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
    assert harness.row("m", 1)[0] is State.UNLOADING
    assert harness.default() is None
    loading = asyncio.create_task(harness.repository.load("m", None))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not loading.done(), "a version is there once: the old one goes first"
    busy.idle.set()
    await loading
    assert harness.default() == 1
    assert harness.served(1) is not busy


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
    await harness.settled()
    assert len(harness.alive()) == 2  # one serves, one is warm


async def test_a_change_does_not_wait_for_ever(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = new()
    harness.publish("m", 1)
    await harness.start()
    monkeypatch.setattr(live, "CHANGE_S", 0.0)
    async with harness.repository._changing:
        with pytest.raises(NotReady, match="takes too long"):
            await harness.repository.load("m", 1)
    await harness.repository.load("m", 1)


async def test_who_goes_away_while_a_version_is_loaded(new: MakeHarness, opener: Opener) -> None:
    """A client with a deadline shorter than a load must not leave it half done."""
    harness = new(warm_versions=1)
    harness.publish("m", 1)
    await harness.start()
    harness.publish("m", 2)
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    opener.during = lambda folder: loop.call_soon_threadsafe(begun.set)
    task = asyncio.create_task(harness.repository.load("m", 2))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with harness.repository._changing:  # whoever goes on with it has finished
        assert (harness.row("m", 1)[0], harness.row("m", 2)[0]) == (UNAVAILABLE, READY)
        assert harness.default() == 2
    assert harness.opener.opened == [("m", 1), ("m", 2)]


# Memory


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


# The end, and what must never end


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


# Anything in any order


NUMBERS = st.integers(1, 4)
MODELS = st.sampled_from(["a", "b"])
STEPS = st.one_of(
    st.tuples(st.just("publish"), MODELS, NUMBERS, st.sampled_from(["good", "good", "vectors"])),
    st.tuples(st.just("widen"), MODELS, NUMBERS, st.just("good")),
    st.tuples(st.just("delete"), MODELS, NUMBERS, st.just("")),
    st.tuples(st.just("load"), MODELS, st.none() | NUMBERS, st.just("")),
    st.tuples(st.just("unload"), MODELS, st.none() | NUMBERS, st.just("")),
    st.tuples(st.just("look"), MODELS, st.just(1), st.just("")),
    st.tuples(st.just("look"), MODELS, st.just(2), st.just("")),
)
Step = tuple[str, str, Any, str]


class Life:
    """Takes steps and says after each what is not as it must be."""

    def __init__(self, harness: Harness, warm: int) -> None:
        self.harness, self.warm = harness, warm

    async def step(self, step: Step) -> None:
        action, model, number, outcome = step
        harness = self.harness
        before = {name: harness.default(name) for name in "ab"}
        unloaded: set[str] = set()
        if action in ("publish", "widen"):
            harness.publish(model, number, outcome, 16 if action == "widen" else 8)
        elif action == "delete":
            if (harness.root / model / str(number)).exists():
                harness.delete(model, number)
        elif action == "look":
            await harness.look(number)
        else:
            change: Callable[..., Any] = getattr(harness.repository, action)
            with contextlib.suppress(BadModel, ModelNotFound):
                await change(model, number)
                if action == "unload":
                    unloaded = {model}
                elif number is not None:
                    assert harness.default(model) == number
            await harness.settled()
        self.check(before, unloaded)

    def check(self, before: dict[str, int | None], unloaded: set[str]) -> None:
        harness = self.harness
        for name, default in before.items():
            assert default is None or name in unloaded or harness.default(name) is not None
        for served in harness.answers.all():
            assert (served.started, served.stopped) == (1, 0)
        assert all(served.stopped <= 1 for served in harness.made)
        keys = [served.key for served in harness.made if not served.stopped]
        assert len(keys) == len(set(keys)), "a version is loaded once"
        live = {served.key for served in harness.answers.all()}
        assert len(set(keys) - live) <= self.warm
        index = harness.repository.index()
        rows = {(e.name, int(e.version)): e for e in index if e.version}
        assert {key for key, row in rows.items() if row.state is READY} == live
        for key, row in rows.items():
            assert row.state is READY or row.reason, f"{key} is not served, and nothing says why"
            assert ready(*key) == float(row.state is READY)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(STEPS, min_size=3, max_size=14),
    st.sampled_from(["latest:1", "latest:2", "all", "specific:1,3", "latest:1;b=all"]),
    st.integers(0, 2),
)
def test_whatever_happens(steps: list[Step], policy: str, warm: int) -> None:
    asyncio.run(_live(steps, policy, warm))


async def _live(steps: list[Step], policy: str, warm: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        opener = Opener()
        patch.setattr(keeper, "open_version", opener)
        patch.setattr(keeper, "memory", Memory())
        harness = Harness(Path(folder) / "root", opener, version_policy=policy, warm_versions=warm)
        harness.publish("a", 1)
        await harness.start()
        life = Life(harness, warm)
        try:
            for step in steps:
                await life.step(step)
        finally:
            await harness.stop()
        assert all(served.stopped == 1 for served in harness.made if served.started)
