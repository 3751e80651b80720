"""Which version answers for a name, and the error where none does."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from predictor.errors import BadModel, ModelNotFound, NotReady, PredictorError
from predictor.repository.layout import VersionFolder
from predictor.repository.routing_table import RoutingTable
from predictor.repository.states import ModelRecord, VersionRecord, VersionState
from tests.unit.repository.doubles import Answering, loaded


def table(
    models: Mapping[str, tuple[int, ...]],
    *,
    default_model: str = "",
    only: str = "model",
    bad: Mapping[str, int] | None = None,
) -> RoutingTable[Answering]:
    """Live versions by model, the last of which is the default; `bad`: versions that may not."""
    states: dict[str, ModelRecord[Answering]] = {}
    for name, numbers in models.items():
        state = states[name] = ModelRecord(name)
        for number in numbers:
            version: VersionRecord[Answering] = VersionRecord(name, number, VersionFolder(Path()))
            version.served = Answering(loaded(name, str(number), Path(), 8))
            version.set_state(VersionState.READY)
            state.versions[number] = version
        state.default = numbers[-1] if numbers else None
    for name, number in (bad or {}).items():
        broken: VersionRecord[Answering] = VersionRecord(name, number, VersionFolder(Path()))
        broken.fail(BadModel("its files are no good"), 0.0)
        states.setdefault(name, ModelRecord(name)).versions[number] = broken
    routing_table = RoutingTable(states, default_model, only)
    routing_table.publish()
    return routing_table


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
def test_a_version_is_found_by_name_and_number(
    name: str, version: str, key: tuple[str, int]
) -> None:
    assert table({"m": (1, 2), "n": (7,)}).find(name, version).key == key


def test_no_name_means_the_only_model() -> None:
    routing_table = table({"m": (1, 2)})
    assert routing_table.find("").key == ("m", 2)
    assert routing_table.find("", "1").key == ("m", 1)
    assert routing_table.find(":1").key == ("m", 1)


def test_no_name_means_the_default_model() -> None:
    models = {"m": (1,), "n": (1,)}
    assert table(models, default_model="n").find("").key == ("n", 1)
    assert table(models, only="m").find("").key == ("m", 1)
    assert table(models, default_model="n", only="m").find("").key == ("n", 1)


def test_no_name_among_several_models_is_an_error() -> None:
    with pytest.raises(ModelNotFound, match=r"several models are served \(m, n\): name one"):
        table({"n": (1,), "m": (1,)}).find("")


@pytest.mark.parametrize(
    "name", ["", "m/1", "../m", "..%2fm", "m:1:1", "M", " m", "x" * 10_000, "m\n", "\ud800"]
)
@pytest.mark.parametrize("version", ["", "../1", "3"])
def test_an_unknown_model_is_not_found(name: str, version: str) -> None:
    with pytest.raises(ModelNotFound) as raised:
        table({"m": (1, 2), "n": (1,)}).find(name, version)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("version", ["3", "01", "abc", "1.5", "-1", "0", " 1"])
def test_a_version_that_is_not_served(version: str) -> None:
    with pytest.raises(ModelNotFound, match=r"model 'm' has no version .*; served: 1, 2"):
        table({"m": (1, 2)}).find("m", version)


def test_a_model_of_which_nothing_answers_is_not_ready() -> None:
    routing_table = table({"n": (1,)}, bad={"m": 3})
    with pytest.raises(NotReady, match="model 'm' is not ready: version 3: its files are no good"):
        routing_table.find("m")
    assert routing_table.find("n").key == ("n", 1)


def test_before_any_model_is_known_the_server_is_not_ready() -> None:
    routing_table = table({})
    with pytest.raises(NotReady, match="no model is loaded yet"):
        routing_table.find("")
    with pytest.raises(ModelNotFound, match="'m' is not served here; served: none"):
        routing_table.find("m")
    assert not routing_table.is_ready
    assert routing_table.all() == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("MiniLM", "minilm"), ("all-minilm-v2", "minilm-v2"), ("e5", ""), ("minilm-v22", "minilm-v2")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    hint = f"the nearest is {nearest!r}; " if nearest else ""
    with pytest.raises(ModelNotFound) as caught:
        table({"minilm": (1,), "minilm-v2": (1,)}).find(name)
    assert str(caught.value) == (
        f"model {name!r} is not served here; {hint}served: minilm, minilm-v2"
    )


def test_a_long_list_of_models_is_cut() -> None:
    with pytest.raises(ModelNotFound, match=r"served: m00, m01, .*, m19 and 5 more$"):
        table({f"m{number:02}": (1,) for number in range(25)}).find("other")


def test_a_default_model_that_is_unknown_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="'z' is not served here; served: m"):
        table({"m": (1,)}, default_model="z").find("")


def test_names_and_versions_are_listed() -> None:
    routing_table = table({"n": (10, 2), "m": (1,)}, bad={"z": 1})
    assert routing_table.names() == ["m", "n", "z"]
    assert routing_table.versions("n") == ["2", "10"]
    assert routing_table.versions("z") == []
    assert routing_table.versions("unknown") == []
    assert sorted(served.key for served in routing_table.all()) == [("m", 1), ("n", 2), ("n", 10)]


def test_versions_that_should_answer_and_cannot_are_problems() -> None:
    routing_table = table({"m": (1,)}, bad={"m": 2, "z": 1})
    assert [(e.name, e.version, e.reason) for e in routing_table.problems()] == [
        ("m", "2", "its files are no good"),
        ("z", "1", "its files are no good"),
    ]


def test_the_table_is_ready_when_all_versions_are_healthy() -> None:
    routing_table = table({"m": (1, 2)}, bad={"z": 1})
    assert routing_table.is_ready
    routing_table.find("m", "1").is_healthy = False
    assert not routing_table.is_ready


def test_nothing_changes_before_it_is_published() -> None:
    state: ModelRecord[Answering] = ModelRecord("m")
    routing_table = RoutingTable({"m": state}, "", "")
    routing_table.publish()
    version: VersionRecord[Answering] = VersionRecord("m", 1, VersionFolder(Path()))
    version.served = Answering(loaded("m", "1", Path(), 8))
    version.set_state(VersionState.READY)
    state.versions[1], state.default = version, 1
    with pytest.raises(PredictorError):
        routing_table.find("m")
    routing_table.publish()
    assert routing_table.find("m").key == ("m", 1)
    assert routing_table.find("") is routing_table.find("m", "1")


def test_an_alias_is_the_default_model_and_never_hides_a_model() -> None:
    states = table({"m": (1, 2), "n": (7,)})._models
    routing_table = RoutingTable(states, "m", "", ("x", "n", "x:latest"))
    routing_table.publish()
    assert routing_table.find("x").key == ("m", 2)
    assert routing_table.find("x", "1").key == ("m", 1)
    assert routing_table.find("x:1").key == ("m", 1)
    assert routing_table.find("x:latest").key == ("m", 2)
    assert routing_table.find("n").key == ("n", 7)
    assert routing_table.aliases == {"m": ("x", "x:latest")}
    assert len(routing_table.all()) == 3
    assert routing_table.names() == ["m", "n"]
