"""The watch of the traffic stands in the way of every request: what fails there fails there."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client import REGISTRY

from predictor.repository import RoutingTable
from predictor.server.model import ServedModel
from predictor.server.watch import drift
from predictor.server.watch.drift import DriftWatch
from predictor.settings import DriftSettings, ModelSettings, Settings
from predictor.tasks.embed import EmbedRequest
from predictor.types import FloatRows, Tokens
from tests.deadlines import DEADLINE_S

DIMENSIONS = 16


def version(number: str) -> ServedModel:
    """As much of a model as is watched."""
    loaded = SimpleNamespace(
        variant="fp32",
        bundle=SimpleNamespace(dimensions=DIMENSIONS),
        folder=Path("nowhere"),
        tokenizer=SimpleNamespace(unknown_id=1),
    )
    return cast(ServedModel, _Watched(number, loaded))


class _Watched:
    """Hashed by identity, as a model is."""

    def __init__(self, number: str, loaded: SimpleNamespace) -> None:
        self.name = "watched"
        self.version = number
        self.revision = "r1"
        self.loaded = loaded
        self.observers: list[Any] = []

    def observe(self, task: str, observer: Any) -> None:
        assert task == "embed"
        self.observers.append(observer)

    def stop_observing(self, task: str, observer: Any) -> None:
        assert task == "embed"
        self.observers.remove(observer)


class Answering:
    def __init__(self, *models: ServedModel) -> None:
        self.models = list(models)

    def all(self) -> list[ServedModel]:
        return self.models


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "POLL_S", 0.002)


def settings(folder: Path, window: float = 0.001) -> Settings:
    drift = DriftSettings(drift_window_s=window, drift_learn_s=0.001)
    return Settings(drift=drift, model=ModelSettings(cache_dir=str(folder)))


def watch(models: Answering, made: Settings) -> DriftWatch:
    return DriftWatch(cast(RoutingTable[ServedModel], models), made)


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"model": "watched", **labels})


async def until(true: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110  # it is the state of files and metrics too
            await asyncio.sleep(0.001)


def send(model: ServedModel, rows: int, generator: np.random.Generator) -> None:
    vectors: FloatRows = generator.standard_normal((rows, DIMENSIONS)).astype(np.float32) + 0.5
    ids = [[5, 6, 7]] * rows
    show(model, EmbedRequest(inputs=["a text"] * rows), Tokens(ids, []), vectors)


def show(model: ServedModel, request: EmbedRequest, tokens: Tokens, rows: FloatRows) -> None:
    (observe,) = cast(_Watched, model).observers
    observe(request, tokens, rows)


def fatal(why: str) -> None:
    raise AssertionError(why)


async def test_the_first_windows_are_learnt_and_later_ones_compared(tmp_path: Path) -> None:
    model, generator = version("1"), np.random.default_rng(3)
    watching = watch(Answering(model), settings(tmp_path))
    watching.start(fatal)
    await until(lambda: model.observers)
    assert sample("predictor_drift_learning", version="1") == 1.0
    compared = {"version": "1", "outcome": "compared"}
    async with asyncio.timeout(DEADLINE_S):
        while not sample("predictor_drift_windows_total", **compared):
            for _ in range(100):  # to ask costs more than to send where there are many series
                send(model, 8, generator)
            await asyncio.sleep(0)
    assert sample("predictor_drift_learning", version="1") == 0.0
    score = sample("predictor_drift_score", version="1", test="direction")
    assert score is not None
    assert 0.0 <= score < 1.0
    await until(lambda: len(list((tmp_path / "drift").glob("r1-fp32.*.json"))) == 2)
    await watching.stop()
    # Who comes later begins where this one was.
    again = version("2")
    later = watch(Answering(again), settings(tmp_path))
    later.start(fatal)
    await until(lambda: again.observers)
    assert sample("predictor_drift_learning", version="2") == 0.0
    await later.stop()


async def test_a_version_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    model = version("3")
    models = Answering(model)
    watching = watch(models, settings(tmp_path))
    watching.start(fatal)
    await until(lambda: model.observers)
    models.models = []
    await until(lambda: not model.observers)
    assert sample("predictor_drift_learning", version="3") is None
    assert watching.monitor_of(model) is None
    await watching.stop()


async def test_a_failing_watch_is_counted_and_no_request_sees_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = version("4")
    watching = watch(Answering(model), settings(tmp_path))
    watching.start(fatal)
    await until(lambda: model.observers)
    wrong = np.zeros((1, 3), np.float32)  # of another width
    show(model, EmbedRequest(inputs=["a text"]), Tokens([[5]], []), wrong)
    show(model, EmbedRequest(inputs=["a text"]), Tokens([[5]], []), wrong)
    failed = {"version": "4", "outcome": "failed"}
    await until(lambda: sample("predictor_drift_windows_total", **failed))
    assert sample("predictor_drift_windows_total", **failed) == 1.0
    assert caplog.text.count("no longer watched") == 1
    assert "a text" not in caplog.text
    await watching.stop()


async def test_a_full_disk_does_not_stop_learning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drift").write_text("a file in its place")
    model, generator = version("5"), np.random.default_rng(4)
    watching = watch(Answering(model), settings(tmp_path))
    watching.start(fatal)
    await until(lambda: model.observers)
    learnt = {"version": "5", "outcome": "learnt"}
    async with asyncio.timeout(DEADLINE_S):
        while (sample("predictor_drift_windows_total", **learnt) or 0) < 2:
            for _ in range(100):  # to ask costs more than to send where there are many series
                send(model, 8, generator)
            await asyncio.sleep(0)
    assert "drift files: " in caplog.text
    await watching.stop()


async def test_a_window_of_zero_watches_nothing(tmp_path: Path) -> None:
    model = version("6")
    watching = watch(Answering(model), settings(tmp_path, window=0))
    before = asyncio.all_tasks()
    watching.start(fatal)
    assert asyncio.all_tasks() == before
    assert not model.observers
    await watching.stop()
