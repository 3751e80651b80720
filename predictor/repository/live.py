"""The versions of all models in a process: what answers, what should, and the way there.

One change at a time, on the event loop; only the disk and the opening of a version are a thread's.
A version takes the place of another in one assignment, after it was loaded, proven and started:
who asked before is answered by the old one, who asks after by the new one.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Generic

from predictor import storage
from predictor.errors import BadModel, BadSetting, ModelNotFound, NotReady, PredictorError
from predictor.metrics import REPOSITORY_POLLS
from predictor.repository.answers import Answers
from predictor.repository.keeper import Keeper, other_dimensions
from predictor.repository.layout import MODEL_NAME, Layout, scan
from predictor.repository.opening import LoadedModel
from predictor.repository.policy import Selection, parse_policies
from predictor.repository.states import IndexEntry, ModelState, S, State, Version, index_of, merge
from predictor.settings import Settings, model_path

logger = logging.getLogger(__name__)

# Time until the second look at files that were seen changing, seconds.
SETTLE_S = 1.0
# Longest that one change waits for those before it, seconds.
CHANGE_S = 600.0
UNLOADED = "unloaded by request"


class Repository(Generic[S]):
    """`preload` anywhere, then everything on one event loop. `answers` is what requests need."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is read yet.

        Raises:
            BadSetting: a policy, a list of versions or a model's name is none.
        """
        self._settings = settings
        default = settings.repository.default_model
        if default and not MODEL_NAME.fullmatch(default):
            raise BadSetting(f"--default-model {default[:80]!r} is not the name of a model")
        self._policies = parse_policies(settings.repository.version_policy)
        self._keeper: Keeper[S] = Keeper(settings)
        self._models: dict[str, ModelState[S]] = {}
        self.answers: Answers[S] = Answers(
            self._models, settings.repository.default_model, settings.model.model_name
        )
        self._layout: Layout | None = None
        self._changing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = threading.Event()
        self._poller: asyncio.Task[None] | None = None

    def index(self) -> list[IndexEntry]:
        """Every version that is known of, its state and the reason for it."""
        return index_of(self._models, self._layout)

    # The beginning and the end

    def preload(self) -> None:
        """Look, and open what is to be served.

        Raises:
            BadModel, BadSetting: nothing can be served, and nothing will by itself.
        """
        root = self._fetched()
        self._layout = scan(root, self._settings.model.model_name)
        merge(self._models, self._layout, None)
        first: PredictorError | None = None
        for model in self._models.values():
            while (version := self._next(model, lambda v: v.opened is not None)) is not None:
                try:
                    self._keeper.open_now(version)
                except PredictorError as error:
                    first = first or error
        if not any(v.opened for m in self._models.values() for v in m.versions.values()):
            self._nothing_to_serve(first, root)

    def _nothing_to_serve(self, first: PredictorError | None, root: Path) -> None:
        """Raise why, unless something may still come."""
        if self._settings.repository.poll_interval:
            logger.warning("nothing to serve yet in %s; looking again", root)
            return
        strays = self._layout.strays if self._layout else {}
        seen = "; ".join(f"{name}/{entry}: {why}" for (name, entry), why in strays.items())
        found = [v.found for m in self._models.values() for v in m.versions.values()]
        problem = next((there.problem for there in found if there and there.problem), "")
        raise first or BadModel(
            problem
            or f"{root}: no model here: neither bundle.json nor config.json, and no numbered "
            f"folder with one of them{f' ({seen})' if seen else ''}"
        )

    async def start(
        self,
        make: Callable[[LoadedModel], S],
        on_default: Callable[[str, S | None], None],
        on_fatal: Callable[[str], None],
    ) -> None:
        """Put live what was opened, and begin to look for changes.

        Args:
            make: wraps a loaded version into what answers requests.
            on_default: told of a model's new default, and of None when it has none any more.
            on_fatal: called if that ends by itself, which it never should.

        Raises:
            BadModel, BadSetting: nothing can be served, and nothing will by itself.
        """
        self._on_default = on_default
        self._keeper.start(make)
        async with self._change():
            first = await self._settle_all()
        if not self.answers.all():
            self._nothing_to_serve(first, Path(self._settings.model.model_dir))
        self._poller = asyncio.get_running_loop().create_task(self._poll())
        self._poller.add_done_callback(lambda task: _ended(task, on_fatal))

    async def stop(self) -> None:
        """Let every version finish what it accepted, then unload all; nothing is asked any more."""
        self._stopping.set()
        if self._poller is not None:
            self._poller.cancel()
        self._keeper.hurry()
        for model in self._models.values():
            for version in model.live:
                self._keeper.retire(version, why="", keep=False)
        self.answers.publish()
        await self._keeper.stop()

    # What others ask for

    def look_soon(self) -> None:
        """Look for changes now, and try again what failed; for SIGHUP."""
        for model in self._models.values():
            model.forgive()
        self._wake.set()

    async def refresh(self) -> bool:
        """Look, and bring what is served to what should be; True: look again soon."""
        async with self._change():
            unsettled = await self._look()
            await self._settle_all()
            return unsettled

    async def load(self, name: str, number: int | None) -> None:
        """Serve a model as its policy says, or make one version its default until further notice.

        Raises:
            ModelNotFound: there is no such model or version on disk.
            BadModel, BadSetting: it cannot be served; what was served goes on.
        """
        async with self._change():
            await self._look()
            model = self._known(name, number)
            before = model.asked, model.unloaded, set(model.stopped)
            model.ask(number)
            failure = await self._settle(model, only=number)
            if number is not None and model.default != number:
                model.asked, model.unloaded, model.stopped = before
                await self._settle(model)
                raise failure or BadModel(model.versions[number].reason or "it cannot be served")
            if failure is not None:
                raise failure

    async def unload(self, name: str, number: int | None) -> None:
        """Stop serving a model, or one version of it, until it is loaded again.

        Raises:
            ModelNotFound: it is not known.
        """
        async with self._change():
            model = self._known(name, number)
            model.stop(number)
            await self._settle(model)

    def _known(self, name: str, number: int | None) -> ModelState[S]:
        model = self._models.get(name)
        if model is None or (number is not None and number not in model.versions):
            what = f"model {name[:80]!r}" + ("" if number is None else f" version {number}")
            raise ModelNotFound(f"{what} is not in the repository")
        return model

    # Looking

    async def _poll(self) -> None:
        interval = self._settings.repository.poll_interval or None
        wait = interval
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            self._wake.clear()
            unsettled = False
            try:
                unsettled = await self.refresh()
            except PredictorError as error:
                logger.error("cannot look for changes: %s", error)
            except Exception:
                REPOSITORY_POLLS.labels("error").inc()
                logger.exception("looking for changes failed; it goes on")
            wait = min(SETTLE_S, interval or SETTLE_S) if unsettled else interval

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        """Alone among changes. Raises NotReady if those before take too long."""
        try:
            async with asyncio.timeout(CHANGE_S):
                await self._changing.acquire()
        except TimeoutError:
            raise NotReady("another change of the repository takes too long") from None
        try:
            yield
        finally:
            self._changing.release()

    def _fetched(self) -> Path:
        """The directory to look at, fetched if it is elsewhere.

        Raises:
            BadSetting: it does not exist.
            BadModel: it cannot be fetched.
        """
        uri = self._settings.repository.model_uri
        if not uri:
            return model_path(self._settings.model)
        mirror = storage.mirror_of(Path(self._settings.model.cache_dir), uri)
        seconds = self._settings.repository.download_timeout_s
        fetched = storage.refresh(uri, mirror, seconds, stop=self._stopping)
        for problem in (*fetched.conflicts, *fetched.refused):
            logger.error("%s", problem)
        return mirror

    async def _look(self) -> bool:
        """Take in what is on disk; True if something is still being written."""
        try:
            root = await asyncio.to_thread(self._fetched)
            layout = await asyncio.to_thread(scan, root, self._settings.model.model_name)
        except (OSError, PredictorError) as error:
            REPOSITORY_POLLS.labels("error").inc()
            why = (error.strerror or error) if isinstance(error, OSError) else error
            logger.error("cannot look at the repository: %s", why)
            return False
        if self._keeper.freed:
            self._keeper.freed = False
            for model in self._models.values():
                model.forgive("memory")
        before, self._layout = self._layout, layout
        REPOSITORY_POLLS.labels("ok").inc()
        return merge(self._models, layout, before)

    # Bringing about

    async def _settle_all(self) -> PredictorError | None:
        """The first reason why something is not as it should be."""
        first: PredictorError | None = None
        for model in list(self._models.values()):
            failure = await self._settle(model)
            first = first or failure
        return first

    async def _settle(self, model: ModelState[S], only: int | None = None) -> PredictorError | None:
        """Bring what a model serves to what it should; the last reason why something is not.

        Args:
            only: give up when this version fails, instead of trying others.
        """
        failure: PredictorError | None = None
        while (version := self._next(model, lambda v: v.is_live)) is not None:
            try:
                await self._keeper.bring_up(version, self._dimensions_for(model, version))
            except PredictorError as error:
                failure = error
                if version.number == only:
                    return failure
            self._switch(model, self._select(model))
        selection = self._select(model)
        self._switch(model, selection)
        self._retire(model, selection)
        return failure

    def _select(self, model: ModelState[S]) -> Selection:
        return model.select(self._policies.of(model.name))

    def _next(self, model: ModelState[S], is_up: Callable[[Version[S]], bool]) -> Version[S] | None:
        """The first version that should be up and is not."""
        selected = (model.versions[number] for number in self._select(model).versions)
        return next((version for version in selected if not is_up(version)), None)

    def _dimensions_for(self, model: ModelState[S], version: Version[S]) -> int | None:
        """What a version must give to take the place of the default; None: nobody would mind."""
        default = model.versions.get(model.default or 0)
        asked_for = version.number == model.asked
        if default is None or asked_for or self._policies.of(model.name).kind != "latest":
            return None
        return default.dimensions

    def _switch(self, model: ModelState[S], selection: Selection) -> None:
        """Let the live versions answer, and the default if it is one of them."""
        default = model.versions.get(selection.default or 0)
        if default is not None and default.is_live and default.number != model.default:
            before, model.default = model.default, default.number
            self._on_default(model.name, default.served)
            if default.served is not None:
                revision = default.served.loaded.bundle.revision
                logger.info(
                    "%s: version %s (revision %s, %s) answers now, before: %s",
                    *(model.name, default.number, revision, default.served.loaded.variant),
                    before or "none",
                )
        self.answers.publish()

    def _retire(self, model: ModelState[S], selection: Selection) -> None:
        """Take out what should not answer any more, and say why of what does not."""
        for version in list(model.versions.values()):
            number, is_stopped = version.number, model.is_stopped(version.number)
            if number in selection.versions:
                continue
            if number == model.default:
                model.default = None
                self._on_default(model.name, None)
            why = self._why_not(model, is_stopped)
            gone = version.found is None
            if version.is_live:
                self._keeper.retire(version, why=why, keep=not is_stopped and not gone)
            elif version.is_warm and (is_stopped or gone):
                self._keeper.release(version, why)
            elif number in selection.held and version.code != "dimensions":
                width = next((v.dimensions for v in model.live), None)
                error = other_dimensions(number, version.dimensions, width)
                logger.error("%s version %s is not served: %s", model.name, number, error)
                version.become(State.UNAVAILABLE, str(error), error.reason)
            elif not version.code and version.served is None and version.is_available:
                version.become(State.UNAVAILABLE, why)
        self.answers.publish()

    def _why_not(self, model: ModelState[S], is_stopped: bool) -> str:
        if is_stopped:
            return UNLOADED
        if model.asked is not None:
            return f"version {model.asked} was asked for"
        return f"not chosen by --version-policy {self._policies.of(model.name)}"


def _ended(task: asyncio.Task[None], on_fatal: Callable[[str], None]) -> None:
    if not task.cancelled():
        logger.critical("looking for changes has ended", exc_info=task.exception())
        on_fatal("nobody looks for changes any more")
