"""The first look: what is served from the beginning, and what is not."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from predictor.errors import BadModel, BadSetting, Internal, NotReady, PredictorError
from predictor.repository import scanner
from predictor.repository.states import VersionState
from tests.unit.repository.conftest import MakeHarness
from tests.unit.repository.doubles import (
    FAILURES,
    Opener,
    failed,
)

READY, UNAVAILABLE = VersionState.READY, VersionState.UNAVAILABLE


async def test_the_newest_version_of_each_model(new: MakeHarness) -> None:
    harness = new()
    for model, number in (("a", 1), ("a", 2), ("b", 7)):
        harness.publish(model, number)
    await harness.start()
    assert (harness.default("a"), harness.default("b")) == (2, 7)
    assert harness.alive() == [("a", 2), ("b", 7)]
    assert sorted(harness.defaults) == [("a", 2), ("b", 7)]
    assert harness.row("a", 1) == (UNAVAILABLE, "not selected by --version-policy latest:1")


async def test_several_versions_and_a_policy_of_its_own(new: MakeHarness) -> None:
    harness = new(version_policy="latest:2; a=specific:1; b=all")
    for model, number in itertools.product("abc", (1, 2, 3)):
        harness.publish(model, number)
    await harness.start()
    served = {model: harness.routing_table.versions(model) for model in "abc"}
    assert served == {"a": ["1"], "b": ["1", "2", "3"], "c": ["2", "3"]}
    assert harness.routing_table.find("b", "1").key == ("b", 1)


@pytest.mark.parametrize("outcome", FAILURES)
async def test_a_bad_newest_version_leaves_the_one_before(new: MakeHarness, outcome: str) -> None:
    harness = new()
    harness.publish("m", 1)
    harness.publish("m", 2, outcome)
    await harness.start()
    assert harness.default() == 1
    state, reason = harness.row("m", 2)
    assert (state, bool(reason), failed("m", 2)) == (UNAVAILABLE, True, 1.0)
    assert [(e.name, e.version) for e in harness.routing_table.problems()] == [("m", "2")]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("vectors", BadModel), ("bad_setting", BadSetting), ("internal", Internal)],
)
async def test_only_bad_versions_without_polling_are_an_error(
    new: MakeHarness, outcome: str, kind: type[Exception]
) -> None:
    harness = new(poll_interval_s=0.0)
    harness.publish("m", 1, outcome)
    with pytest.raises(kind):
        harness.repository.preload()


async def test_an_empty_repository_without_polling_is_an_error(new: MakeHarness) -> None:
    harness = new(poll_interval_s=0.0)
    with pytest.raises(BadModel, match="no model here"):
        harness.repository.preload()
    (harness.root / "m" / "01").mkdir(parents=True)
    with pytest.raises(BadModel, match=r"no model here.*\(m/01: not a version number"):
        harness.repository.preload()


@pytest.mark.parametrize("outcome", [None, "vectors", "internal"])
async def test_an_empty_repository_with_polling_is_no_error(
    new: MakeHarness, outcome: str | None
) -> None:
    harness = new()
    if outcome:
        harness.publish("m", 1, outcome)
    await harness.start()
    assert not harness.is_ready()
    with pytest.raises(NotReady):
        harness.routing_table.find("")
    harness.publish("m", 2)
    await harness.rescan()
    assert harness.is_ready()
    assert harness.routing_table.find("").key == ("m", 2)


async def test_a_root_that_cannot_be_read_is_an_error_that_says_so(
    new: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(root: Path, name: str) -> Any:
        raise PermissionError(13, "Permission denied", str(root))

    harness = new(poll_interval_s=0.0)
    monkeypatch.setattr(scanner, "scan", denied)
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
    assert version.preloaded is None, "what is not served holds memory"


@pytest.mark.parametrize("policy", ["all", "latest:9"])
async def test_while_versions_come_up_the_model_has_a_default(
    new: MakeHarness, opener: Opener, policy: str
) -> None:
    """The default comes first: who names no version is never told that there is none."""
    harness = await new(version_policy=policy).start()
    harness.publish("m", 1, width=8)
    harness.publish("m", 2, width=16 if policy == "all" else 8)
    states: list[tuple[list[str], int | None]] = []
    opener.during = lambda folder: states.append(
        (harness.routing_table.versions("m"), harness.default())
    )
    await harness.rescan()
    assert len(states) >= 1
    assert all(default for versions, default in states if versions)
