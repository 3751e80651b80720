"""Repositories of fakes, stopped at the end of each test."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from predictor.repository import loader, unloader
from tests.unit.repository.doubles import Harness, Memory, Opener

MakeHarness = Callable[..., Harness]


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch) -> Opener:
    fake = Opener()
    monkeypatch.setattr(loader, "load_version", fake)
    monkeypatch.setattr(loader, "VersionTrial", fake.trial)
    monkeypatch.setattr(loader, "PROCESS_BYTES", 0)  # so that the numbers are those of versions
    return fake


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    fake = Memory()
    monkeypatch.setattr(loader, "memory", fake)
    monkeypatch.setattr(loader, "memory_need", fake)
    monkeypatch.setattr(unloader, "memory", fake)
    return fake


@pytest.fixture
async def new(tmp_path: Path, opener: Opener, memory: Memory) -> AsyncIterator[MakeHarness]:
    """Makes a harness on `tmp_path/root` that has not started."""
    del memory
    made: list[Harness] = []

    def make(**options: object) -> Harness:
        made.append(Harness(tmp_path / "root", opener, **options))
        return made[-1]

    yield make
    for harness in made:
        await harness.stop()
