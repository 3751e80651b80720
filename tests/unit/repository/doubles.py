"""A repository whose versions are a few bytes on disk, and what answers for them without an engine.

What opening a version gives is written in its folder: `good`, or the way in which it fails.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from predictor.bundle.manifest import Bundle, Variant
from predictor.bundle.proof import Proof
from predictor.engine.engine import NullEngine
from predictor.errors import (
    BadModel,
    BadSetting,
    IncompleteModel,
    ModelNotFound,
    NotReady,
    PredictorError,
    WrongVectors,
)
from predictor.metrics import MODEL_FAILED, MODEL_INFO, MODEL_LOADS, MODEL_READY
from predictor.repository import LoadedModel, Repository
from predictor.repository.memory import MIB
from predictor.settings import ModelSettings, RepositorySettings, Settings
from predictor.types import Pooling

OUTCOME = "outcome"
GOOD = "good"


class Panic(BaseException):
    """As a library in Rust raises it: no Exception."""


FAILURES: dict[str, Callable[[], BaseException]] = {
    "incomplete": lambda: IncompleteModel("model.onnx: missing, though bundle.json lists it"),
    "vectors": lambda: WrongVectors("canonical vectors of fp32 are not reproduced"),
    "invalid": lambda: BadModel("config.json: not readable JSON"),
    "bad_setting": lambda: BadSetting("--pooling: a bundle's pooling is part of its graph"),
    "internal": lambda: RuntimeError("a secret of the inside"),
    "panic": lambda: Panic("a secret of the inside"),
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
    """Stands for `load_version`: reads the folder's outcome and counts."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int]] = []
        self.during: Callable[[Path], object] = lambda folder: None
        self.trial = Trial()

    def __call__(self, folder: Path, name: str, version: str, model: ModelSettings) -> LoadedModel:
        self.opened.append((name, int(version)))
        outcome, dimensions = (folder / OUTCOME).read_text().split()
        self.during(folder)
        if outcome != GOOD:
            raise FAILURES[outcome]()
        return loaded(name, version, folder, int(dimensions))


class Trial:
    """Stands for `VersionTrial`: no process is started; `fails` says what it raises."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, int]] = []
        self.proven: set[Path] = set()
        self.fails: Exception | None = None

    def __call__(self, settings: Settings, limit: int | None) -> "Trial":
        del settings, limit
        return self

    def is_proven(self, folder: Path) -> bool:
        return folder in self.proven

    def run(self, folder: Path, name: str, version: str) -> None:
        self.tried.append((name, int(version)))
        if self.fails is not None:
            raise self.fails
        self.proven.add(folder)


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

    def needed_bytes(self, folder: Path, settings: ModelSettings) -> int:
        del settings
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
            repository=RepositorySettings(**{"poll_interval_s": 3600.0, **options}),
        )
        self.repository: Repository[Answering] = Repository(settings)
        self.routing_table = self.repository.routing_table
        self._publish = self.routing_table.publish
        self.routing_table.publish = self.record_defaults  # type: ignore[method-assign]

    # The disk

    def publish(self, model: str, number: object, outcome: str = GOOD, width: int = 8) -> Path:
        """Put a version in its place at once, as one rename does."""
        staged, folder = self.root / ".staged", self.root / model / str(number)
        staged.mkdir()
        (staged / OUTCOME).write_text(f"{outcome} {width}")
        (staged / "bundle.json").write_text(json.dumps({"dimensions": width}))
        folder.parent.mkdir(exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        return staged.rename(folder)

    def delete(self, model: str, number: int) -> None:
        shutil.rmtree(self.root / model / str(number))

    # Running

    def make(self, model: LoadedModel) -> Answering:
        self.made.append(Answering(model))
        return self.made[-1]

    def record_defaults(self) -> None:
        """Publish the table, and record each default that is another one than before."""
        self._publish()
        for name in self.routing_table.names():
            try:
                default = self.routing_table.find(name).key[1]
            except PredictorError:
                default = None
            last = next((known for model, known in reversed(self.defaults) if model == name), None)
            if default != last:
                self.defaults.append((name, default))

    async def start(self) -> "Harness":
        self.repository.preload()
        await self.repository.start(self.make, self.fatal.append)
        return self

    async def rescan(self, times: int = 2) -> None:
        """Scan the directory; a change counts once two scans have seen it."""
        for _ in range(times):
            await self.repository.refresh()
        await self.wait_until_unloaded()

    async def wait_until_unloaded(self) -> None:
        """Wait for the versions that unload, except those that a test holds busy."""
        await asyncio.sleep(0)
        unloading = self.repository._unloader._unloading.items()
        free = [task for v, task in unloading if v.served is None or v.served.idle.is_set()]
        if free:
            await asyncio.wait(free)
            await asyncio.sleep(0)

    async def stop(self) -> None:
        for served in self.made:
            served.idle.set()
        await self.repository.stop()

    # Observations

    def default(self, model: str = "m") -> int | None:
        """The version that answers requests without a version."""
        with contextlib.suppress(ModelNotFound, NotReady):
            return self.routing_table.find(model).key[1]
        return None

    def is_ready(self) -> bool:
        return self.routing_table.is_ready

    def last_default(self) -> tuple[str, int | None]:
        """The last default that was announced."""
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
        """The last instance that was made of a version."""
        return [served for served in self.made if served.key == (model, number)][-1]

    def alive(self) -> list[tuple[str, int]]:
        return sorted(s.key for s in self.made if s.started and not s.stopped)


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
