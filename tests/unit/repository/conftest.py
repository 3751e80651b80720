"""Repositories of fakes, stopped at the end of each test."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from predictor.repository import keeper
from tests.unit.repository.doubles import Harness, Memory, Opener

MakeHarness = Callable[..., Harness]


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch) -> Opener:
    fake = Opener()
    monkeypatch.setattr(keeper, "open_version", fake)
    return fake


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    fake = Memory()
    monkeypatch.setattr(keeper, "memory", fake)
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
