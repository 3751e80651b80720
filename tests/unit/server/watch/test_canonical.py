"""The canonical texts on their way through a server whose engine may change its mind."""

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from prometheus_client import REGISTRY

from predictor.engine.engine import Rows
from predictor.errors import EngineError
from predictor.repository import LoadedModel, RoutingTable, load_model
from predictor.server.application import put_together
from predictor.server.model import ServedModel
from predictor.server.watch.canonical import CanonicalWatch
from predictor.settings import BatchingSettings, ModelSettings, Settings
from predictor.types import FloatRows
from tests.deadlines import DEADLINE_S

TASKS = put_together().tasks


class Moody:
    """A real engine whose rows pass through `mood`."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._engine = loaded.engine
        self.threads = loaded.engine.threads
        self.outputs = loaded.engine.outputs
        self.mood: Callable[[FloatRows], FloatRows] = lambda rows: rows

    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        return self.mood(self._engine.run(rows, wide=wide))


class Answering:
    """Stands for the live versions."""

    def __init__(self, *models: ServedModel) -> None:
        self.models = list(models)

    def all(self) -> list[ServedModel]:
        return self.models


@pytest.fixture(scope="module")
def loaded(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("watched") / "1"
    shutil.copytree(bundle_dir, folder)
    return load_model(ModelSettings(model_dir=str(folder), model_name="watched", threads=1))


@pytest.fixture
def engine(loaded: LoadedModel) -> Moody:
    return Moody(loaded)


@pytest.fixture
async def model(loaded: LoadedModel, engine: Moody) -> AsyncIterator[ServedModel]:
    watched = dataclasses.replace(loaded, engine=engine)
    started = ServedModel(watched, Settings(), tasks=TASKS, on_fatal=lambda why: None)
    started.start_answering()
    yield started
    await started.stop_answering()


def watching(*models: ServedModel, interval_s: float = 300.0) -> CanonicalWatch:
    return CanonicalWatch(cast(RoutingTable[ServedModel], Answering(*models)), interval_s)


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"model": "watched", "version": "1", **labels})


def checks(outcome: str) -> float:
    return value("predictor_canonical_checks_total", outcome=outcome) or 0.0


async def test_right_vectors_are_found_right(model: ServedModel) -> None:
    await watching(model)._check(model)
    assert checks("passed") == 1
    assert value("predictor_canonical_min_cosine") == pytest.approx(1, abs=1e-5)
    assert value("predictor_canonical_tolerance", reference="self") == 0.99999


@pytest.mark.parametrize(
    "mood",
    [
        lambda rows: rows + 0.05 * np.roll(rows, 1, axis=1),
        lambda rows: np.full_like(rows, np.nan),
        np.zeros_like,
    ],
    ids=["a little", "not a number", "nothing"],
)
async def test_an_engine_that_went_wrong_is_found(
    model: ServedModel,
    engine: Moody,
    mood: Callable[[FloatRows], FloatRows],
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch, before = watching(model), checks("failed")
    await watch._check(model)
    engine.mood = mood
    await watch._check(model)
    assert checks("failed") == before + 1
    assert (value("predictor_canonical_min_cosine") or -1.0) < 0.99999
    assert "gives other vectors than when it was verified (self)" in caplog.text


async def test_a_failing_engine_is_counted_and_the_watch_goes_on(
    model: ServedModel, engine: Moody
) -> None:
    def fail(rows: FloatRows) -> FloatRows:
        raise EngineError("broken")

    watch, right, failed = watching(model), checks("passed"), checks("error")
    engine.mood = fail
    await watch._check(model)
    assert checks("error") == failed + 1
    engine.mood = lambda rows: rows
    await watch._check(model)
    assert checks("passed") == right + 1


async def test_clients_go_first(loaded: LoadedModel) -> None:
    tight = Settings(batching=BatchingSettings(max_queue_tokens=1))
    model = ServedModel(loaded, tight, tasks=TASKS, on_fatal=lambda why: None)
    before = checks("busy")
    await watching(model)._check(model)  # it is not started: there is no room at all
    assert checks("busy") == before + 1


async def test_a_damaged_file_is_a_line_and_a_count(
    model: ServedModel, loaded: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    path = loaded.folder / "canonical.npz"
    content, before = path.read_bytes(), checks("unreadable")
    try:
        path.write_bytes(content[: len(content) // 2])
        await watching(model)._check(model)
    finally:
        path.write_bytes(content)
    assert checks("unreadable") == before + 1
    assert "cannot be read" in caplog.text


async def test_a_new_version_is_due_at_once_and_then_by_the_clock(model: ServedModel) -> None:
    watch = watching(model, interval_s=300.0)
    assert watch._is_due(model)
    await watch._check(model)
    assert not watch._is_due(model)
    assert not watching(model, interval_s=0)._is_due(model)
    eager = watching(model, interval_s=1e-9)
    await eager._check(model)
    assert eager._is_due(model)


async def test_the_watch_runs_until_it_is_stopped(model: ServedModel) -> None:
    class Signals(CanonicalWatch):
        async def smallest_cosine(self, model: ServedModel) -> float:
            checked.set()
            return await super().smallest_cosine(model)

    checked, fatal = asyncio.Event(), list[str]()
    watch = Signals(cast(RoutingTable[ServedModel], Answering(model)), 300.0)
    watch.start(fatal.append)
    async with asyncio.timeout(DEADLINE_S):
        await checked.wait()
    await watch.stop()
    assert not fatal
