"""Brings what a model serves to what it should: up, switch, down, and a reason for all the rest."""

import logging
from collections.abc import Callable
from typing import Generic

from predictor.errors import PredictorError
from predictor.repository.answers import Answers
from predictor.repository.keeper import Keeper, other_dimensions
from predictor.repository.opening import LoadedModel
from predictor.repository.policy import Policies, Selection
from predictor.repository.states import ModelState, S, State, Version

logger = logging.getLogger(__name__)

UNLOADED = "unloaded by request"


class Settler(Generic[S]):
    """Used by one change at a time. The policy chooses, the keeper does, the answers are told."""

    def __init__(
        self,
        models: dict[str, ModelState[S]],
        policies: Policies,
        keeper: Keeper[S],
        answers: Answers[S],
    ) -> None:
        self._models, self._policies = models, policies
        self._keeper, self._answers = keeper, answers
        self._on_default: Callable[[str, S | None], None] = lambda name, served: None

    def start(self, on_default: Callable[[str, S | None], None]) -> None:
        """on_default: told of a model's new default, and of None when it has none any more."""
        self._on_default = on_default

    async def settle_all(self) -> PredictorError | None:
        """The first reason why something is not as it should be."""
        first: PredictorError | None = None
        for model in list(self._models.values()):
            failure = await self.settle(model)
            first = first or failure
        return first

    async def settle(self, model: ModelState[S], only: int | None = None) -> PredictorError | None:
        """Bring what a model serves to what it should; the last reason why something is not.

        Args:
            only: give up when this version fails, instead of trying others.
        """
        failure: PredictorError | None = None
        while (version := self.next(model, lambda v: v.is_live)) is not None:
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

    def next(self, model: ModelState[S], is_up: Callable[[Version[S]], bool]) -> Version[S] | None:
        """The first version that should be up and is not."""
        selection = self._select(model)
        # The default first: who names no version is answered by it from then on.
        numbers = sorted(selection.versions, key=lambda number: number != selection.default)
        selected = (model.versions[number] for number in numbers)
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
                _tell(default.served.loaded, before)
        self._answers.publish()

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
                if version.opened is not None and version.found is not None:
                    version.failed = version.found.stamp  # its files alone do not tell
            elif not version.code and version.served is None and version.is_available:
                version.become(State.UNAVAILABLE, why)
            version.opened = None
        self._answers.publish()

    def _why_not(self, model: ModelState[S], is_stopped: bool) -> str:
        if is_stopped:
            return UNLOADED
        if model.asked is not None:
            return f"version {model.asked} was asked for"
        return f"not chosen by --version-policy {self._policies.of(model.name)}"


def _tell(loaded: LoadedModel, before: int | None) -> None:
    """One line: what answers from now on."""
    bundle = loaded.bundle
    logger.info(
        "%s: version %s answers now (before: %s): %s, revision %s, %s, %d dimensions, %d tokens, "
        "%d threads",
        *(loaded.name, loaded.version, before or "none", bundle.family, bundle.revision),
        f"{loaded.variant}, {bundle.inputs} on {loaded.device}",
        *(bundle.dimensions, bundle.max_length, loaded.engine.threads),
    )
