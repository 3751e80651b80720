"""What is known of versions, from one scan to the next."""

import itertools
from pathlib import Path

import pytest

from predictor.errors import (
    BadModel,
    BadSetting,
    IncompleteModel,
    Internal,
    NoMemory,
    NoResources,
    NotInTime,
)
from predictor.repository.index import IndexEntry, index_of
from predictor.repository.layout import Layout, VersionFolder
from predictor.repository.merge import BEING_WRITTEN, CHANGED, REMOVED, merge
from predictor.repository.policy import Policy, Selection
from predictor.repository.states import ModelRecord, VersionRecord, VersionState
from tests.unit.repository.doubles import Answering, failed, infos, loaded, ready

LATEST = Policy()
NOW = 1000.0
_names = itertools.count()
Models = dict[str, ModelRecord[Answering]]


@pytest.fixture
def m() -> str:
    """A model's name that no other test uses: gauges live as long as the process."""
    return f"states-{next(_names)}"


def folder_of(content: str, problem: str = "", dimensions: int | None = 8) -> VersionFolder:
    """A version whose files hold that; "" with a problem, as nothing was read then."""
    stamp = () if problem else (("model.onnx", len(content), hash(content), 1),)
    return VersionFolder(Path("/r/m/1"), stamp, problem, dimensions)


def layout_of(name: str, **versions: VersionFolder) -> Layout:
    """`_1=...`: version 1."""
    numbered = {int(number[1:]): folder for number, folder in versions.items()}
    return Layout({name: numbered} if numbered else {})


class Scans:
    """Scans of the disk, one after the other."""

    def __init__(self, name: str) -> None:
        self.name, self.models, self._before = name, Models(), None

    _before: Layout | None

    def __call__(self, **versions: VersionFolder) -> bool:
        now = layout_of(self.name, **versions)
        before, self._before = self._before, now
        return merge(self.models, now, before)

    def __getitem__(self, number: int) -> VersionRecord[Answering]:
        return self.models[self.name].versions[number]


@pytest.fixture
def scans(m: str) -> Scans:
    return Scans(m)


def available(version: VersionRecord[Answering]) -> bool:
    return version.is_available


def load(version: VersionRecord[Answering], dimensions: int = 8) -> None:
    number = str(version.number)
    version.served = Answering(loaded(version.model, number, Path(), dimensions))
    version.loaded_stamp = version.on_disk.stamp if version.on_disk else ()
    version.set_state(VersionState.READY)


def make_warm(version: VersionRecord[Answering]) -> None:
    load(version)
    version.set_state(VersionState.UNAVAILABLE, "warm")


# States


def test_the_gauges_follow_the_state(scans: Scans, m: str) -> None:
    scans(_1=folder_of("a"))
    version = scans[1]
    version.set_state(VersionState.LOADING)
    assert (ready(m, 1), failed(m, 1), infos(m)) == (0.0, 0.0, [])
    load(version)
    revision = loaded(m, "1", Path(), 8).bundle.revision
    assert (ready(m, 1), failed(m, 1), infos(m)) == (1.0, 0.0, [(m, "1", revision, "fp32")])
    version.set_state(VersionState.UNLOADING)
    assert (ready(m, 1), failed(m, 1), infos(m)) == (0.0, 0.0, [])
    version.fail(BadModel("no good"), NOW)
    assert (ready(m, 1), failed(m, 1)) == (0.0, 1.0)
    version.remove_metrics()
    assert (ready(m, 1), failed(m, 1)) == (None, None)
    version.remove_metrics()  # what was never set is no error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadModel("why"), "invalid"),
        (IncompleteModel("why"), "incomplete"),
        (BadSetting("why"), "bad_setting"),
        (Internal("why"), "internal"),
    ],
)
def test_a_version_that_failed_is_not_chosen_again(
    scans: Scans, error: BadModel, code: str
) -> None:
    scans(_1=folder_of("a"))
    version = scans[1]
    assert available(version)
    version.fail(error, NOW)
    assert (version.state, version.reason, version.code) == (VersionState.UNAVAILABLE, "why", code)
    assert not available(version)
    scans(_1=folder_of("a"))
    assert not available(version)
    assert version.reason == "why"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoMemory("why"), "memory"),
        (NoResources("why"), "resources"),
        (NotInTime("why"), "time"),
    ],
)
def test_a_fault_of_the_surroundings_is_tried_again(
    scans: Scans, error: BadModel, code: str
) -> None:
    scans(_1=folder_of("a"))
    version = scans[1]
    version.fail(error, NOW)
    assert (version.code, version.reason) == (code, "why; it is tried again after 2 s")
    (model,) = scans.models.values()
    assert model.next_retry_at == NOW + 2
    model.retry(NOW + 1.9)
    assert not available(version)
    model.retry(NOW + 2)
    assert available(version)
    assert model.next_retry_at is None


def test_each_failure_doubles_the_time_up_to_a_limit(scans: Scans) -> None:
    scans(_1=folder_of("a"))
    version = scans[1]
    delays: list[float] = []
    for _ in range(10):
        version.fail(NoMemory("why"), NOW)
        assert version.retry_at is not None
        delays.append(version.retry_at - NOW)
    assert delays == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    load(version)
    version.fail(NoMemory("why"), NOW)
    assert version.retry_at == NOW + 2


def test_other_files_or_a_request_begin_anew(scans: Scans) -> None:
    scans(_1=folder_of("a"))
    version = scans[1]
    version.fail(NoMemory("why"), NOW)
    version.fail(NoMemory("why"), NOW)
    scans(_1=folder_of("b"))
    assert (version.failed, version.retry_at, version.attempts) == (None, None, 0)
    version.fail(NoMemory("why"), NOW)
    (model,) = scans.models.values()
    model.request(1)
    assert (version.failed, version.retry_at, version.attempts) == (None, None, 0)


# Scans


def test_the_first_scan_is_taken_as_it_is(scans: Scans) -> None:
    assert not scans(_1=folder_of("a"))
    assert available(scans[1])


def test_a_new_version_counts_once_two_scans_saw_it_alike(scans: Scans, m: str) -> None:
    scans()
    assert scans(_1=folder_of("a"))
    assert not available(scans[1])
    assert (scans[1].state, scans[1].reason) == (VersionState.UNAVAILABLE, BEING_WRITTEN)
    assert failed(m, 1) == 1.0
    assert scans(_1=folder_of("ab"))
    assert not available(scans[1])
    assert not scans(_1=folder_of("ab"))
    assert available(scans[1])
    assert scans[1].reason != BEING_WRITTEN
    assert failed(m, 1) == 0.0


def test_a_version_that_failed_is_tried_again_when_its_files_change(scans: Scans) -> None:
    scans(_1=folder_of("a"))
    scans[1].fail(BadModel("no good"), NOW)
    assert scans(_1=folder_of("b"))
    assert scans[1].reason == BEING_WRITTEN
    assert not scans(_1=folder_of("b"))
    assert available(scans[1])


def test_files_that_changed_and_changed_back_leave_no_version_without_a_reason(
    scans: Scans,
) -> None:
    scans(_1=folder_of("a"))
    scans[1].fail(BadModel("no good"), NOW)
    for content in ("ab", "a", "a"):
        scans(_1=folder_of(content))
    assert available(scans[1]) or scans[1].reason


def test_files_that_may_not_be_read_for_a_moment_leave_no_version_without_a_reason(
    scans: Scans,
) -> None:
    scans(_1=folder_of("a"))
    scans[1].fail(BadModel("no good"), NOW)
    for folder in (folder_of("", "closed"), folder_of("a"), folder_of("a")):
        scans(_1=folder)
    assert available(scans[1]) or scans[1].reason


def test_a_problem_of_the_folder_makes_the_version_unavailable(scans: Scans, m: str) -> None:
    scans(_1=folder_of("", "a link that leads out"))
    assert not available(scans[1])
    assert (scans[1].reason, failed(m, 1)) == ("a link that leads out", 1.0)
    scans(_1=folder_of("a"))
    scans(_1=folder_of("a"))
    assert available(scans[1])
    assert "link" not in scans[1].reason
    assert failed(m, 1) == 0.0


def test_a_version_removed_before_it_was_loaded_leaves_the_records(scans: Scans, m: str) -> None:
    scans(_1=folder_of("a"), _2=folder_of("b"))
    scans[2].fail(BadModel("no good"), NOW)
    scans(_1=folder_of("a"))
    assert list(scans.models[m].versions) == [1]
    assert failed(m, 2) is None
    scans()
    assert scans.models == {}


def test_a_live_version_outlives_its_files(scans: Scans, m: str) -> None:
    scans(_1=folder_of("a"))
    load(scans[1])
    scans()
    assert (scans[1].state, scans[1].reason, ready(m, 1)) == (VersionState.READY, REMOVED, 1.0)
    scans(_1=folder_of("a"))
    assert (scans[1].state, scans[1].reason) == (VersionState.READY, "")


@pytest.mark.parametrize(
    "folder", [folder_of("ab"), folder_of("", "closed")], ids=["other", "unreadable"]
)
def test_a_live_version_does_not_depend_on_its_files(
    scans: Scans, m: str, folder: VersionFolder
) -> None:
    scans(_1=folder_of("a"))
    load(scans[1])
    for _ in range(3):
        scans(_1=folder)
        assert (scans[1].state, scans[1].reason) == (VersionState.READY, CHANGED)
        assert available(scans[1])
        assert (failed(m, 1), ready(m, 1)) == (0.0, 1.0)


@pytest.mark.parametrize(
    "folder", [folder_of("ab"), folder_of("", "closed")], ids=["other", "unreadable"]
)
def test_a_warm_version_does_not_depend_on_its_files(
    scans: Scans, m: str, folder: VersionFolder
) -> None:
    scans(_1=folder_of("a"))
    make_warm(scans[1])
    for now in (folder, folder, folder_of("a"), folder_of("a")):
        scans(_1=now)
        assert scans[1].is_warm
        assert available(scans[1])
    assert (scans[1].reason, failed(m, 1)) == ("warm", 0.0)


@pytest.mark.parametrize(
    "folder", [folder_of("ab"), folder_of("", "closed")], ids=["other", "unreadable"]
)
def test_a_version_that_unloads_does_not_depend_on_its_files(
    scans: Scans, folder: VersionFolder
) -> None:
    """It is neither live nor warm; who took it for warm would take it back half dead."""
    scans(_1=folder_of("a"))
    load(scans[1])
    scans[1].set_state(VersionState.UNLOADING)
    for _ in range(3):
        scans(_1=folder)
        assert scans[1].state is VersionState.UNLOADING
        assert not scans[1].is_warm


def test_a_version_that_unloads_stays_in_the_records_until_the_end(scans: Scans, m: str) -> None:
    scans(_1=folder_of("a"))
    load(scans[1])
    scans[1].set_state(VersionState.UNLOADING)
    scans()
    assert scans[1].state is VersionState.UNLOADING
    scans[1].served = None
    scans[1].set_state(VersionState.UNAVAILABLE)
    scans()
    assert scans.models == {}
    assert ready(m, 1) is None


# Requests


def model_of(m: str, *numbers: int, default: int | None = None) -> ModelRecord[Answering]:
    model: ModelRecord[Answering] = ModelRecord(m)
    for number in numbers:
        model.versions[number] = VersionRecord(m, number, folder_of(str(number)))
    if default is not None:
        load(model.versions[default])
        model.default = default
    return model


def test_the_policy_chooses_among_what_is_available(m: str) -> None:
    model = model_of(m, 1, 2, 3)
    model.versions[3].fail(BadModel("no good"), NOW)
    assert model.select(LATEST) == Selection((2,), 2)


def test_a_requested_version_is_tried_again(m: str) -> None:
    model = model_of(m, 1, 2)
    for version in model.versions.values():
        version.fail(BadModel("no good"), NOW)
    model.versions[1].is_being_written = True
    model.request(1)
    assert model.select(LATEST) == Selection((1,), 1)
    model.request(None)
    assert model.select(LATEST) == Selection((2,), 2)


def test_a_request_changes_nothing_about_a_loaded_version(m: str) -> None:
    model = model_of(m, 1, default=1)
    model.versions[1].is_being_written = True
    model.request(None)
    assert model.versions[1].is_being_written
    assert model.select(LATEST) == Selection((1,), 1)


def test_an_unloaded_version_stays_unloaded_until_it_is_requested(m: str) -> None:
    model = model_of(m, 1, 2)
    model.stop(2)
    assert model.select(LATEST) == Selection((1,), 1)
    assert (model.is_stopped(2), model.is_stopped(1)) == (True, False)
    model.stop(None)
    assert model.select(LATEST) == Selection()
    assert model.is_stopped(1)
    model.request(1)
    assert model.select(LATEST) == Selection((1,), 1)
    assert model.is_stopped(2)
    model.request(None)
    assert model.select(LATEST) == Selection((2,), 2)


def test_unloading_the_requested_version_withdraws_the_request(m: str) -> None:
    model = model_of(m, 1, 2, 3)
    model.request(2)
    model.stop(3)
    assert model.select(LATEST) == Selection((2,), 2)
    model.stop(2)
    assert model.select(LATEST) == Selection((1,), 1)
    model.request(2)
    model.stop(None)
    assert model.requested is None


def test_the_default_goes_on_if_nothing_can_replace_it(m: str) -> None:
    model = model_of(m, 1, 2, default=2)
    model.versions[2].on_disk = None
    model.versions[1].fail(BadModel("no good"), NOW)
    assert model.select(LATEST) == Selection((2,), 2)
    model.stop(2)
    assert model.select(LATEST) == Selection()


def test_a_removed_default_is_replaced_by_a_version_on_disk(m: str) -> None:
    model = model_of(m, 1, 2, default=2)
    model.versions[2].on_disk = None
    assert model.select(LATEST) == Selection((1,), 1)


def test_a_requested_default_stays_even_if_its_files_are_removed(m: str) -> None:
    model = model_of(m, 2, 3, default=2)
    model.request(2)
    model.versions[2].on_disk = None
    assert model.select(LATEST) == Selection((2,), 2)
    model.request(None)
    assert model.select(LATEST) == Selection((3,), 3)


def test_dimensions_of_the_loaded_model_precede_the_manifest(m: str) -> None:
    model = model_of(m, 1, default=1)
    version = model.versions[1]
    version.on_disk = folder_of("1", dimensions=99)
    assert version.dimensions == 8
    version.served = None
    assert version.dimensions == 99
    version.on_disk = None
    assert version.dimensions is None


def test_the_default_sets_the_dimensions(m: str) -> None:
    model = model_of(m, 1, 2, 3, default=2)
    model.versions[1].on_disk = folder_of("1", dimensions=16)
    model.versions[3].on_disk = folder_of("3", dimensions=16)
    assert model.select(LATEST) == Selection((2,), 2, frozenset({3}))


def test_a_default_that_was_unloaded_sets_no_dimensions_any_more(m: str) -> None:
    """Else the first look after it chooses nothing and the second something."""
    model = model_of(m, 1, 2, default=2)
    model.versions[1].on_disk = folder_of("1", dimensions=16)
    model.stop(2)
    first = model.select(LATEST)
    model.default = None
    assert first == model.select(LATEST)


def test_why_no_version_answers(m: str) -> None:
    model = model_of(m, 1, 2)
    assert model.explain() == "no version is loaded"
    model.versions[1].fail(BadModel("no good"), NOW)
    assert model.explain() == "version 1: no good"
    model.versions[2].fail(BadModel("worse"), NOW)
    assert model.explain() == "version 2: worse"


# The index


def test_the_index_lists_all_by_name_and_number() -> None:
    models: Models = {"b": model_of("b", 10, 9), "a": model_of("a", 1)}
    models["b"].versions[9].fail(BadModel("no good"), NOW)
    load(models["a"].versions[1])
    layout = Layout(strays={("b", "x"): "no number", ("Ä", ""): "no name"})
    assert index_of(models, layout) == [
        IndexEntry("a", "1", VersionState.READY, ""),
        IndexEntry("b", "9", VersionState.UNAVAILABLE, "no good"),
        IndexEntry("b", "10", VersionState.UNAVAILABLE, ""),
        IndexEntry("b", "x", VersionState.UNAVAILABLE, "no number"),
        IndexEntry("Ä", "", VersionState.UNAVAILABLE, "no name"),
    ]
    assert index_of({}, None) == []
