"""What is known of versions, from one look to the next."""

import itertools
from pathlib import Path

import pytest

from predictor.errors import BadModel, BadSetting, IncompleteModel, Internal, NoMemory
from predictor.repository.layout import Found, Layout
from predictor.repository.policy import Policy, Selection
from predictor.repository.states import (
    CHANGED,
    GONE,
    SETTLING,
    IndexEntry,
    ModelState,
    State,
    Version,
    index_of,
    merge,
)
from tests.unit.repository.doubles import Answering, failed, infos, loaded, ready

LATEST = Policy()
_names = itertools.count()
Models = dict[str, ModelState[Answering]]


@pytest.fixture
def m() -> str:
    """A model's name that no other test uses: gauges live as long as the process."""
    return f"states-{next(_names)}"


def seen(content: str, problem: str = "", dimensions: int | None = 8) -> Found:
    """A version whose files hold that; "" with a problem, as nothing was read then."""
    stamp = () if problem else (("model.onnx", len(content), hash(content), 1),)
    return Found(Path("/r/m/1"), stamp, problem, dimensions)


def look(name: str, **versions: Found) -> Layout:
    """`_1=...`: version 1."""
    numbered = {int(number[1:]): there for number, there in versions.items()}
    return Layout({name: numbered} if numbered else {})


class Looks:
    """Looks at the disk, one after the other."""

    def __init__(self, name: str) -> None:
        self.name, self.models, self._before = name, Models(), None

    _before: Layout | None

    def __call__(self, **versions: Found) -> bool:
        now = look(self.name, **versions)
        before, self._before = self._before, now
        return merge(self.models, now, before)

    def __getitem__(self, number: int) -> Version[Answering]:
        return self.models[self.name].versions[number]


@pytest.fixture
def looks(m: str) -> Looks:
    return Looks(m)


def available(version: Version[Answering]) -> bool:
    return version.is_available


def bring_up(version: Version[Answering], dimensions: int = 8) -> None:
    number = str(version.number)
    version.served = Answering(loaded(version.model, number, Path(), dimensions))
    version.loaded_stamp = version.found.stamp if version.found else ()
    version.become(State.READY)


def make_warm(version: Version[Answering]) -> None:
    bring_up(version)
    version.become(State.UNAVAILABLE, "warm")


# Becoming


def test_the_gauges_follow_the_state(looks: Looks, m: str) -> None:
    looks(_1=seen("a"))
    version = looks[1]
    version.become(State.LOADING)
    assert (ready(m, 1), failed(m, 1), infos(m)) == (0.0, 0.0, [])
    bring_up(version)
    revision = loaded(m, "1", Path(), 8).bundle.revision
    assert (ready(m, 1), failed(m, 1), infos(m)) == (1.0, 0.0, [(m, "1", revision, "fp32")])
    version.become(State.UNLOADING)
    assert (ready(m, 1), failed(m, 1), infos(m)) == (0.0, 0.0, [])
    version.fail(BadModel("no good"))
    assert (ready(m, 1), failed(m, 1)) == (0.0, 1.0)
    version.forget()
    assert (ready(m, 1), failed(m, 1)) == (None, None)
    version.forget()  # what was never set is no error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadModel("why"), "invalid"),
        (IncompleteModel("why"), "incomplete"),
        (NoMemory("why"), "memory"),
        (BadSetting("why"), "bad_setting"),
        (Internal("why"), "internal"),
    ],
)
def test_a_version_that_failed_is_not_chosen_again(
    looks: Looks, error: BadModel, code: str
) -> None:
    looks(_1=seen("a"))
    version = looks[1]
    assert available(version)
    version.fail(error)
    assert (version.state, version.reason, version.code) == (State.UNAVAILABLE, "why", code)
    assert not available(version)
    looks(_1=seen("a"))
    assert not available(version)
    assert version.reason == "why"


# Looks


def test_the_first_look_is_believed(looks: Looks) -> None:
    assert not looks(_1=seen("a"))
    assert available(looks[1])


def test_what_appears_later_is_believed_when_seen_twice(looks: Looks, m: str) -> None:
    looks()
    assert looks(_1=seen("a"))
    assert not available(looks[1])
    assert (looks[1].state, looks[1].reason) == (State.UNAVAILABLE, SETTLING)
    assert failed(m, 1) == 1.0
    assert looks(_1=seen("ab"))
    assert not available(looks[1])
    assert not looks(_1=seen("ab"))
    assert available(looks[1])
    assert looks[1].reason != SETTLING
    assert failed(m, 1) == 0.0


def test_a_version_that_failed_is_tried_again_when_its_files_change(looks: Looks) -> None:
    looks(_1=seen("a"))
    looks[1].fail(BadModel("no good"))
    assert looks(_1=seen("b"))
    assert looks[1].reason == SETTLING
    assert not looks(_1=seen("b"))
    assert available(looks[1])


def test_files_that_changed_and_changed_back_leave_no_version_without_a_reason(
    looks: Looks,
) -> None:
    looks(_1=seen("a"))
    looks[1].fail(BadModel("no good"))
    for content in ("ab", "a", "a"):
        looks(_1=seen(content))
    assert available(looks[1]) or looks[1].reason


def test_files_that_may_not_be_read_for_a_moment_leave_no_version_without_a_reason(
    looks: Looks,
) -> None:
    looks(_1=seen("a"))
    looks[1].fail(BadModel("no good"))
    for there in (seen("", "closed"), seen("a"), seen("a")):
        looks(_1=there)
    assert available(looks[1]) or looks[1].reason


def test_a_problem_from_outside(looks: Looks, m: str) -> None:
    looks(_1=seen("", "a link that leads out"))
    assert not available(looks[1])
    assert (looks[1].reason, failed(m, 1)) == ("a link that leads out", 1.0)
    looks(_1=seen("a"))
    looks(_1=seen("a"))
    assert available(looks[1])
    assert "link" not in looks[1].reason
    assert failed(m, 1) == 0.0


def test_a_version_that_goes_before_it_was_loaded_is_forgotten(looks: Looks, m: str) -> None:
    looks(_1=seen("a"), _2=seen("b"))
    looks[2].fail(BadModel("no good"))
    looks(_1=seen("a"))
    assert list(looks.models[m].versions) == [1]
    assert failed(m, 2) is None
    looks()
    assert looks.models == {}


def test_a_live_version_outlives_its_files(looks: Looks, m: str) -> None:
    looks(_1=seen("a"))
    bring_up(looks[1])
    looks()
    assert (looks[1].state, looks[1].reason, ready(m, 1)) == (State.READY, GONE, 1.0)
    looks(_1=seen("a"))
    assert (looks[1].state, looks[1].reason) == (State.READY, "")


@pytest.mark.parametrize("there", [seen("ab"), seen("", "closed")], ids=["other", "unreadable"])
def test_a_live_version_does_not_mind_its_files(looks: Looks, m: str, there: Found) -> None:
    looks(_1=seen("a"))
    bring_up(looks[1])
    for _ in range(3):
        looks(_1=there)
        assert (looks[1].state, looks[1].reason) == (State.READY, CHANGED)
        assert available(looks[1])
        assert (failed(m, 1), ready(m, 1)) == (0.0, 1.0)


@pytest.mark.parametrize("there", [seen("ab"), seen("", "closed")], ids=["other", "unreadable"])
def test_a_warm_version_does_not_mind_its_files(looks: Looks, m: str, there: Found) -> None:
    looks(_1=seen("a"))
    make_warm(looks[1])
    for now in (there, there, seen("a"), seen("a")):
        looks(_1=now)
        assert looks[1].is_warm
        assert available(looks[1])
    assert (looks[1].reason, failed(m, 1)) == ("warm", 0.0)


@pytest.mark.parametrize("there", [seen("ab"), seen("", "closed")], ids=["other", "unreadable"])
def test_a_version_that_is_unloading_does_not_mind_its_files(looks: Looks, there: Found) -> None:
    """It is neither live nor warm; who took it for warm would take it back half dead."""
    looks(_1=seen("a"))
    bring_up(looks[1])
    looks[1].become(State.UNLOADING)
    for _ in range(3):
        looks(_1=there)
        assert looks[1].state is State.UNLOADING
        assert not looks[1].is_warm


def test_a_version_that_is_unloading_is_not_forgotten_before_it_has(looks: Looks, m: str) -> None:
    looks(_1=seen("a"))
    bring_up(looks[1])
    looks[1].become(State.UNLOADING)
    looks()
    assert looks[1].state is State.UNLOADING
    looks[1].served = None
    looks[1].become(State.UNAVAILABLE)
    looks()
    assert looks.models == {}
    assert ready(m, 1) is None


# Wishes


def model_of(m: str, *numbers: int, default: int | None = None) -> ModelState[Answering]:
    model: ModelState[Answering] = ModelState(m)
    for number in numbers:
        model.versions[number] = Version(m, number, seen(str(number)))
    if default is not None:
        bring_up(model.versions[default])
        model.default = default
    return model


def test_the_policy_chooses_among_what_is_available(m: str) -> None:
    model = model_of(m, 1, 2, 3)
    model.versions[3].fail(BadModel("no good"))
    assert model.select(LATEST) == Selection((2,), 2)


def test_a_version_that_was_asked_for_is_tried_again(m: str) -> None:
    model = model_of(m, 1, 2)
    for version in model.versions.values():
        version.fail(BadModel("no good"))
    model.versions[1].settling = True
    model.ask(1)
    assert model.select(LATEST) == Selection((1,), 1)
    model.ask(None)
    assert model.select(LATEST) == Selection((2,), 2)


def test_asking_changes_nothing_about_what_is_loaded(m: str) -> None:
    model = model_of(m, 1, default=1)
    model.versions[1].settling = True
    model.ask(None)
    assert model.versions[1].settling
    assert model.select(LATEST) == Selection((1,), 1)


def test_what_was_unloaded_stays_so_until_it_is_asked_for(m: str) -> None:
    model = model_of(m, 1, 2)
    model.stop(2)
    assert model.select(LATEST) == Selection((1,), 1)
    assert (model.is_stopped(2), model.is_stopped(1)) == (True, False)
    model.stop(None)
    assert model.select(LATEST) == Selection()
    assert model.is_stopped(1)
    model.ask(1)
    assert model.select(LATEST) == Selection((1,), 1)
    assert model.is_stopped(2)
    model.ask(None)
    assert model.select(LATEST) == Selection((2,), 2)


def test_unloading_what_was_asked_for_takes_the_wish_back(m: str) -> None:
    model = model_of(m, 1, 2, 3)
    model.ask(2)
    model.stop(3)
    assert model.select(LATEST) == Selection((2,), 2)
    model.stop(2)
    assert model.select(LATEST) == Selection((1,), 1)
    model.ask(2)
    model.stop(None)
    assert model.asked is None


def test_what_answers_goes_on_where_nothing_can_take_its_place(m: str) -> None:
    model = model_of(m, 1, 2, default=2)
    model.versions[2].found = None
    model.versions[1].fail(BadModel("no good"))
    assert model.select(LATEST) == Selection((2,), 2)
    model.stop(2)
    assert model.select(LATEST) == Selection()


def test_what_answers_and_is_gone_makes_room_for_what_is_there(m: str) -> None:
    model = model_of(m, 1, 2, default=2)
    model.versions[2].found = None
    assert model.select(LATEST) == Selection((1,), 1)


def test_who_went_back_stays_there_even_if_the_files_go(m: str) -> None:
    model = model_of(m, 2, 3, default=2)
    model.ask(2)
    model.versions[2].found = None
    assert model.select(LATEST) == Selection((2,), 2)
    model.ask(None)
    assert model.select(LATEST) == Selection((3,), 3)


def test_dimensions_of_what_was_loaded_count_more_than_the_manifest(m: str) -> None:
    model = model_of(m, 1, default=1)
    version = model.versions[1]
    version.found = seen("1", dimensions=99)
    assert version.dimensions == 8
    version.served = None
    assert version.dimensions == 99
    version.found = None
    assert version.dimensions is None


def test_the_default_sets_the_dimensions(m: str) -> None:
    model = model_of(m, 1, 2, 3, default=2)
    model.versions[1].found = seen("1", dimensions=16)
    model.versions[3].found = seen("3", dimensions=16)
    assert model.select(LATEST) == Selection((2,), 2, frozenset({3}))


def test_a_default_that_was_unloaded_sets_no_dimensions_any_more(m: str) -> None:
    """Else the first look after it chooses nothing and the second something."""
    model = model_of(m, 1, 2, default=2)
    model.versions[1].found = seen("1", dimensions=16)
    model.stop(2)
    first = model.select(LATEST)
    model.default = None
    assert first == model.select(LATEST)


def test_why_no_version_answers(m: str) -> None:
    model = model_of(m, 1, 2)
    assert model.explain() == "no version is loaded"
    model.versions[1].fail(BadModel("no good"))
    assert model.explain() == "version 1: no good"
    model.versions[2].fail(BadModel("worse"))
    assert model.explain() == "version 2: worse"


# The index


def test_the_index_lists_all_by_name_and_number() -> None:
    models: Models = {"b": model_of("b", 10, 9), "a": model_of("a", 1)}
    models["b"].versions[9].fail(BadModel("no good"))
    bring_up(models["a"].versions[1])
    layout = Layout(strays={("b", "x"): "no number", ("Ä", ""): "no name"})
    assert index_of(models, layout) == [
        IndexEntry("a", "1", State.READY, ""),
        IndexEntry("b", "9", State.UNAVAILABLE, "no good"),
        IndexEntry("b", "10", State.UNAVAILABLE, ""),
        IndexEntry("b", "x", State.UNAVAILABLE, "no number"),
        IndexEntry("Ä", "", State.UNAVAILABLE, "no name"),
    ]
    assert index_of({}, None) == []
