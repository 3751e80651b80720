"""Puts versions into service: makes room, loads, proves and starts them."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic

from predictor.errors import (
    BadModel,
    BadSetting,
    IncompleteModel,
    Internal,
    NoMemory,
    OtherDimensions,
)
from predictor.metrics import MODEL_LOAD_SECONDS, MODEL_LOADS
from predictor.repository import memory, memory_need
from predictor.repository.layout import Stamp, stamp_of
from predictor.repository.load import LoadedModel, load_version
from predictor.repository.states import S, VersionRecord, VersionState
from predictor.repository.trial import PROCESS_BYTES, VersionTrial
from predictor.repository.unloader import VersionUnloader
from predictor.settings import Settings
from predictor.wall import ENDINGS, of_its_kind, system_error

logger = logging.getLogger(__name__)


class VersionLoader(Generic[S]):
    """Used by one change at a time, on one event loop; `preload` before the loop runs."""

    def __init__(self, settings: Settings, unloader: VersionUnloader[S]) -> None:
        """unloader: gives memory back where a version does not fit."""
        self.unloader = unloader
        self._settings = settings
        self._limit = memory.limit_bytes(settings.repository.memory_limit_mb)
        self._trial = VersionTrial(settings, self._limit)
        self._executor = ThreadPoolExecutor(1, "load-version")

    def start(self, make: Callable[[LoadedModel], S]) -> None:
        """From now on versions can be served; `make` wraps what was loaded."""
        self._make = make

    def preload(self, version: VersionRecord[S], *, is_only: bool) -> None:
        """Load a version and keep it for `load`.

        Args:
            is_only: whether this process knows no other version; it is then opened directly.

        Raises:
            BadModel, BadSetting, Internal: it cannot be served; its state says why.
        """
        started = time.perf_counter()
        try:
            needed = self._needed_bytes(version)
            self._find_room(needed)
            if not is_only and not self._is_proven(version):
                self._find_room(needed + PROCESS_BYTES)
                self._try(version)
            version.preloaded = self._load(version)
        except BaseException as error:
            raise self._failure(version, error) from error
        version.loading_s = time.perf_counter() - started

    async def load(
        self, version: VersionRecord[S], dimensions: int | None, *, is_only: bool
    ) -> None:
        """Load, prove and start a version, or put a warm version back into service.

        Args:
            dimensions: those that its vectors must have; None: any.
            is_only: whether this process knows no other version; it is then opened directly.

        Raises:
            BadModel, BadSetting: it cannot be served; its state says why.
        """
        await self.unloader.wait_until_unloaded(version)
        if version.is_warm:
            self.unloader.take_back(version)
            return
        started = time.perf_counter() - version.loading_s
        version.loading_s = 0.0
        version.set_state(VersionState.LOADING)
        loaded: LoadedModel | None = None
        try:
            loaded = version.preloaded or await self._load_in_thread(version, is_only=is_only)
            _check_dimensions(version, loaded, dimensions)
            version.served = self._make(loaded)
            version.served.start_answering()
        except BaseException as error:
            loaded = version.preloaded = version.served = None
            failure = self._failure(version, error)
        if loaded is None:  # outside of the handler: nothing refers to what was loaded any more
            await asyncio.to_thread(memory.give_back)
            raise failure
        version.preloaded = None
        version.loaded_stamp = version.on_disk.stamp if version.on_disk else ()
        version.set_state(VersionState.READY)
        MODEL_LOADS.labels(version.model, "ready").inc()
        MODEL_LOAD_SECONDS.labels(version.model).observe(time.perf_counter() - started)

    async def _load_in_thread(self, version: VersionRecord[S], *, is_only: bool) -> LoadedModel:
        loop = asyncio.get_running_loop()
        needed = await loop.run_in_executor(self._executor, self._needed_bytes, version)
        await self._make_room(needed)
        if not is_only and not await loop.run_in_executor(self._executor, self._is_proven, version):
            await self._make_room(needed + PROCESS_BYTES)
            await loop.run_in_executor(self._executor, self._try, version)
        loaded = await loop.run_in_executor(self._executor, self._load, version)
        await self._make_room(0)  # the need was only estimated from the files
        return loaded

    def _needed_bytes(self, version: VersionRecord[S]) -> int:
        if version.on_disk is None:
            return 0
        return memory_need.needed_bytes(version.on_disk.path, self._settings.model)

    def _is_proven(self, version: VersionRecord[S]) -> bool:
        return version.on_disk is not None and self._trial.is_proven(version.on_disk.path)

    def _try(self, version: VersionRecord[S]) -> None:
        """Load it in a process of its own first. Raises what loading it raises."""
        assert version.on_disk is not None
        folder = version.on_disk.path
        before = _current_stamp(folder)
        self._trial.run(folder, version.model, str(version.number))
        if _current_stamp(folder) != before:
            raise IncompleteModel(f"{folder}: its files changed while they were read")

    def _load(self, version: VersionRecord[S]) -> LoadedModel:
        assert version.on_disk is not None
        folder = version.on_disk.path
        before = _current_stamp(folder)
        loaded = load_version(folder, version.model, str(version.number), self._settings.model)
        # A directory without digests can be loaded half copied, and give wrong vectors.
        if _current_stamp(folder) != before:
            raise IncompleteModel(f"{folder}: its files changed while they were read")
        return loaded

    def _failure(
        self, version: VersionRecord[S], error: BaseException
    ) -> BadModel | BadSetting | Internal:
        """Record and count why a version cannot be served; the error for the client.

        Raises:
            BaseException: the error itself, if it is an ending and no fault.
        """
        if isinstance(error, ENDINGS):
            raise error
        if isinstance(error, MemoryError):
            error = NoMemory("not enough memory to load it")
        if isinstance(error, OSError):
            error = system_error("its files cannot be read", error)
        if isinstance(error, BadModel):
            error = of_its_kind(error)
        if isinstance(error, (BadModel, BadSetting)):
            failure: BadModel | BadSetting | Internal = error
            logger.error("%s version %s is not served: %s", version.model, version.number, error)
        else:
            failure = Internal("an unexpected error, see the log")
            logger.exception("%s version %s is not served", version.model, version.number)
        version.fail(failure, time.monotonic())
        MODEL_LOADS.labels(version.model, version.code).inc()
        return failure

    # Memory

    async def _make_room(self, needed: int) -> None:
        """Give unused memory back, then unload warm versions until so many bytes fit.

        Raises:
            NoMemory: they do not fit.
        """
        if not self._fits(needed):
            await asyncio.to_thread(memory.give_back)
        while not self._fits(needed) and await self.unloader.free_some():
            pass
        self._check_room(needed)

    def _find_room(self, needed: int) -> None:
        """Give unused memory back until so many bytes fit. Raises NoMemory."""
        if not self._fits(needed):
            memory.give_back()
        self._check_room(needed)

    def _fits(self, needed: int) -> bool:
        return self._limit is None or memory.resident_bytes() + needed <= self._limit

    def _check_room(self, needed: int) -> None:
        if not self._fits(needed) and self._limit is not None:
            raise NoMemory(
                f"needs about {needed // memory.MIB} MiB beside the "
                f"{memory.resident_bytes() // memory.MIB} MiB in use; the limit is "
                f"{self._limit // memory.MIB} MiB (--memory-limit-mb)"
            )

    async def stop(self) -> None:
        """Unload what is warm or unloading, and load nothing any more."""
        await self.unloader.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)


def _current_stamp(folder: Path) -> Stamp | None:
    try:
        return stamp_of(folder)
    except OSError:  # loading it says what is missing
        return None


def _check_dimensions(version: VersionRecord[S], loaded: LoadedModel, required: int | None) -> None:
    actual = loaded.bundle.dimensions
    if required not in (None, actual):
        raise other_dimensions(version.number, actual, required)


def other_dimensions(number: int, actual: int | None, required: int | None) -> OtherDimensions:
    """The error for a version whose vectors do not fit those that clients have stored."""
    return OtherDimensions(
        f"version {number} gives {actual} dimensions, the vectors served so far have {required}; "
        f"to replace them, load it by number (load with version {number}, or --version-policy "
        f"specific:{number})"
    )
