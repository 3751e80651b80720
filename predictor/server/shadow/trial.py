"""The order for a shadow, and its results so far: one canary beside one version."""

import logging
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from msgspec import Meta, Struct

from predictor.client.http import Address, model_route, parse
from predictor.errors import BadSetting, InvalidInput
from predictor.metrics import SHADOW_COSINE, SHADOW_OUTCOMES, SHADOW_TEXTS
from predictor.rollout.shadow import ShadowReport, ShadowTotals
from predictor.server.model import ServedModel
from predictor.server.shadow.copies import TIMEOUT_S, CopyComparison, CopyResult
from predictor.version_metrics import remove_version

logger = logging.getLogger(__name__)

COUNTS = {outcome: SHADOW_TEXTS.labels(outcome) for outcome in SHADOW_OUTCOMES}


class ShadowOrder(Struct, frozen=True, kw_only=True):
    """The body of PUT /admin/shadow."""

    # Of the canary's server.
    url: Annotated[str, Meta(max_length=2000)]
    # Name of the model, at both servers.
    model: Annotated[str, Meta(min_length=1, max_length=500)]
    # Of the requests.
    share: Annotated[float, Meta(gt=0, le=1)]
    # From now until the shadow ends by itself.
    seconds: Annotated[float, Meta(gt=0, le=600)]
    # API key for the canary; empty: none.
    key: Annotated[str, Meta(pattern=r"^[\x21-\x7e]*$", max_length=1000)] | None = None
    # Another id starts new totals.
    id: Annotated[str, Meta(max_length=200)] | None = None

    @property
    def address(self) -> Address:
        """Raises InvalidInput: the URL is not that of a server."""
        try:
            server = parse(self.url)
        except BadSetting as error:
            raise InvalidInput(f"url: {error}") from error
        if server.path:
            raise InvalidInput("url: give no path; the model has a field of its own")
        path = model_route(self.model)
        return replace(server, path=path, key=self.key or "", timeout_s=TIMEOUT_S)


@dataclass(slots=True, eq=False)
class ShadowTrial:
    """One canary beside one version."""

    order: ShadowOrder
    # Of the stable model.
    version: str
    revision: str
    # Of the stable model's configuration.
    configuration: str
    # When copying began and when it ends, monotonic seconds.
    began: float
    until: float = field(init=False)
    # Of the canary's model.
    address: Address = field(init=False)
    # The stable version; None: no copies are taken any more.
    model: ServedModel | None = None
    totals: ShadowTotals = field(default_factory=ShadowTotals)
    # Whether an error of the canary was logged; only the first one is.
    has_warned: bool = False

    def __post_init__(self) -> None:
        self.until = self.began
        self.address = self.order.address

    def is_renewed_by(self, order: ShadowOrder, model: ServedModel) -> bool:
        """Whether an order continues this trial."""
        current = self.order
        places = [(each.url, each.model, each.id or "") for each in (current, order)]
        identity = (model.version, model.revision, model.context.configuration.id)
        is_same = places[0] == places[1]
        return is_same and (self.version, self.revision, self.configuration) == identity

    def renew(self, order: ShadowOrder, now: float) -> None:
        """Continue for `order.seconds`; the time in which no copies were taken does not count."""
        self.began += max(0.0, now - self.until)
        self.order = order
        self.address = order.address
        self.until = now + order.seconds

    def report(self, now: float) -> ShadowReport:
        left = max(0.0, self.until - now) if self.model is not None else 0.0
        return ShadowReport(
            active=left > 0,
            url=self.order.url,
            model=self.order.model,
            version=self.version,
            share=self.order.share,
            age_s=min(now, self.until) - self.began,
            left_s=left,
            totals=self.totals,
        )

    def record_failure(
        self, outcome: Literal["failed", "dropped"], texts: int, kind: str = ""
    ) -> None:
        """Count texts without a comparison; the first kind of error is logged."""
        if outcome == "failed":
            self.totals.failed += texts
        else:
            self.totals.dropped += texts
        COUNTS[outcome].inc(texts)
        if kind and not self.has_warned:
            self.has_warned = True
            logger.warning("the canary at %s: %s", self.address.url, kind)

    def record(self, outcome: CopyResult, texts: int) -> None:
        """Count the result of one request to the canary with so many texts."""
        if not isinstance(outcome, CopyComparison):
            self.record_failure(outcome.outcome, texts, outcome.kind)
            return
        self.totals.record(outcome.dimensions, outcome.texts, outcome.cosines)
        COUNTS["compared"].inc(outcome.texts)
        self.totals.invalid += outcome.invalid
        self.record_failure("failed", outcome.invalid, "invalid vectors" if outcome.invalid else "")
        self.record_failure("dropped", outcome.invalid_stable)
        if self.model is not None and self.totals.smallest is not None:
            SHADOW_COSINE.labels(self.model.name, self.version).set(self.totals.smallest)

    def detach(self) -> ServedModel | None:
        """End the copying and return the version; the totals stay."""
        model, self.model = self.model, None
        if model is not None:
            remove_version((SHADOW_COSINE,), model.name, self.version)
        return model
