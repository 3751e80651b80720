"""The versions of all models in a process: what answers, what should, and the way there.

One change at a time, on the event loop; only the disk and the opening of a version are a thread's.
A version takes the place of another in one assignment, after it was loaded, proven and started:
who asked before is answered by the old one, who asks after by the new one.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic

from predictor.errors import BadModel, BadSetting, ModelNotFound, NotReady, PredictorError
from predictor.metrics import REPOSITORY_POLLS
from predictor.repository.answers import Answers
from predictor.repository.keeper import Keeper
from predictor.repository.layout import MODEL_NAME
from predictor.repository.opening import LoadedModel
from predictor.repository.outlook import Outlook
from predictor.repository.policy import parse_policies
from predictor.repository.settling import Settler
from predictor.repository.states import IndexEntry, ModelState, S, Version, index_of, merge
from predictor.settings import Settings

logger = logging.getLogger(__name__)

# Time until the second look at files that were seen changing, seconds.
SETTLE_S = 1.0
# Longest that one change waits for those before it, seconds.
CHANGE_S = 600.0


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
        policies = parse_policies(settings.repository.version_policy)
        self._keeper: Keeper[S] = Keeper(settings)
        self._models: dict[str, ModelState[S]] = {}
        self.answers: Answers[S] = Answers(
            self._models, settings.repository.default_model, settings.model.model_name
        )
        self._settler = Settler(self._models, policies, self._keeper, self.answers)
        self._outlook = Outlook(settings)
        self._changes: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    def index(self) -> list[IndexEntry]:
        """Every version that is known of, its state and the reason for it."""
        return index_of(self._models, self._outlook.layout)

    # The beginning and the end

    def preload(self) -> None:
        """Look, and open what is to be served.

        Raises:
            BadModel, BadSetting: nothing can be served, and nothing will by itself.
        """
        layout = self._outlook.first()
        merge(self._models, layout, None)
        first: PredictorError | None = None
        for model in self._models.values():
            while (
                version := self._settler.next(model, lambda v: v.opened is not None)
            ) is not None:
                try:
                    self._keeper.open_now(version)
                except PredictorError as error:
                    first = first or error
        if not any(v.opened for m in self._models.values() for v in m.versions.values()):
            self._nothing_to_serve(first)

    def _nothing_to_serve(self, first: PredictorError | None) -> None:
        """Raise why, unless something may still come."""
        root = self._outlook.root
        if self._settings.repository.poll_interval:
            logger.warning("nothing to serve yet in %s; looking again", root)
            return
        strays = self._outlook.layout.strays if self._outlook.layout else {}
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
        self._settler.start(on_default)
        self._keeper.start(make)
        async with self._change():
            first = await self._settler.settle_all()
        if not self.answers.all():
            self._nothing_to_serve(first)
        self._poller = asyncio.get_running_loop().create_task(self._poll())
        self._poller.add_done_callback(lambda task: _ended(task, on_fatal))

    async def stop(self) -> None:
        """Let every version finish what it accepted, then unload all; nothing is asked any more."""
        self._outlook.stop()
        changing = [*self._changes, *([self._poller] if self._poller else [])]
        for task in changing:
            task.cancel()
        if changing:
            await asyncio.wait(changing)
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
            await self._settler.settle_all()
            return unsettled

    async def load(self, name: str, number: int | None) -> None:
        """Serve a model as its policy says, or make one version its default until further notice.

        Raises:
            ModelNotFound: there is no such model or version on disk.
            BadModel, BadSetting: it cannot be served; what was served goes on.
        """
        await self._whole(self._load(name, number))

    async def _load(self, name: str, number: int | None) -> None:
        async with self._change():
            await self._look()
            model = self._known(name, number)
            before = model.asked, model.unloaded, set(model.stopped)
            model.ask(number)
            failure = await self._settler.settle(model, only=number)
            if number is not None and model.default != number:
                model.asked, model.unloaded, model.stopped = before
                await self._settler.settle(model)
                raise failure or BadModel(model.versions[number].reason or "it cannot be served")
            if failure is not None and number is None:
                raise failure

    async def unload(self, name: str, number: int | None) -> None:
        """Stop serving a model, or one version of it, until it is loaded again.

        Raises:
            ModelNotFound: it is not known.
        """
        await self._whole(self._unload(name, number))

    async def _unload(self, name: str, number: int | None) -> None:
        async with self._change():
            model = self._known(name, number)
            model.stop(number)
            await self._settler.settle(model)

    async def _whole(self, change: Coroutine[Any, Any, None]) -> None:
        """Make a change to its end, even if who asked for it goes away meanwhile."""
        task = asyncio.get_running_loop().create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changed)
        await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # the versions' states tell it to who did not wait

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

    async def _look(self) -> bool:
        """Take in what is on disk; True if something is still being written."""
        before = self._outlook.layout
        if not await asyncio.to_thread(self._outlook.look):
            return False
        assert self._outlook.layout is not None
        if self._keeper.freed:
            self._keeper.freed = False
            for model in self._models.values():
                model.forgive("memory")
        return merge(self._models, self._outlook.layout, before)


def _is_opened(version: Version[S]) -> bool:
    return version.opened is not None


def _ended(task: asyncio.Task[None], on_fatal: Callable[[str], None]) -> None:
    if not task.cancelled():
        logger.critical("looking for changes has ended", exc_info=task.exception())
        on_fatal("nobody looks for changes any more")
