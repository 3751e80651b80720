"""Who answers for a name, and what is said where nobody does."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from predictor.errors import BadModel, ModelNotFound, NotReady, PredictorError
from predictor.repository.answers import Answers
from predictor.repository.layout import Found
from predictor.repository.states import ModelState, State, Version
from tests.unit.repository.doubles import Answering, loaded


def table(
    models: Mapping[str, tuple[int, ...]],
    *,
    default_model: str = "",
    only: str = "model",
    bad: Mapping[str, int] | None = None,
) -> Answers[Answering]:
    """Live versions by model, the last of which is the default; `bad`: versions that may not."""
    states: dict[str, ModelState[Answering]] = {}
    for name, numbers in models.items():
        state = states[name] = ModelState(name)
        for number in numbers:
            version: Version[Answering] = Version(name, number, Found(Path()))
            version.served = Answering(loaded(name, str(number), Path(), 8))
            version.become(State.READY)
            state.versions[number] = version
        state.default = numbers[-1] if numbers else None
    for name, number in (bad or {}).items():
        broken: Version[Answering] = Version(name, number, Found(Path()))
        broken.fail(BadModel("its files are no good"))
        states.setdefault(name, ModelState(name)).versions[number] = broken
    answers = Answers(states, default_model, only)
    answers.publish()
    return answers


@pytest.mark.parametrize(
    ("name", "version", "key"),
    [
        ("m", "", ("m", 2)),
        ("m", "1", ("m", 1)),
        ("m", "2", ("m", 2)),
        ("m:1", "", ("m", 1)),
        ("n", "", ("n", 7)),
        ("n:7", "", ("n", 7)),
    ],
)
def test_by_name_and_version(name: str, version: str, key: tuple[str, int]) -> None:
    assert table({"m": (1, 2), "n": (7,)}).find(name, version).key == key


def test_no_name_means_the_only_model() -> None:
    answers = table({"m": (1, 2)})
    assert answers.find("").key == ("m", 2)
    assert answers.find("", "1").key == ("m", 1)
    assert answers.find(":1").key == ("m", 1)


def test_no_name_means_the_default_model() -> None:
    models = {"m": (1,), "n": (1,)}
    assert table(models, default_model="n").find("").key == ("n", 1)
    assert table(models, only="m").find("").key == ("m", 1)
    assert table(models, default_model="n", only="m").find("").key == ("n", 1)


def test_no_name_among_several_models_is_no_guess() -> None:
    with pytest.raises(ModelNotFound, match=r"several models are served \(m, n\): name one"):
        table({"n": (1,), "m": (1,)}).find("")


@pytest.mark.parametrize(
    "name", ["", "m/1", "../m", "..%2fm", "m:1:1", "M", " m", "x" * 10_000, "m\n", "\ud800"]
)
@pytest.mark.parametrize("version", ["", "../1", "3"])
def test_what_is_not_served(name: str, version: str) -> None:
    with pytest.raises(ModelNotFound) as raised:
        table({"m": (1, 2), "n": (1,)}).find(name, version)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("version", ["3", "01", "abc", "1.5", "-1", "0", " 1"])
def test_a_version_that_is_not_served(version: str) -> None:
    with pytest.raises(ModelNotFound, match=r"model 'm' has no version .*; served: 1, 2"):
        table({"m": (1, 2)}).find("m", version)


def test_a_model_of_which_nothing_answers_is_not_ready() -> None:
    answers = table({"n": (1,)}, bad={"m": 3})
    with pytest.raises(NotReady, match="model 'm' is not ready: version 3: its files are no good"):
        answers.find("m")
    assert answers.find("n").key == ("n", 1)


def test_before_there_is_any_model() -> None:
    answers = table({})
    with pytest.raises(NotReady, match="no model is loaded yet"):
        answers.find("")
    with pytest.raises(ModelNotFound, match="'m' is not served here; served: none"):
        answers.find("m")
    assert not answers.is_ready
    assert answers.all() == []


def test_a_default_model_that_is_not_there() -> None:
    with pytest.raises(ModelNotFound, match="'z' is not served here; served: m"):
        table({"m": (1,)}, default_model="z").find("")


def test_what_is_listed() -> None:
    answers = table({"n": (10, 2), "m": (1,)}, bad={"z": 1})
    assert answers.names() == ["m", "n", "z"]
    assert answers.versions("n") == ["2", "10"]
    assert answers.versions("z") == []
    assert answers.versions("unknown") == []
    assert sorted(served.key for served in answers.all()) == [("m", 1), ("n", 2), ("n", 10)]


def test_problems() -> None:
    answers = table({"m": (1,)}, bad={"m": 2, "z": 1})
    assert [(e.name, e.version, e.reason) for e in answers.problems()] == [
        ("m", "2", "its files are no good"),
        ("z", "1", "its files are no good"),
    ]


def test_ready_is_when_all_that_answers_is_well() -> None:
    answers = table({"m": (1, 2)}, bad={"z": 1})
    assert answers.is_ready
    answers.find("m", "1").is_healthy = False
    assert not answers.is_ready


def test_nothing_changes_before_it_is_published() -> None:
    state: ModelState[Answering] = ModelState("m")
    answers = Answers({"m": state}, "", "")
    answers.publish()
    version: Version[Answering] = Version("m", 1, Found(Path()))
    version.served = Answering(loaded("m", "1", Path(), 8))
    version.become(State.READY)
    state.versions[1], state.default = version, 1
    with pytest.raises(PredictorError):
        answers.find("m")
    answers.publish()
    assert answers.find("m").key == ("m", 1)
    assert answers.find("") is answers.find("m", "1")
