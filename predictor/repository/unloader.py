"""Takes versions out of service: keeps them loaded, or lets them finish and frees their memory.

Warm versions (loaded, without requests) are kept in the order in which they were retired, as far
as memory and `--warm-versions` allow; pinned versions are kept always.
"""

import asyncio
import logging
from typing import Generic

from predictor.repository import memory
from predictor.repository.policy import parse_versions
from predictor.repository.states import S, VersionRecord, VersionState
from predictor.settings import Settings

logger = logging.getLogger(__name__)

# Longest that a version which was replaced waits for its last requests, seconds.
DRAIN_S = 120.0
# Longest that the end of the process waits for versions to unload, seconds.
STOP_S = 15.0
NO_ROOM = "unloaded, as no more versions are kept loaded (--warm-versions, --memory-limit-mb)"
KEPT_LOADED = "kept loaded, not served: it can be served again at once"


class VersionUnloader(Generic[S]):
    """Used by one change at a time, on one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raise BadSetting if `--pin-versions` is not a list of versions."""
        self._warm_versions = settings.repository.warm_versions
        self._pinned = parse_versions("--pin-versions", settings.repository.pin_versions)
        self._drain_s = DRAIN_S
        # Whether memory was freed since the owner last reset this.
        self.has_freed_memory = False
        # The version that was retired first comes first.
        self._warm: list[VersionRecord[S]] = []
        self._unloading: dict[VersionRecord[S], asyncio.Task[None]] = {}

    def _is_pinned(self, version: VersionRecord[S]) -> bool:
        return (version.model, version.number) in self._pinned

    def retire(self, version: VersionRecord[S], *, why: str, keep: bool) -> None:
        """Take a version out of service; keep it warm, or let it finish and unload it."""
        if keep and (self._warm_versions or self._is_pinned(version)):
            version.set_state(VersionState.UNAVAILABLE, KEPT_LOADED)
            self._warm.append(version)
            self._trim()
        else:
            self._start_unloading(version, why)

    def take_back(self, version: VersionRecord[S]) -> None:
        """Put a warm version back into service."""
        self._warm.remove(version)
        version.set_state(VersionState.READY)

    def release(self, version: VersionRecord[S], why: str) -> None:
        """Unload a warm version."""
        self._warm.remove(version)
        self._start_unloading(version, why)

    def _trim(self) -> None:
        """Release the oldest warm versions beyond the limit."""
        trimmable = [version for version in self._warm if not self._is_pinned(version)]
        for version in trimmable[: max(0, len(trimmable) - self._warm_versions)]:
            self.release(version, NO_ROOM)

    async def free_some(self) -> bool:
        """Release the oldest warm version and wait until a version is unloaded.

        Returns:
            False if there is nothing that could be unloaded.
        """
        oldest = next((v for v in self._warm if not self._is_pinned(v)), None)
        if oldest is not None:
            self.release(oldest, NO_ROOM)
        if not self._unloading:
            return False
        await asyncio.wait(self._unloading.values(), return_when=asyncio.FIRST_COMPLETED)
        return True

    async def wait_until_unloaded(self, version: VersionRecord[S]) -> None:
        """Wait for a version that is unloading; others return at once."""
        if version in self._unloading:
            await asyncio.wait({self._unloading[version]})

    def _start_unloading(self, version: VersionRecord[S], why: str) -> None:
        """Unload in the background; a new load of the same version waits for the end."""
        version.set_state(VersionState.UNLOADING, why)
        task = asyncio.get_running_loop().create_task(self._unload(version))
        self._unloading[version] = task
        task.add_done_callback(lambda done: self._unloaded(version, done))

    def _unloaded(self, version: VersionRecord[S], task: asyncio.Task[None]) -> None:
        self._unloading.pop(version, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(
                "%s version %s did not unload", version.model, version.number, exc_info=error
            )
            reason = "it did not unload cleanly, see the log"
            version.set_state(VersionState.UNAVAILABLE, reason, "internal")

    async def _unload(self, version: VersionRecord[S]) -> None:
        served = version.served
        try:
            if served is not None:
                await served.stop_answering(self._drain_s)
        finally:
            version.served = served = None
        # The reason may have changed since: a later request does not wait for an unload.
        version.set_state(VersionState.UNAVAILABLE, version.reason)
        before = memory.resident_bytes()
        await asyncio.to_thread(memory.give_back)
        self.has_freed_memory = True
        freed = (before - memory.resident_bytes()) // memory.MIB
        logger.info("unloaded %s version %s: %d MiB", version.model, version.number, freed)

    def skip_drain(self) -> None:
        """Do not wait for requests any more: the listeners have given each one its time."""
        self._drain_s = 0.0

    async def stop(self) -> None:
        """Unload warm versions and wait for all that unload; live ones are the caller's."""
        for version in list(self._warm):
            self.release(version, "")
        if self._unloading:
            _, late = await asyncio.wait(self._unloading.values(), timeout=STOP_S)
            for task in late:
                task.cancel()
