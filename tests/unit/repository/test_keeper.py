"""Bringing versions up and down: room for them, what is kept warm, what is given back."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from predictor.errors import BadModel, BadSetting, Internal, NoMemory, OtherDimensions
from predictor.repository.keeper import WARM, Keeper
from predictor.repository.layout import Found
from predictor.repository.states import State, Version
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
MakeKeeper = Callable[..., Keeper[Answering]]


class Shelf:
    """Versions on disk, and all that was made of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, f"keeper-{next(_names)}"
        self.made: list[Answering] = []

    def __call__(self, number: int, outcome: str = "good", width: int = 8) -> Version[Answering]:
        folder = self.root / str(number)
        folder.mkdir(exist_ok=True)
        (folder / OUTCOME).write_text(f"{outcome} {width}")
        return Version(self.name, number, Found(folder, (("f", 1, 1, 1),)))

    def make(self, model: Any) -> Answering:
        self.made.append(Answering(model))
        return self.made[-1]

    @property
    def loaded(self) -> int:
        return sum(1 for one in self.made if not one.stopped)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
async def keeping(shelf: Shelf, opener: Opener, memory: Memory) -> AsyncIterator[MakeKeeper]:
    del opener, memory
    keepers: list[Keeper[Answering]] = []

    def make(**options: Any) -> Keeper[Answering]:
        keepers.append(Keeper(Settings(repository=RepositorySettings(**options))))
        keepers[-1].start(shelf.make)
        return keepers[-1]

    yield make
    for served in shelf.made:
        served.idle.set()
    for keeper in keepers:
        await keeper.stop()


async def ended(keeper: Keeper[Answering]) -> None:
    """Wait until nothing is leaving."""
    while leaving := list(keeper._leaving.values()):
        await asyncio.wait(leaving)
        await asyncio.sleep(0)


# Up


async def test_up(keeping: MakeKeeper, shelf: Shelf, opener: Opener) -> None:
    version, before = shelf(1), loads(shelf.name, "ready")
    await keeping().bring_up(version, None)
    assert version.is_live
    assert (ready(shelf.name, 1), failed(shelf.name, 1)) == (1.0, 0.0)
    assert version.served is shelf.made[0]
    assert (shelf.made[0].started, opener.opened) == (1, [(shelf.name, 1)])
    assert loads(shelf.name, "ready") == before + 1


async def test_what_was_opened_before_is_not_opened_again(
    keeping: MakeKeeper, shelf: Shelf, opener: Opener
) -> None:
    keeper, version = keeping(), shelf(1)
    keeper.open_now(version)
    opened = version.opened
    await keeper.bring_up(version, None)
    assert version.served is not None
    assert version.served.loaded is opened
    assert version.opened is None
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
async def test_what_fails_is_written_down(
    keeping: MakeKeeper,
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
    outcome: str,
    kind: type[Exception],
) -> None:
    keeper, version = keeping(), shelf(1, outcome)
    with pytest.raises(kind) as raised:
        await keeper.bring_up(version, None)
    assert (version.state, version.served, version.opened) == (State.UNAVAILABLE, None, None)
    assert (version.code, version.reason) == (outcome, str(raised.value))
    assert not version.is_available
    assert (ready(shelf.name, 1), failed(shelf.name, 1)) == (0.0, 1.0)
    assert loads(shelf.name, outcome) == 1
    assert "secret" not in version.reason
    assert f"{shelf.name} version 1 is not served" in caplog.text
    with pytest.raises(kind):
        keeper.open_now(version)
    assert loads(shelf.name, outcome) == 2


async def test_who_makes_nothing_of_it_is_a_failure_too(
    keeping: MakeKeeper, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, version = keeping(), shelf(1)

    def refuse(self: Answering) -> None:
        raise BadSetting("--default-prompt-name: the model has no prompts")

    monkeypatch.setattr(Answering, "start_answering", refuse)
    with pytest.raises(BadSetting):
        await keeper.bring_up(version, None)
    assert (version.served, version.opened, version.code) == (None, None, "bad_setting")


async def test_other_dimensions_are_refused(keeping: MakeKeeper, shelf: Shelf) -> None:
    keeper, version = keeping(), shelf(2, width=16)
    with pytest.raises(OtherDimensions, match="gives 16 dimensions, the vectors so far have 8"):
        await keeper.bring_up(version, 8)
    assert (version.code, shelf.made) == ("dimensions", [])
    await keeper.bring_up(version, None)
    assert version.is_live


async def test_files_that_change_while_they_are_read_are_not_believed(
    keeping: MakeKeeper, shelf: Shelf, opener: Opener
) -> None:
    """A directory without digests may load half copied, with other pooling than its own."""
    keeper, version = keeping(), shelf(1)
    version.found = Found(shelf.root / "1", _stamp(shelf.root / "1"))
    opener.during = lambda folder: (folder / "modules.json").write_text("[]")
    with pytest.raises(BadModel, match="chang"):
        await keeper.bring_up(version, None)
    assert (version.code, shelf.made) == ("incomplete", [])
    opener.during = lambda folder: None
    version.found = Found(shelf.root / "1", _stamp(shelf.root / "1"))
    await keeper.bring_up(version, None)
    assert version.is_live


def _stamp(folder: Path) -> Any:
    from predictor.repository.layout import scan

    return scan(folder.parent, "m").models["m"][int(folder.name)].stamp


# Warm


async def test_warm_versions_come_back_at_once(
    keeping: MakeKeeper, shelf: Shelf, opener: Opener
) -> None:
    keeper, version = keeping(warm_versions=1), shelf(1)
    await keeper.bring_up(version, None)
    keeper.retire(version, why="not chosen", keep=True)
    assert version.is_warm
    assert (version.reason, version.code, ready(shelf.name, 1)) == (WARM, "", 0.0)
    await keeper.bring_up(version, None)
    assert version.is_live
    assert (len(opener.opened), len(shelf.made), shelf.made[0].stopped) == (1, 1, 0)
    keeper.retire(version, why="", keep=True)
    assert version.is_warm


async def test_the_last_used_stay_warm(keeping: MakeKeeper, shelf: Shelf) -> None:
    keeper = keeping(warm_versions=2)
    versions = [shelf(number) for number in (1, 2, 3)]
    for version in versions:
        await keeper.bring_up(version, None)
    for version in versions[:2]:
        keeper.retire(version, why="", keep=True)
    await keeper.bring_up(versions[0], None)
    keeper.retire(versions[0], why="", keep=True)  # used again: 2 is the oldest now
    keeper.retire(versions[2], why="", keep=True)
    await ended(keeper)
    assert [version.is_warm for version in versions] == [True, False, True]
    assert [one.stopped for one in shelf.made] == [0, 1, 0]


async def test_pinned_versions_stay_warm(keeping: MakeKeeper, shelf: Shelf) -> None:
    keeper = keeping(warm_versions=0, pin_versions=f"{shelf.name}:1")
    first, second = shelf(1), shelf(2)
    for version in (first, second):
        await keeper.bring_up(version, None)
        keeper.retire(version, why="not chosen", keep=True)
    await ended(keeper)
    assert (first.is_warm, second.is_warm) == (True, False)
    assert (second.state, second.reason) == (State.UNAVAILABLE, "not chosen")


async def test_what_must_not_be_kept_is_not(keeping: MakeKeeper, shelf: Shelf) -> None:
    keeper, version = keeping(pin_versions=f"{shelf.name}:1"), shelf(1)
    await keeper.bring_up(version, None)
    keeper.retire(version, why="unloaded", keep=False)
    await ended(keeper)
    assert (version.served, version.reason) == (None, "unloaded")


def test_a_list_of_pins_that_is_none() -> None:
    with pytest.raises(BadSetting, match="--pin-versions"):
        Keeper(Settings(repository=RepositorySettings(pin_versions="m")))


# Down


async def test_down(keeping: MakeKeeper, shelf: Shelf, memory: Memory) -> None:
    keeper, version = keeping(warm_versions=0), shelf(1)
    await keeper.bring_up(version, None)
    shelf.made[0].idle.clear()
    keeper.retire(version, why="not chosen", keep=True)
    await asyncio.sleep(0)
    assert version.state is State.UNLOADING
    assert (shelf.made[0].stopped, memory.given_back) == (1, 0)
    shelf.made[0].idle.set()
    await ended(keeper)
    assert (version.state, version.reason) == (State.UNAVAILABLE, "not chosen")
    assert (version.served, memory.given_back) == (None, 1)


async def test_who_wants_it_back_waits_until_it_is_gone(
    keeping: MakeKeeper, shelf: Shelf, opener: Opener
) -> None:
    keeper, version = keeping(warm_versions=0), shelf(1)
    await keeper.bring_up(version, None)
    shelf.made[0].idle.clear()
    keeper.retire(version, why="", keep=True)
    again = asyncio.create_task(keeper.bring_up(version, None))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not again.done()
    assert len(opener.opened) == 1
    shelf.made[0].idle.set()
    await again
    assert version.is_live
    assert version.served is shelf.made[1]


async def test_one_that_does_not_unload_cleanly_can_be_loaded_again(
    keeping: MakeKeeper, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, version = keeping(warm_versions=0), shelf(1)
    await keeper.bring_up(version, None)
    shelf.made[0].fails_to_stop = True
    keeper.retire(version, why="", keep=True)
    await ended(keeper)
    assert "did not unload" in caplog.text
    assert (version.state, version.code) == (State.UNAVAILABLE, "internal")
    assert not version.is_warm
    await keeper.bring_up(version, None)
    assert version.is_live
    assert version.served is shelf.made[1]


async def test_the_end_stops_what_is_warm_and_waits_for_what_is_leaving(
    keeping: MakeKeeper, shelf: Shelf
) -> None:
    keeper = keeping(warm_versions=1, pin_versions=f"{shelf.name}:3")
    for number in (1, 2, 3):
        version = shelf(number)
        await keeper.bring_up(version, None)
        keeper.retire(version, why="", keep=True)
    shelf.made[1].idle.clear()
    stopping = asyncio.create_task(keeper.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    shelf.made[1].idle.set()
    await stopping
    assert [one.stopped for one in shelf.made] == [1, 1, 1]


# Memory


def accountant(memory: Memory, shelf: Shelf, limit: int) -> None:
    """100 MiB and 50 for each version; what was unloaded or dropped is given back at once."""
    memory.limit = limit
    memory.resident = lambda: 100 + 50 * shelf.loaded


async def test_no_room(keeping: MakeKeeper, shelf: Shelf, memory: Memory, opener: Opener) -> None:
    accountant(memory, shelf, limit=180)
    keeper, first, second = keeping(), shelf(1), shelf(2)
    await keeper.bring_up(first, None)
    sentence = "needs about 50 MiB beside the 150 MiB in use; the limit is 180 MiB"
    with pytest.raises(NoMemory, match=sentence):
        await keeper.bring_up(second, None)
    with pytest.raises(NoMemory):
        keeper.open_now(second)
    assert (second.code, failed(shelf.name, 2), loads(shelf.name, "memory")) == ("memory", 1.0, 2)
    assert opener.opened == [(shelf.name, 1)]
    assert first.is_live


async def test_warm_versions_make_room_the_oldest_first(
    keeping: MakeKeeper, shelf: Shelf, memory: Memory
) -> None:
    accountant(memory, shelf, limit=260)
    keeper = keeping(warm_versions=5)
    versions = [shelf(number) for number in (1, 2, 3, 4)]
    for version in versions[:3]:
        await keeper.bring_up(version, None)
    for version in versions[:2]:
        keeper.retire(version, why="", keep=True)
    await keeper.bring_up(versions[3], None)
    assert [version.served is not None for version in versions] == [False, True, True, True]
    assert (shelf.made[0].stopped, memory.given_back) == (1, 1)
    assert versions[0].state is State.UNAVAILABLE


async def test_pinned_versions_do_not_make_room(
    keeping: MakeKeeper, shelf: Shelf, memory: Memory
) -> None:
    accountant(memory, shelf, limit=200)
    keeper = keeping(pin_versions=f"{shelf.name}:1")
    first, second, third = shelf(1), shelf(2), shelf(3)
    for version in (first, second):
        await keeper.bring_up(version, None)
        keeper.retire(version, why="", keep=True)
    await keeper.bring_up(third, None)
    assert (first.is_warm, second.is_warm, third.is_live) == (True, False, True)
    with pytest.raises(NoMemory):
        await keeper.bring_up(shelf(4), None)
    assert first.is_warm


async def test_what_is_leaving_is_waited_for_before_there_is_no_room(
    keeping: MakeKeeper, shelf: Shelf, memory: Memory
) -> None:
    """Unload one and load another: the memory of the first comes back a moment later."""
    memory.limit = 180
    gone: list[Answering] = []
    memory.resident = lambda: 100 + 50 * (len(shelf.made) - len(gone))
    keeper, first, second = keeping(), shelf(1), shelf(2)
    await keeper.bring_up(first, None)
    shelf.made[0].idle.clear()
    keeper.retire(first, why="", keep=False)
    loading = asyncio.create_task(keeper.bring_up(second, None))
    for _ in range(10):
        await asyncio.sleep(0)
    gone.append(shelf.made[0])
    shelf.made[0].idle.set()
    await loading
    assert second.is_live


async def test_what_took_more_than_it_should_makes_warm_versions_go(
    keeping: MakeKeeper, shelf: Shelf, memory: Memory, opener: Opener
) -> None:
    """Files tell only about what a version needs; afterwards it shows, and is not added twice."""
    memory.limit, taken = 260, 0
    memory.resident = lambda: 100 + 50 * shelf.loaded + taken

    def take(folder: Path) -> None:
        nonlocal taken
        taken = 70 if folder.name == "3" else 0

    opener.during = take
    keeper = keeping(warm_versions=5)
    first, second, third = shelf(1), shelf(2), shelf(3)
    for version in (first, second):
        await keeper.bring_up(version, None)
        keeper.retire(version, why="", keep=True)
    await keeper.bring_up(third, None)
    assert (first.is_warm, second.is_warm, third.is_live) == (False, True, True)


async def test_what_took_more_than_there_is_goes(
    keeping: MakeKeeper, shelf: Shelf, memory: Memory, opener: Opener
) -> None:
    memory.limit, taken = 180, 0
    memory.resident = lambda: 100 + taken

    def take(folder: Path) -> None:
        nonlocal taken
        taken = 90

    opener.during = take
    version = shelf(1)
    with pytest.raises(NoMemory):
        await keeping().bring_up(version, None)
    assert (version.code, version.served) == ("memory", None)
    assert memory.given_back == 1


@pytest.mark.parametrize("outcome", ["vectors", "internal"])
async def test_the_memory_of_what_failed_is_given_back(
    keeping: MakeKeeper, shelf: Shelf, memory: Memory, outcome: str
) -> None:
    with pytest.raises((BadModel, Internal)):
        await keeping().bring_up(shelf(1, outcome), None)
    assert memory.given_back == 1


async def test_memory_may_be_anything_where_there_is_no_limit(
    keeping: MakeKeeper, shelf: Shelf, memory: Memory
) -> None:
    memory.resident = lambda: 1 << 40
    version = shelf(1)
    await keeping().bring_up(version, None)
    assert version.is_live


def test_opening_before_there_is_a_loop(shelf: Shelf, opener: Opener, memory: Memory) -> None:
    del opener, memory
    keeper: Keeper[Answering] = Keeper(Settings())
    version = shelf(1)
    keeper.open_now(version)
    assert version.opened is not None
    assert version.dimensions == 8
    assert loaded(shelf.name, "1", shelf.root / "1", 8).bundle == version.opened.bundle
