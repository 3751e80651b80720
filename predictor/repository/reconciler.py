"""Brings what a model serves to what it should serve, and records a reason for all the rest."""

import logging
from collections.abc import Callable
from typing import Generic

from predictor.errors import PredictorError
from predictor.repository.load import LoadedModel
from predictor.repository.loader import VersionLoader, other_dimensions
from predictor.repository.policy import Policies, Selection
from predictor.repository.routing_table import RoutingTable
from predictor.repository.states import ModelRecord, S, VersionRecord, VersionState

logger = logging.getLogger(__name__)

UNLOADED_BY_REQUEST = "unloaded by request"


class VersionReconciler(Generic[S]):
    """Selects by policy, loads, publishes and retires. Used by one change at a time."""

    def __init__(
        self,
        models: dict[str, ModelRecord[S]],
        policies: Policies,
        loader: VersionLoader[S],
        routing_table: RoutingTable[S],
    ) -> None:
        self._models = models
        self._policies = policies
        self._loader = loader
        self._unloader = loader.unloader
        self._routing_table = routing_table

    async def reconcile_all(self) -> PredictorError | None:
        """Reconcile all models; the first reason why a version is not served."""
        first: PredictorError | None = None
        for model in list(self._models.values()):
            failure = await self.reconcile(model)
            first = first or failure
        return first

    async def reconcile(
        self, model: ModelRecord[S], only: int | None = None
    ) -> PredictorError | None:
        """Serve what the policy selects; the last reason why a version is not served.

        Args:
            only: give up when this version fails, instead of trying others.
        """
        failure: PredictorError | None = None
        while (version := self.next(model, lambda v: v.is_live)) is not None:
            try:
                required = self._required_dimensions(model, version)
                await self._loader.load(version, required, is_only=self.is_only())
            except PredictorError as error:
                failure = error
                if version.number == only:
                    return failure
            self._switch(model, self._select(model))
        selection = self._select(model)
        self._switch(model, selection)
        self._retire(model, selection)
        return failure

    def _select(self, model: ModelRecord[S]) -> Selection:
        return model.select(self._policies.of(model.name))

    def next(
        self, model: ModelRecord[S], is_up: Callable[[VersionRecord[S]], bool]
    ) -> VersionRecord[S] | None:
        """The first version that should be up and is not."""
        selection = self._select(model)
        # The default first: it answers requests without a version from then on.
        numbers = sorted(selection.versions, key=lambda number: number != selection.default)
        selected = (model.versions[number] for number in numbers)
        return next((version for version in selected if not is_up(version)), None)

    def is_only(self) -> bool:
        """Whether this process knows one version, which has nothing to harm or to fall back to."""
        return sum(len(model.versions) for model in self._models.values()) <= 1

    def _required_dimensions(self, model: ModelRecord[S], version: VersionRecord[S]) -> int | None:
        """The dimensions that a version needs to replace the default; None: any."""
        default = model.versions.get(model.default or 0)
        is_requested = version.number == model.requested
        if default is None or is_requested or self._policies.of(model.name).kind != "latest":
            return None
        return default.dimensions

    def _switch(self, model: ModelRecord[S], selection: Selection) -> None:
        """Publish the live versions, with the selected default if it is one of them."""
        default = model.versions.get(selection.default or 0)
        if default is not None and default.is_live and default.number != model.default:
            before = model.default
            model.default = default.number
            if default.served is not None:
                _log_default(default.served.loaded, before)
        self._routing_table.publish()

    def _retire(self, model: ModelRecord[S], selection: Selection) -> None:
        """Take versions that are not selected out of service, and record why."""
        for version in list(model.versions.values()):
            if version.number in selection.versions:
                continue
            if version.number == model.default:
                model.default = None
            self._retire_version(model, version, is_withheld=version.number in selection.withheld)
            version.preloaded = None
        self._routing_table.publish()

    def _retire_version(
        self, model: ModelRecord[S], version: VersionRecord[S], *, is_withheld: bool
    ) -> None:
        is_stopped = model.is_stopped(version.number)
        is_removed = version.on_disk is None
        why = self._why_not(model, is_stopped)
        if version.is_live:
            keep = not is_stopped and not is_removed
            self._unloader.retire(version, why=why, keep=keep)
        elif version.is_warm and (is_stopped or is_removed):
            self._unloader.release(version, why)
        elif is_withheld and version.code != "dimensions":
            self._withhold(model, version)
        elif version.state is VersionState.UNLOADING:
            version.set_state(VersionState.UNLOADING, why)
        elif not version.code and version.served is None and version.is_available:
            version.set_state(VersionState.UNAVAILABLE, why)

    @staticmethod
    def _withhold(model: ModelRecord[S], version: VersionRecord[S]) -> None:
        """Record that a version is not served because of its dimensions."""
        served_dimensions = next((v.dimensions for v in model.live), None)
        error = other_dimensions(version.number, version.dimensions, served_dimensions)
        logger.error("%s version %s is not served: %s", model.name, version.number, error)
        version.set_state(VersionState.UNAVAILABLE, str(error), error.reason)
        if version.preloaded is not None and version.on_disk is not None:
            version.failed = version.on_disk.stamp  # its files do not tell its dimensions

    def _why_not(self, model: ModelRecord[S], is_stopped: bool) -> str:
        if is_stopped:
            return UNLOADED_BY_REQUEST
        if model.requested is not None:
            return f"version {model.requested} was requested as the default"
        return f"not selected by --version-policy {self._policies.of(model.name)}"


def _log_default(loaded: LoadedModel, before: int | None) -> None:
    """Log the version that answers from now on."""
    bundle = loaded.bundle
    logger.info(
        "%s: version %s is the default now (before: %s): %s, revision %s, %s, %s on %s, "
        "%d dimensions, %d tokens, %d threads",
        loaded.name,
        loaded.version,
        before or "none",
        bundle.family,
        bundle.revision,
        loaded.variant,
        bundle.inputs,
        loaded.device,
        bundle.dimensions,
        bundle.max_length,
        loaded.engine.threads,
    )
