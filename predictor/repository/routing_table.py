"""The version that answers for a name: one table, replaced in one assignment."""

import difflib
import logging
from collections.abc import Sequence
from typing import Generic

from predictor.errors import ModelNotFound, NotReady, PredictorError
from predictor.repository.index import IndexEntry, index_of, problems_of
from predictor.repository.states import ModelRecord, S

logger = logging.getLogger(__name__)

# Characters of an unknown name that are repeated, and names that one message lists or is searched.
SHOWN, LISTED, SEARCHED = 80, 20, 200


class RoutingTable(Generic[S]):
    """Live versions by model and number. `publish` whenever `models` has changed."""

    def __init__(
        self,
        models: dict[str, ModelRecord[S]],
        default_model: str,
        only: str,
        aliases: Sequence[str] = (),
    ) -> None:
        """Args:
        default_model: answers requests that name no model; may be empty.
        only: answers them if there is no default model and several models, one of this name.
        aliases: further names of the model that answers them.
        """
        # Further names by the model's name, as published.
        self.aliases: dict[str, tuple[str, ...]] = {}
        self._alias_names = tuple(dict.fromkeys(aliases))
        self._models = models
        self._default_model = default_model
        self._only = only
        self._table: dict[tuple[str, str], S] = {}
        # Aliases that are a model's name, as logged.
        self._shadowed: set[str] = set()

    def publish(self) -> None:
        """Route requests to the versions that are live now."""
        table: dict[tuple[str, str], S] = {}
        default_name = self.default_name
        aliases = tuple(alias for alias in self._alias_names if alias not in self._models)
        for name, model in self._models.items():
            for version in model.live:
                if version.served is None:
                    continue
                numbers = [str(version.number), *([""] if version.number == model.default else [])]
                for number in numbers:
                    table[name, number] = version.served
                    if name == default_name:
                        for alias in ("", *aliases):
                            table[alias, number] = version.served
        self._log_shadowed()
        self._table = table
        self.aliases = {default_name: aliases} if default_name and aliases else {}

    def _log_shadowed(self) -> None:
        for alias in self._alias_names:
            if alias in self._models and alias not in self._shadowed:
                self._shadowed.add(alias)
                logger.warning(
                    "--model-alias %s is the name of a model of the repository: it means that "
                    "model, and is no alias any more",
                    alias,
                )

    def find(self, name: str, version: str = "") -> S:
        """The version that answers for a model, `m` or `m:2`; an empty name is the default model.

        Raises:
            ModelNotFound: no such model or version is served.
            NotReady: the model is known, and no version of it can answer.
        """
        served = self._table.get((name, version))
        if served is not None:
            return served
        if ":" in name and not version:
            name, _, version = name.rpartition(":")
            served = self._table.get((name, version))
            if served is not None:
                return served
        raise self._why_not(name, version)

    def _why_not(self, name: str, version: str) -> PredictorError:
        listed = self._listed()
        if not name and not self.default_name:
            if not self._models:
                return NotReady("no model is loaded yet")
            return ModelNotFound(
                f"several models are served ({listed}): name one (by the header X-Model where the "
                "protocol has no place for it), or set --default-model"
            )
        model = self._models.get(name or self.default_name)
        if model is None:
            shown = (name or self.default_name)[:SHOWN]
            nearest = self._nearest(shown)
            hint = f"the nearest is {nearest!r}; " if nearest else ""
            return ModelNotFound(f"model {shown!r} is not served here; {hint}served: {listed}")
        served = ", ".join(self.versions(model.name))
        if not served:
            return NotReady(f"model {model.name!r} is not ready: {model.explain()}")
        return ModelNotFound(
            f"model {model.name!r} has no version {version[:SHOWN]!r}; served: {served}"
        )

    def _listed(self) -> str:
        names = self.names()
        more = len(names) - LISTED
        shown = ", ".join(names[:LISTED]) or "none"
        return f"{shown} and {more} more" if more > 0 else shown

    def _nearest(self, shown: str) -> str:
        """The name that is most like an unknown one; empty: none is like it."""
        names = [*self.names(), *self.aliases.get(self.default_name, ())][:SEARCHED]
        by_lower = {name.lower(): name for name in names}
        near = difflib.get_close_matches(shown.lower(), by_lower, n=1, cutoff=0.6)
        return by_lower[near[0]] if near else ""

    @property
    def default_name(self) -> str:
        """The model of requests that name none; empty: there are several candidates."""
        if self._default_model:
            return self._default_model
        if len(self._models) == 1:
            return next(iter(self._models))
        return self._only if self._only in self._models else ""

    def names(self) -> list[str]:
        """All known models, whether they can answer or not."""
        return sorted(self._models)

    def versions(self, name: str) -> list[str]:
        """The versions of a model that answer, ascending."""
        model = self._models.get(name)
        return [str(number) for number in sorted(v.number for v in model.live)] if model else []

    def all(self) -> list[S]:
        """All versions that answer, each once."""
        return list({id(served): served for served in self._table.values()}.values())

    def index(self) -> list[IndexEntry]:
        """Every known version, its state and the reason for it."""
        return index_of(self._models, None)

    def problems(self) -> list[IndexEntry]:
        """Versions that should answer and cannot, with the reasons."""
        return problems_of(self._models)

    @property
    def is_ready(self) -> bool:
        """Whether a version answers, and all that answer are healthy."""
        return bool(self._table) and all(served.is_healthy for served in self._table.values())
