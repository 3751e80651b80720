"""Brings versions up and down: room, loading, proof, start; retirement, draining, memory back.

What is loaded but not asked (warm) is kept in the order in which it was retired, as far as memory
and `--warm-versions` allow; pinned versions are never given up.
"""

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
from predictor.repository import memory
from predictor.repository.layout import Stamp, stamp_of
from predictor.repository.opening import LoadedModel, open_version
from predictor.repository.policy import parse_versions
from predictor.repository.states import S, State, Version
from predictor.settings import Settings

logger = logging.getLogger(__name__)

# Longest that a version which was replaced waits for its last requests, seconds.
DRAIN_S = 120.0
# Longest that the end of the process waits for versions to unload, seconds.
STOP_S = 15.0
CROWDED = "unloaded, as no more are kept loaded (--warm-versions, --memory-limit-mb)"
WARM = "kept loaded, not served: asking for it is instant"


class Keeper(Generic[S]):
    """Used by one change at a time, on one event loop; `open_now` before there is a loop."""

    def __init__(self, settings: Settings) -> None:
        """Raise BadSetting if `--pin-versions` is no list of versions."""
        self._settings = settings
        self._pinned = parse_versions("--pin-versions", settings.repository.pin_versions)
        self._limit = memory.limit_bytes(settings.repository.memory_limit_mb)
        self._drain_s = DRAIN_S
        # Whether memory was given back since somebody last looked at this.
        self.freed = False
        self._warm: list[Version[S]] = []
        self._leaving: dict[Version[S], asyncio.Task[None]] = {}
        self._opener = ThreadPoolExecutor(1, "open-version")

    def start(self, make: Callable[[LoadedModel], S]) -> None:
        """From now on versions can be brought up; `make` wraps what was loaded."""
        self._make = make

    # Up

    def open_now(self, version: Version[S]) -> None:
        """Open a version and keep it for `bring_up`. Raises what `bring_up` does."""
        started = time.perf_counter()
        try:
            self._check_room(self._need(version))
            version.opened = self._open(version)
        except Exception as error:
            raise self._failure(version, error) from error
        version.opening_s = time.perf_counter() - started

    async def bring_up(self, version: Version[S], dimensions: int | None) -> None:
        """Load, prove and start a version, or take it back out of the warm ones.

        Args:
            dimensions: those that its vectors must have; None: any.

        Raises:
            BadModel, BadSetting: it cannot be served; its state says why.
        """
        if version in self._leaving:
            await asyncio.wait({self._leaving[version]})
        if version.is_warm:
            self._warm.remove(version)
            version.become(State.READY)
            return
        started = time.perf_counter() - version.opening_s
        version.opening_s = 0.0
        loaded: LoadedModel | None = None
        version.become(State.LOADING)
        try:
            loaded = version.opened or await self._load(version)
            self._check_dimensions(version, loaded, dimensions)
            version.served = self._make(loaded)
            version.served.start_answering()
        except Exception as error:
            loaded = version.opened = version.served = None
            known = self._failure(version, error)
        if loaded is None:  # out of the handler: nothing holds what was loaded any more
            await asyncio.to_thread(memory.give_back)
            raise known
        version.opened = None
        version.loaded_stamp = version.found.stamp if version.found else ()
        version.become(State.READY)
        MODEL_LOADS.labels(version.model, "ready").inc()
        MODEL_LOAD_SECONDS.labels(version.model).observe(time.perf_counter() - started)

    async def _load(self, version: Version[S]) -> LoadedModel:
        await self._make_room(version)
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(self._opener, self._open, version)
        await self._make_room(version, 0)  # files tell only about what is needed
        return loaded

    def _open(self, version: Version[S]) -> LoadedModel:
        assert version.found is not None
        folder, number = version.found.path, str(version.number)
        before = _stamp_of(folder)
        loaded = open_version(folder, version.model, number, self._settings.model)
        # A directory without digests can load half copied, and give other vectors than its own.
        if _stamp_of(folder) != before:
            raise IncompleteModel(f"{folder}: its files changed while they were read")
        return loaded

    @staticmethod
    def _check_dimensions(version: Version[S], loaded: LoadedModel, dimensions: int | None) -> None:
        given = loaded.bundle.dimensions
        if dimensions not in (None, given):
            raise other_dimensions(version.number, given, dimensions)

    def _failure(self, version: Version[S], error: Exception) -> BadModel | BadSetting | Internal:
        """Write down and count why a version cannot be served; what to tell who asked for it."""
        if isinstance(error, (BadModel, BadSetting)):
            known: BadModel | BadSetting | Internal = error
            logger.error("%s version %s is not served: %s", version.model, version.number, error)
        else:
            known = Internal("an unexpected error, see the log")
            logger.exception("%s version %s is not served", version.model, version.number)
        version.fail(known)
        MODEL_LOADS.labels(version.model, version.code).inc()
        return known

    # Memory

    async def _make_room(self, version: Version[S], need: int | None = None) -> None:
        """Give up warm versions until this one fits. Raises NoMemory.

        Args:
            need: bytes; None: from the size of its files.
        """
        need = self._need(version) if need is None else need
        while not self._fits(need):
            oldest = next((v for v in self._warm if not self._is_pinned(v)), None)
            if oldest is not None:
                self.release(oldest, CROWDED)
            if not self._leaving:
                break
            await asyncio.wait(self._leaving.values(), return_when=asyncio.FIRST_COMPLETED)
        self._check_room(need)

    @staticmethod
    def _need(version: Version[S]) -> int:
        return memory.needed_bytes(version.found.path) if version.found else 0

    def _fits(self, need: int) -> bool:
        return self._limit is None or memory.resident_bytes() + need <= self._limit

    def _check_room(self, need: int) -> None:
        if not self._fits(need) and self._limit is not None:
            raise NoMemory(
                f"needs about {need // memory.MIB} MiB beside the "
                f"{memory.resident_bytes() // memory.MIB} MiB in use; the limit is "
                f"{self._limit // memory.MIB} MiB (--memory-limit-mb)"
            )

    def _is_pinned(self, version: Version[S]) -> bool:
        return (version.model, version.number) in self._pinned

    # Down

    def retire(self, version: Version[S], *, why: str, keep: bool) -> None:
        """Stop asking a version; keep it warm, or let it finish and unload it."""
        if keep and (self._settings.repository.warm_versions or self._is_pinned(version)):
            version.become(State.UNAVAILABLE, WARM)
            self._warm.append(version)
            self._trim()
        else:
            self._leave(version, why)

    def release(self, version: Version[S], why: str) -> None:
        """Unload a warm version."""
        self._warm.remove(version)
        self._leave(version, why)

    def _trim(self) -> None:
        loose = [version for version in self._warm if not self._is_pinned(version)]
        for version in loose[: max(0, len(loose) - self._settings.repository.warm_versions)]:
            self.release(version, CROWDED)

    def _leave(self, version: Version[S], why: str) -> None:
        """Unload beside everything else; whoever wants the version again waits for that."""
        version.become(State.UNLOADING, why)
        task = asyncio.get_running_loop().create_task(self._unload(version, why))
        self._leaving[version] = task
        task.add_done_callback(lambda done: self._left(version, done))

    def _left(self, version: Version[S], task: asyncio.Task[None]) -> None:
        self._leaving.pop(version, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s version %s did not unload", version.model, version.number)
            logger.error("unloading failed", exc_info=error)
            version.become(State.UNAVAILABLE, "it did not unload cleanly, see the log", "internal")

    async def _unload(self, version: Version[S], why: str = "") -> None:
        served = version.served
        version.become(State.UNLOADING, why)
        try:
            if served is not None:
                await served.stop_answering(self._drain_s)
        finally:
            version.served = served = None
        version.become(State.UNAVAILABLE, why)
        before = memory.resident_bytes()
        await asyncio.to_thread(memory.give_back)
        self.freed = True
        freed = (before - memory.resident_bytes()) // memory.MIB
        logger.info("unloaded %s version %s: %d MiB", version.model, version.number, freed)

    def hurry(self) -> None:
        """Wait for nobody any more: the listeners have given every request its time."""
        self._drain_s = 0.0

    async def stop(self) -> None:
        """Unload what is warm and wait for what is leaving; what is live is the caller's."""
        for version in list(self._warm):
            self.release(version, "")
        if self._leaving:
            _, late = await asyncio.wait(self._leaving.values(), timeout=STOP_S)
            for task in late:
                task.cancel()
        self._opener.shutdown(wait=False, cancel_futures=True)


def _stamp_of(folder: Path) -> Stamp | None:
    try:
        return stamp_of(folder)
    except OSError:  # opening it says what is missing
        return None


def other_dimensions(number: int, given: int | None, wanted: int | None) -> OtherDimensions:
    return OtherDimensions(
        f"version {number} gives {given} dimensions, the vectors so far have {wanted}: it takes "
        f"their place only if it is asked for by number (load with version {number}, or "
        f"--version-policy specific:{number})"
    )
