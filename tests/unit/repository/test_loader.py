"""Loading and unloading versions: room for them, warm versions, memory that is freed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from predictor.errors import BadModel, BadSetting, Internal, NoMemory, OtherDimensions
from predictor.repository.layout import VersionFolder
from predictor.repository.loader import VersionLoader
from predictor.repository.states import VersionRecord, VersionState
from predictor.repository.unloader import KEPT_LOADED, VersionUnloader
from predictor.settings import RepositorySettings, Settings
from tests.unit.repository.doubles import (
    OUTCOME,
    Answering,
    Memory,
    Opener,
    failed,
    loaded,
    loads,
    ready,
)

_names = itertools.count()
MakeLoader = Callable[..., VersionLoader[Answering]]


class Shelf:
    """Versions on disk, and all that was made of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, f"loader-{next(_names)}"
        self.made: list[Answering] = []

    def __call__(
        self, number: int, outcome: str = "good", width: int = 8
    ) -> VersionRecord[Answering]:
        folder = self.root / str(number)
        folder.mkdir(exist_ok=True)
        (folder / OUTCOME).write_text(f"{outcome} {width}")
        return VersionRecord(self.name, number, VersionFolder(folder, (("f", 1, 1, 1),)))

    def make(self, model: Any) -> Answering:
        self.made.append(Answering(model))
        return self.made[-1]

    @property
    def loaded(self) -> int:
        return sum(1 for served in self.made if not served.stopped)


def make_loader(settings: Settings) -> VersionLoader[Answering]:
    unloader: VersionUnloader[Answering] = VersionUnloader(settings)
    return VersionLoader(settings, unloader)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
async def new_loader(shelf: Shelf, opener: Opener, memory: Memory) -> AsyncIterator[MakeLoader]:
    del opener, memory
    loaders: list[VersionLoader[Answering]] = []

    def make(**options: Any) -> VersionLoader[Answering]:
        loaders.append(make_loader(Settings(repository=RepositorySettings(**options))))
        loaders[-1].start(shelf.make)
        return loaders[-1]

    yield make
    for served in shelf.made:
        served.idle.set()
    for loader in loaders:
        await loader.stop()


async def ended(loader: VersionLoader[Answering]) -> None:
    """Wait until nothing unloads."""
    while unloading := list(loader.unloader._unloading.values()):
        await asyncio.wait(unloading)
        await asyncio.sleep(0)


# Loading


async def test_a_loaded_version_is_live_and_counted(
    new_loader: MakeLoader, shelf: Shelf, opener: Opener
) -> None:
    version, before = shelf(1), loads(shelf.name, "ready")
    await new_loader().load(version, None, is_only=True)
    assert version.is_live
    assert (ready(shelf.name, 1), failed(shelf.name, 1)) == (1.0, 0.0)
    assert version.served is shelf.made[0]
    assert (shelf.made[0].started, opener.opened) == (1, [(shelf.name, 1)])
    assert loads(shelf.name, "ready") == before + 1


async def test_a_preloaded_version_is_not_loaded_again(
    new_loader: MakeLoader, shelf: Shelf, opener: Opener
) -> None:
    loader, version = new_loader(), shelf(1)
    loader.preload(version, is_only=True)
    opened = version.preloaded
    await loader.load(version, None, is_only=True)
    assert version.served is not None
    assert version.served.loaded is opened
    assert version.preloaded is None
    assert len(opener.opened) == 1


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("incomplete", BadModel),
        ("vectors", BadModel),
        ("invalid", BadModel),
        ("bad_setting", BadSetting),
        ("internal", Internal),
    ],
)
async def test_the_reason_of_a_failed_load_is_recorded(
    new_loader: MakeLoader,
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
    outcome: str,
    kind: type[Exception],
) -> None:
    loader, version = new_loader(), shelf(1, outcome)
    with pytest.raises(kind) as raised:
        await loader.load(version, None, is_only=True)
    assert (version.state, version.served, version.preloaded) == (
        VersionState.UNAVAILABLE,
        None,
        None,
    )
    assert (version.code, version.reason) == (outcome, str(raised.value))
    assert not version.is_available
    assert (ready(shelf.name, 1), failed(shelf.name, 1)) == (0.0, 1.0)
    assert loads(shelf.name, outcome) == 1
    assert "secret" not in version.reason
    assert f"{shelf.name} version 1 is not served" in caplog.text
    with pytest.raises(kind):
        loader.preload(version, is_only=True)
    assert loads(shelf.name, outcome) == 2


async def test_a_version_that_cannot_be_started_is_a_failed_load(
    new_loader: MakeLoader, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, version = new_loader(), shelf(1)

    def refuse(self: Answering) -> None:
        raise BadSetting("--default-prompt-name: the model has no prompts")

    monkeypatch.setattr(Answering, "start_answering", refuse)
    with pytest.raises(BadSetting):
        await loader.load(version, None, is_only=True)
    assert (version.served, version.preloaded, version.code) == (None, None, "bad_setting")


async def test_other_dimensions_are_refused(new_loader: MakeLoader, shelf: Shelf) -> None:
    loader, version = new_loader(), shelf(2, width=16)
    with pytest.raises(
        OtherDimensions, match="gives 16 dimensions, the vectors served so far have 8"
    ):
        await loader.load(version, 8, is_only=True)
    assert (version.code, shelf.made) == ("dimensions", [])
    await loader.load(version, None, is_only=True)
    assert version.is_live


async def test_a_version_whose_files_change_during_the_load_is_refused(
    new_loader: MakeLoader, shelf: Shelf, opener: Opener
) -> None:
    """A directory without digests may load half copied, with other pooling than its own."""
    loader, version = new_loader(), shelf(1)
    version.on_disk = VersionFolder(shelf.root / "1", _stamp(shelf.root / "1"))
    opener.during = lambda folder: (folder / "modules.json").write_text("[]")
    with pytest.raises(BadModel, match="chang"):
        await loader.load(version, None, is_only=True)
    assert (version.code, shelf.made) == ("incomplete", [])
    opener.during = lambda folder: None
    version.on_disk = VersionFolder(shelf.root / "1", _stamp(shelf.root / "1"))
    await loader.load(version, None, is_only=True)
    assert version.is_live


def _stamp(folder: Path) -> Any:
    from predictor.repository.layout import scan

    return scan(folder.parent, "m").models["m"][int(folder.name)].stamp


# Warm


async def test_a_warm_version_is_served_again_without_a_load(
    new_loader: MakeLoader, shelf: Shelf, opener: Opener
) -> None:
    loader, version = new_loader(warm_versions=1), shelf(1)
    await loader.load(version, None, is_only=True)
    loader.unloader.retire(version, why="not chosen", keep=True)
    assert version.is_warm
    assert (version.reason, version.code, ready(shelf.name, 1)) == (KEPT_LOADED, "", 0.0)
    await loader.load(version, None, is_only=True)
    assert version.is_live
    assert (len(opener.opened), len(shelf.made), shelf.made[0].stopped) == (1, 1, 0)
    loader.unloader.retire(version, why="", keep=True)
    assert version.is_warm


async def test_the_versions_retired_last_stay_warm(new_loader: MakeLoader, shelf: Shelf) -> None:
    loader = new_loader(warm_versions=2)
    versions = [shelf(number) for number in (1, 2, 3)]
    for version in versions:
        await loader.load(version, None, is_only=True)
    for version in versions[:2]:
        loader.unloader.retire(version, why="", keep=True)
    await loader.load(versions[0], None, is_only=True)
    loader.unloader.retire(versions[0], why="", keep=True)  # used again: 2 is the oldest now
    loader.unloader.retire(versions[2], why="", keep=True)
    await ended(loader)
    assert [version.is_warm for version in versions] == [True, False, True]
    assert [served.stopped for served in shelf.made] == [0, 1, 0]


async def test_pinned_versions_stay_warm(new_loader: MakeLoader, shelf: Shelf) -> None:
    loader = new_loader(warm_versions=0, pin_versions=f"{shelf.name}:1")
    first, second = shelf(1), shelf(2)
    for version in (first, second):
        await loader.load(version, None, is_only=True)
        loader.unloader.retire(version, why="not chosen", keep=True)
    await ended(loader)
    assert (first.is_warm, second.is_warm) == (True, False)
    assert (second.state, second.reason) == (VersionState.UNAVAILABLE, "not chosen")


async def test_a_version_that_must_not_be_kept_is_unloaded(
    new_loader: MakeLoader, shelf: Shelf
) -> None:
    loader, version = new_loader(pin_versions=f"{shelf.name}:1"), shelf(1)
    await loader.load(version, None, is_only=True)
    loader.unloader.retire(version, why="unloaded", keep=False)
    await ended(loader)
    assert (version.served, version.reason) == (None, "unloaded")


def test_a_malformed_list_of_pinned_versions_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match="--pin-versions"):
        VersionUnloader(Settings(repository=RepositorySettings(pin_versions="m")))


# Unloading


async def test_a_retired_version_unloads_after_its_last_request(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory
) -> None:
    loader, version = new_loader(warm_versions=0), shelf(1)
    await loader.load(version, None, is_only=True)
    shelf.made[0].idle.clear()
    loader.unloader.retire(version, why="not chosen", keep=True)
    await asyncio.sleep(0)
    assert version.state is VersionState.UNLOADING
    assert (shelf.made[0].stopped, memory.given_back) == (1, 0)
    shelf.made[0].idle.set()
    await ended(loader)
    assert (version.state, version.reason) == (VersionState.UNAVAILABLE, "not chosen")
    assert (version.served, memory.given_back) == (None, 1)


async def test_a_load_of_a_version_that_unloads_waits_for_the_end(
    new_loader: MakeLoader, shelf: Shelf, opener: Opener
) -> None:
    loader, version = new_loader(warm_versions=0), shelf(1)
    await loader.load(version, None, is_only=True)
    shelf.made[0].idle.clear()
    loader.unloader.retire(version, why="", keep=True)
    again = asyncio.create_task(loader.load(version, None, is_only=True))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not again.done()
    assert len(opener.opened) == 1
    shelf.made[0].idle.set()
    await again
    assert version.is_live
    assert version.served is shelf.made[1]


async def test_a_version_that_did_not_unload_cleanly_can_be_loaded_again(
    new_loader: MakeLoader, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    loader, version = new_loader(warm_versions=0), shelf(1)
    await loader.load(version, None, is_only=True)
    shelf.made[0].fails_to_stop = True
    loader.unloader.retire(version, why="", keep=True)
    await ended(loader)
    assert "did not unload" in caplog.text
    assert (version.state, version.code) == (VersionState.UNAVAILABLE, "internal")
    assert not version.is_warm
    await loader.load(version, None, is_only=True)
    assert version.is_live
    assert version.served is shelf.made[1]


async def test_stop_unloads_warm_versions_and_waits_for_those_that_unload(
    new_loader: MakeLoader, shelf: Shelf
) -> None:
    loader = new_loader(warm_versions=1, pin_versions=f"{shelf.name}:3")
    for number in (1, 2, 3):
        version = shelf(number)
        await loader.load(version, None, is_only=True)
        loader.unloader.retire(version, why="", keep=True)
    shelf.made[1].idle.clear()
    stopping = asyncio.create_task(loader.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    shelf.made[1].idle.set()
    await stopping
    assert [served.stopped for served in shelf.made] == [1, 1, 1]


# Memory


def accountant(memory: Memory, shelf: Shelf, limit: int) -> None:
    """100 MiB and 50 for each version; what was unloaded or dropped is given back at once."""
    memory.limit = limit
    memory.resident = lambda: 100 + 50 * shelf.loaded


async def test_a_version_that_does_not_fit_is_refused_with_the_numbers(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory, opener: Opener
) -> None:
    accountant(memory, shelf, limit=180)
    loader, first, second = new_loader(), shelf(1), shelf(2)
    await loader.load(first, None, is_only=True)
    sentence = "needs about 50 MiB beside the 150 MiB in use; the limit is 180 MiB"
    with pytest.raises(NoMemory, match=sentence):
        await loader.load(second, None, is_only=True)
    with pytest.raises(NoMemory):
        loader.preload(second, is_only=True)
    assert (second.code, failed(shelf.name, 2), loads(shelf.name, "memory")) == ("memory", 1.0, 2)
    assert opener.opened == [(shelf.name, 1)]
    assert first.is_live


@pytest.mark.parametrize("way", ["load", "preload"])
async def test_unused_memory_is_given_back_before_a_version_is_refused(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory, way: str
) -> None:
    """One long text leaves hundreds of MiB behind, and nothing else uses them."""
    memory.limit = 180
    memory.resident = lambda: 100 if memory.given_back else 170
    loader, version = new_loader(warm_versions=5), shelf(1)
    if way == "preload":
        loader.preload(version, is_only=True)
    await loader.load(version, None, is_only=True)
    assert (version.is_live, memory.given_back) == (True, 1)


async def test_warm_versions_stay_if_unused_memory_is_enough(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory
) -> None:
    memory.limit = 250
    loader = new_loader(warm_versions=5)
    first, second = shelf(1), shelf(2)
    memory.resident = lambda: 100 + 50 * shelf.loaded
    await loader.load(first, None, is_only=True)
    loader.unloader.retire(first, why="", keep=True)
    memory.resident = lambda: (100 if memory.given_back else 170) + 50 * shelf.loaded
    await loader.load(second, None, is_only=True)
    assert (first.is_warm, second.is_live, memory.given_back) == (True, True, 1)


async def test_warm_versions_make_room_the_oldest_first(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory
) -> None:
    accountant(memory, shelf, limit=260)
    loader = new_loader(warm_versions=5)
    versions = [shelf(number) for number in (1, 2, 3, 4)]
    for version in versions[:3]:
        await loader.load(version, None, is_only=True)
    for version in versions[:2]:
        loader.unloader.retire(version, why="", keep=True)
    await loader.load(versions[3], None, is_only=True)
    assert [version.served is not None for version in versions] == [False, True, True, True]
    assert (shelf.made[0].stopped, memory.given_back) == (1, 2)
    assert versions[0].state is VersionState.UNAVAILABLE


async def test_pinned_versions_do_not_make_room(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory
) -> None:
    accountant(memory, shelf, limit=200)
    loader = new_loader(pin_versions=f"{shelf.name}:1")
    first, second, third = shelf(1), shelf(2), shelf(3)
    for version in (first, second):
        await loader.load(version, None, is_only=True)
        loader.unloader.retire(version, why="", keep=True)
    await loader.load(third, None, is_only=True)
    assert (first.is_warm, second.is_warm, third.is_live) == (True, False, True)
    with pytest.raises(NoMemory):
        await loader.load(shelf(4), None, is_only=True)
    assert first.is_warm


async def test_a_version_that_unloads_is_waited_for_before_another_is_refused(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory
) -> None:
    """Unload one and load another: the memory of the first comes back a moment later."""
    memory.limit = 180
    unloaded: list[Answering] = []
    memory.resident = lambda: 100 + 50 * (len(shelf.made) - len(unloaded))
    loader, first, second = new_loader(), shelf(1), shelf(2)
    await loader.load(first, None, is_only=True)
    shelf.made[0].idle.clear()
    loader.unloader.retire(first, why="", keep=False)
    loading = asyncio.create_task(loader.load(second, None, is_only=True))
    for _ in range(10):
        await asyncio.sleep(0)
    unloaded.append(shelf.made[0])
    shelf.made[0].idle.set()
    await loading
    assert second.is_live


async def test_a_load_over_its_estimate_unloads_warm_versions(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory, opener: Opener
) -> None:
    """Files tell only about what a version needs; afterwards it shows, and is not added twice."""
    memory.limit, used = 260, 0
    memory.resident = lambda: 100 + 50 * shelf.loaded + used

    def take(folder: Path) -> None:
        nonlocal used
        used = 70 if folder.name == "3" else 0

    opener.during = take
    loader = new_loader(warm_versions=5)
    first, second, third = shelf(1), shelf(2), shelf(3)
    for version in (first, second):
        await loader.load(version, None, is_only=True)
        loader.unloader.retire(version, why="", keep=True)
    await loader.load(third, None, is_only=True)
    assert (first.is_warm, second.is_warm, third.is_live) == (False, True, True)


async def test_a_load_over_the_limit_is_refused(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory, opener: Opener
) -> None:
    memory.limit, used = 180, 0
    memory.resident = lambda: 100 + used

    def take(folder: Path) -> None:
        nonlocal used
        used = 90

    opener.during = take
    version = shelf(1)
    with pytest.raises(NoMemory):
        await new_loader().load(version, None, is_only=True)
    assert (version.code, version.served) == ("memory", None)
    assert memory.given_back == 2


@pytest.mark.parametrize("outcome", ["vectors", "internal"])
async def test_the_memory_of_what_failed_is_given_back(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory, outcome: str
) -> None:
    with pytest.raises((BadModel, Internal)):
        await new_loader().load(shelf(1, outcome), None, is_only=True)
    assert memory.given_back == 1


async def test_without_a_limit_any_version_fits(
    new_loader: MakeLoader, shelf: Shelf, memory: Memory
) -> None:
    memory.resident = lambda: 1 << 40
    version = shelf(1)
    await new_loader().load(version, None, is_only=True)
    assert version.is_live


def test_preloading_needs_no_event_loop(shelf: Shelf, opener: Opener, memory: Memory) -> None:
    del opener, memory
    loader = make_loader(Settings())
    version = shelf(1)
    loader.preload(version, is_only=True)
    assert version.preloaded is not None
    assert version.dimensions == 8
    assert loaded(shelf.name, "1", shelf.root / "1", 8).bundle == version.preloaded.bundle
