"""A repository whose versions are a few bytes on disk, and what answers for them without an engine.

What opening a version gives is written in its folder: `good`, or the way in which it fails.
"""

import asyncio
import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from predictor.engine.bundle import Bundle, Proof, Variant
from predictor.engine.engine import NullEngine
from predictor.errors import (
    BadModel,
    BadSetting,
    IncompleteModel,
    ModelNotFound,
    NotReady,
    WrongVectors,
)
from predictor.metrics import MODEL_FAILED, MODEL_INFO, MODEL_LOADS, MODEL_READY
from predictor.repository import LoadedModel, Repository
from predictor.repository.memory import MIB
from predictor.settings import ModelSettings, RepositorySettings, Settings
from predictor.types import Pooling

OUTCOME = "outcome"
GOOD = "good"
FAILURES: dict[str, Callable[[], Exception]] = {
    "incomplete": lambda: IncompleteModel("model.onnx: missing, though bundle.json lists it"),
    "vectors": lambda: WrongVectors("canonical vectors of fp32 are not reproduced"),
    "invalid": lambda: BadModel("config.json: not readable JSON"),
    "bad_setting": lambda: BadSetting("--pooling: a bundle's pooling is part of its graph"),
    "internal": lambda: RuntimeError("a secret of the inside"),
}


def bundle(dimensions: int = 8) -> Bundle:
    return Bundle(
        source_digest="0" * 64,
        family="bert",
        max_length=32,
        dimensions=dimensions,
        pooling=Pooling.MEAN,
        normalize=True,
        inputs="packed",
        variants={"fp32": Variant(graph="g", proof=Proof(reference="none", tolerance=0.9))},
    )


def loaded(name: str, number: str, folder: Path, dimensions: int) -> LoadedModel:
    engine = NullEngine(dimensions, threads=1)
    return LoadedModel(name, number, bundle(dimensions), cast(Any, None), engine, "fp32", folder)


class Opener:
    """Stands for `open_version`: reads the folder's outcome and counts."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int]] = []
        self.during: Callable[[Path], object] = lambda folder: None

    def __call__(self, folder: Path, name: str, version: str, model: ModelSettings) -> LoadedModel:
        self.opened.append((name, int(version)))
        outcome, dimensions = (folder / OUTCOME).read_text().split()
        self.during(folder)
        if outcome != GOOD:
            raise FAILURES[outcome]()
        return loaded(name, version, folder, int(dimensions))


class Answering:
    """A served version; `busy` until the test says that its last request is done."""

    def __init__(self, model: LoadedModel) -> None:
        self.loaded = model
        self.key = model.name, int(model.version)
        self.started = self.stopped = 0
        self.is_healthy = True
        self.fails_to_stop, self.waits_s = False, 0.0
        self.idle = asyncio.Event()
        self.idle.set()

    def start_answering(self) -> None:
        self.started += 1

    async def stop_answering(self, wait_s: float = 0.0) -> None:
        self.stopped, self.waits_s = self.stopped + 1, wait_s
        await self.idle.wait()
        if self.fails_to_stop:
            raise RuntimeError("a thread does not end")


class Memory:
    """Stands for the module `memory`: each version that is loaded takes `each` MiB."""

    MIB = MIB

    def __init__(self) -> None:
        self.each, self.given_back = 50, 0
        self.needed: dict[int, int] = {}
        self.resident: Callable[[], int] = lambda: 100
        self.limit: int | None = None

    def resident_bytes(self) -> int:
        return self.resident() * MIB

    def needed_bytes(self, folder: Path) -> int:
        return self.needed.get(int(folder.name), self.each) * MIB

    def give_back(self) -> None:
        self.given_back += 1

    def limit_bytes(self, setting_mb: int) -> int | None:
        return None if self.limit is None else self.limit * MIB


class Harness:
    """A repository of fakes in `root`, driven step by step."""

    def __init__(self, root: Path, opener: Opener, **options: Any) -> None:
        self.root, self.opener = root, opener
        root.mkdir(exist_ok=True)
        self.made: list[Answering] = []
        self.defaults: list[tuple[str, int | None]] = []
        self.fatal: list[str] = []
        settings = Settings(
            model=ModelSettings(model_dir=str(root), cache_dir=str(root / ".cache")),
            repository=dataclasses.replace(
                RepositorySettings(poll_interval=3600.0), **cast(Any, options)
            ),
        )
        self.repository: Repository[Answering] = Repository(settings)
        self.answers = self.repository.answers

    # The disk

    def publish(self, model: str, number: object, outcome: str = GOOD, width: int = 8) -> Path:
        """Put a version in its place at once, as one rename does."""
        aside, folder = self.root / ".aside", self.root / model / str(number)
        aside.mkdir()
        (aside / OUTCOME).write_text(f"{outcome} {width}")
        (aside / "bundle.json").write_text(json.dumps({"dimensions": width}))
        folder.parent.mkdir(exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        return aside.rename(folder)

    def delete(self, model: str, number: int) -> None:
        shutil.rmtree(self.root / model / str(number))

    # The life

    def make(self, model: LoadedModel) -> Answering:
        self.made.append(Answering(model))
        return self.made[-1]

    def on_default(self, name: str, served: Answering | None) -> None:
        self.defaults.append((name, served.key[1] if served else None))

    async def start(self) -> "Harness":
        self.repository.preload()
        await self.repository.start(self.make, self.on_default, self.fatal.append)
        return self

    async def look(self, times: int = 2) -> None:
        """Two looks are what a change takes to be believed."""
        for _ in range(times):
            await self.repository.refresh()
        await self.settled()

    async def settled(self) -> None:
        """Let what is unloading end, but for what a test holds busy."""
        await asyncio.sleep(0)
        leaving = self.repository._keeper._leaving.items()
        free = [task for v, task in leaving if v.served is None or v.served.idle.is_set()]
        if free:
            await asyncio.wait(free)
            await asyncio.sleep(0)

    async def stop(self) -> None:
        for served in self.made:
            served.idle.set()
        await self.repository.stop()

    # What is to be seen

    def default(self, model: str = "m") -> int | None:
        """The version that answers who names none."""
        with contextlib.suppress(ModelNotFound, NotReady):
            return self.answers.find(model).key[1]
        return None

    def is_ready(self) -> bool:
        return self.answers.is_ready

    def told(self) -> tuple[str, int | None]:
        """The last default that was told of."""
        return self.defaults[-1]

    def row(self, model: str, version: object) -> tuple[str, str]:
        """State and reason of a line of the index."""
        ((state, reason),) = [
            (entry.state, entry.reason)
            for entry in self.repository.index()
            if (entry.name, entry.version) == (model, str(version))
        ]
        return state, reason

    def served(self, number: int, model: str = "m") -> Answering:
        """The last that was made of a version."""
        return [one for one in self.made if one.key == (model, number)][-1]

    def alive(self) -> list[tuple[str, int]]:
        return sorted(one.key for one in self.made if one.started and not one.stopped)


def gauge(metric: Any, *labels: str) -> float | None:
    """A child's value; None: there is no such child."""
    child = metric._metrics.get(labels)
    return None if child is None else float(child._value.get())


def ready(model: str, number: int) -> float | None:
    return gauge(MODEL_READY, model, str(number))


def failed(model: str, number: int) -> float | None:
    return gauge(MODEL_FAILED, model, str(number))


def loads(model: str, outcome: str) -> float:
    return gauge(MODEL_LOADS, model, outcome) or 0.0


def infos(model: str) -> list[tuple[str, ...]]:
    return sorted(tuple(labels) for labels in MODEL_INFO._metrics if labels[0] == model)
