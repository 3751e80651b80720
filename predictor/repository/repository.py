"""The versions of all models in a process: which are served, which should be, and the changes.

Changes run one at a time on the event loop; only scanning the disk and loading a version run in
threads. After a version was loaded, verified and started, it replaces the old version in one
assignment: earlier requests are answered by the old version, later ones by the new version.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic

from predictor.bundle.publish import remove_half_made
from predictor.errors import BadModel, BadSetting, ModelNotFound, PredictorError
from predictor.metrics import REPOSITORY_POLLS
from predictor.repository.changes import Changes
from predictor.repository.index import IndexEntry, index_of
from predictor.repository.layout import Layout
from predictor.repository.load import LoadedModel
from predictor.repository.loader import VersionLoader
from predictor.repository.merge import merge
from predictor.repository.names import check_name
from predictor.repository.policy import parse_policies
from predictor.repository.reconciler import VersionReconciler
from predictor.repository.requested_versions import RequestedVersions
from predictor.repository.routing_table import RoutingTable
from predictor.repository.scanner import RepositoryScanner
from predictor.repository.states import ModelRecord, S
from predictor.repository.unloader import VersionUnloader
from predictor.settings import Settings
from predictor.supervised_task import SupervisedTask
from predictor.wall import ENDINGS

logger = logging.getLogger(__name__)

# Time until the next scan while files are being written, seconds.
RESCAN_S = 1.0


class Repository(Generic[S]):
    """Call `preload` in any thread, the rest on one event loop. Requests use `routing_table`."""

    def __init__(self, settings: Settings) -> None:
        """Check the settings; no model is read yet.

        Raises:
            BadSetting: a policy, a list of versions or a model's name is malformed.
        """
        self._settings = settings
        default = settings.repository.default_model
        check_name("--model_name", settings.model.model_name)
        if default:
            check_name("--default-model", default)
        policies = parse_policies(settings.repository.version_policy)
        self._models: dict[str, ModelRecord[S]] = {}
        self.routing_table: RoutingTable[S] = RoutingTable(
            self._models,
            settings.repository.default_model,
            settings.model.model_name,
            settings.model.model_alias,
        )
        self._unloader: VersionUnloader[S] = VersionUnloader(settings)
        self._loader = VersionLoader(settings, self._unloader)
        self._reconciler = VersionReconciler(
            self._models, policies, self._loader, self.routing_table
        )
        self._scanner = RepositoryScanner(settings)
        self._requested = RequestedVersions(
            Path(settings.model.cache_dir),
            settings.repository.model_uri or os.path.realpath(settings.model.model_dir),
        )
        self._changes = Changes()
        self._wake = asyncio.Event()
        self._poll_task = SupervisedTask("the poll of the repository")

    def index(self) -> list[IndexEntry]:
        """Every known version, its state and the reason for it."""
        return index_of(self._models, self._scanner.layout)

    # The beginning and the end

    def preload(self) -> None:
        """Scan the directory, and load the versions that the policy selects.

        Raises:
            BadModel, BadSetting: nothing can be served, and the directory is not polled.
        """
        _remove_half_made(Path(self._settings.model.cache_dir))
        self._merge(self._scanner.scan_first(), None)
        self._check_aliases()
        first: PredictorError | None = None
        for model in self._models.values():
            while version := self._reconciler.next(model, lambda v: v.preloaded is not None):
                try:
                    self._loader.preload(version, is_only=self._reconciler.is_only())
                except PredictorError as error:
                    first = first or error
        if not any(v.preloaded for m in self._models.values() for v in m.versions.values()):
            self._check_may_be_empty(first)

    def _check_aliases(self) -> None:
        """Raise BadSetting for an alias that is a model's name, or that no model would have."""
        aliases = self._settings.model.model_alias
        for alias in aliases:
            check_name("--model-alias", alias)
            if alias in self._models:
                raise BadSetting(f"--model-alias {alias[:80]!r} is the name of a model")
        if aliases and len(self._models) > 1 and not self.routing_table.default_name:
            raise BadSetting("--model-alias: several models are served; set --default-model")

    def _check_may_be_empty(self, first: PredictorError | None) -> None:
        """Raise the reason why nothing can be served, unless a later poll may find a version."""
        root = self._scanner.root
        if self._settings.repository.poll_interval_s:
            logger.warning("nothing to serve yet in %s; it is scanned again", root)
            return
        strays = self._scanner.layout.strays if self._scanner.layout else {}
        listed = "; ".join(f"{name}/{entry}: {why}" for (name, entry), why in strays.items())
        folders = [v.on_disk for m in self._models.values() for v in m.versions.values()]
        problem = next((folder.problem for folder in folders if folder and folder.problem), "")
        raise first or BadModel(
            problem
            or f"{root}: no model here: neither bundle.json nor config.json, and no numbered "
            f"folder with one of them{f' ({listed})' if listed else ''}"
        )

    async def start(
        self,
        make: Callable[[LoadedModel], S],
        on_fatal: Callable[[str], None],
    ) -> None:
        """Put the preloaded versions into service, and begin to poll for changes.

        Args:
            make: wraps a loaded version into an object that answers requests.
            on_fatal: called if the polling task ends unexpectedly.

        Raises:
            BadModel, BadSetting: nothing can be served, and the directory is not polled.
        """
        self._loader.start(make)
        async with self._changes.exclusive():
            first = await self._reconciler.reconcile_all()
        if not self.routing_table.all():
            self._check_may_be_empty(first)
        self._poll_task.start(self._poll, on_fatal)

    async def stop(self) -> None:
        """Let every version finish its requests, then unload all; no new requests arrive now."""
        self._scanner.stop()
        await self._poll_task.stop()
        await self._changes.cancel()
        self._unloader.skip_drain()
        for model in self._models.values():
            for version in model.live:
                self._unloader.retire(version, why="", keep=False)
        self.routing_table.publish()
        await self._loader.stop()

    # Changes that an operator requests

    def poll_now(self) -> None:
        """Scan for changes at once, and load failed versions again; called on SIGHUP."""
        for model in self._models.values():
            model.clear_failures()
        self._wake.set()

    async def load(self, name: str, number: int | None) -> None:
        """Serve the versions that the policy selects, or make one version the default from now on.

        Raises:
            ModelNotFound: there is no such model or version on disk.
            BadModel, BadSetting: it cannot be served; the versions served before stay.
        """
        await self._changes.run(self._load(name, number))

    async def _load(self, name: str, number: int | None) -> None:
        async with self._changes.exclusive():
            await self._scan()
            model = self._known(name, number)
            requested = model.requested
            unloaded = model.unloaded
            stopped = set(model.stopped)
            model.request(number)
            failure = await self._reconciler.reconcile(model, only=number)
            if number is not None and model.default != number:
                model.requested = requested
                model.unloaded = unloaded
                model.stopped = stopped
                await self._reconciler.reconcile(model)
                raise failure or BadModel(model.versions[number].reason or "it cannot be served")
            await asyncio.to_thread(self._requested.keep, name, model.requested)
            if failure is not None and number is None:
                raise failure

    async def unload(self, name: str, number: int | None) -> None:
        """Stop serving a model, or one version of it, until it is loaded again.

        Raises:
            ModelNotFound: there is no such model or version.
        """
        await self._changes.run(self._unload(name, number))

    async def _unload(self, name: str, number: int | None) -> None:
        async with self._changes.exclusive():
            model = self._known(name, number)
            model.stop(number)
            await asyncio.to_thread(self._requested.keep, name, model.requested)
            await self._reconciler.reconcile(model)

    def _known(self, name: str, number: int | None) -> ModelRecord[S]:
        model = self._models.get(name)
        if model is None or (number is not None and number not in model.versions):
            what = f"model {name[:80]!r}" + ("" if number is None else f" version {number}")
            raise ModelNotFound(f"{what} is not in the repository")
        return model

    # Changes on disk

    async def refresh(self) -> bool:
        """Scan, and serve what should be served; return whether files are still being written."""
        async with self._changes.exclusive():
            is_being_written = await self._scan()
            now = time.monotonic()
            for model in self._models.values():
                model.retry(now)
            await self._reconciler.reconcile_all()
            return is_being_written

    async def _poll(self) -> None:
        interval_s = self._settings.repository.poll_interval_s or None
        wait_s = interval_s
        while True:
            wait_s = self._no_longer_than_retry(wait_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()
            is_being_written = False
            try:
                is_being_written = await self.refresh()
            except PredictorError as error:
                logger.error("cannot poll the repository: %s", error)
            except ENDINGS:
                raise
            except BaseException:  # a library's panic is no Exception
                REPOSITORY_POLLS.labels("error").inc()
                logger.exception("a poll of the repository failed; polling continues")
            soon_s = min(RESCAN_S, interval_s or RESCAN_S)
            wait_s = soon_s if is_being_written else interval_s

    def _no_longer_than_retry(self, wait_s: float | None) -> float | None:
        """The time to wait, cut to when a version that failed is tried again."""
        times = [m.next_retry_at for m in self._models.values() if m.next_retry_at is not None]
        if not times:
            return wait_s
        left_s = max(RESCAN_S, min(times) - time.monotonic())
        return left_s if wait_s is None else min(wait_s, left_s)

    async def _scan(self) -> bool:
        """Merge what is on disk into the known versions; return whether files still change."""
        before = self._scanner.layout
        if not await asyncio.to_thread(self._scanner.rescan):
            return False
        assert self._scanner.layout is not None
        if self._unloader.has_freed_memory:
            self._unloader.has_freed_memory = False
            for model in self._models.values():
                model.clear_failures("memory")
        return self._merge(self._scanner.layout, before)

    def _merge(self, layout: Layout, before: Layout | None) -> bool:
        """Take a scan over; models that were not known get the default that was requested."""
        known = set(self._models)
        is_being_written = merge(self._models, layout, before)
        for name in self._models.keys() - known:
            model = self._models[name]
            number = self._requested.of(name)
            if number in model.versions:
                logger.info("%s: version %s was requested before this start", name, number)
                model.requested = number
        return is_being_written


def _remove_half_made(cache_dir: Path) -> None:
    """Remove what conversions left that were killed."""
    with contextlib.suppress(OSError):  # it is not there yet, or may not be read
        for folder in cache_dir.iterdir():
            remove_half_made(folder)
