"""What is asked of a shadow, and what has come of it so far: one canary beside one version."""

import logging
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from msgspec import Meta, Struct

from predictor.comparison.exchange import Address, model_route, parse
from predictor.errors import BadSetting, InvalidInput
from predictor.metrics import SHADOW_COSINE, SHADOW_OUTCOMES, SHADOW_TEXTS, remove_version
from predictor.rollout.shadowed import Report, Totals
from predictor.server.model import EmbeddingModel
from predictor.server.shadow_copies import TIMEOUT_S, Compared, Outcome

logger = logging.getLogger(__name__)

COUNTS = {outcome: SHADOW_TEXTS.labels(outcome) for outcome in SHADOW_OUTCOMES}


class Order(Struct, frozen=True, kw_only=True):
    """What an operator asks for.

    url: of the canary's server. model: its name, there and here. share: of the requests. seconds:
    from now until it ends by itself. key: an API key, if the canary wants one. id: with another
    one the totals begin anew.
    """

    url: Annotated[str, Meta(max_length=2000)]
    model: Annotated[str, Meta(min_length=1, max_length=500)]
    share: Annotated[float, Meta(gt=0, le=1)]
    seconds: Annotated[float, Meta(gt=0, le=600)]
    key: Annotated[str, Meta(pattern=r"^[\x21-\x7e]*$", max_length=1000)] = ""
    id: Annotated[str, Meta(max_length=200)] = ""

    @property
    def address(self) -> Address:
        """Raises InvalidInput: the URL is none of a server."""
        try:
            server = parse(self.url)
        except BadSetting as error:
            raise InvalidInput(f"url: {error}") from error
        if server.path:
            raise InvalidInput("url: without a path; the model has a field of its own")
        path = model_route(self.model)
        return replace(server, path=path, key=self.key, timeout_s=TIMEOUT_S)


@dataclass(slots=True, eq=False)
class Trial:
    """One canary beside one version. model: None once no copies are taken any more."""

    order: Order
    version: str
    revision: str
    began: float
    until: float = field(init=False)
    address: Address = field(init=False)
    model: EmbeddingModel | None = None
    totals: Totals = field(default_factory=Totals)
    has_told: bool = False

    def __post_init__(self) -> None:
        self.until, self.address = self.began, self.order.address

    def goes_on(self, order: Order, model: EmbeddingModel) -> bool:
        """Whether an order renews this one."""
        before = self.order
        is_same = (before.url, before.model, before.id) == (order.url, order.model, order.id)
        return is_same and (self.version, self.revision) == (model.version, model.revision)

    def renew(self, order: Order, now: float) -> None:
        """For `order.seconds` from now; the time in which it took no copies does not count."""
        self.began += max(0.0, now - self.until)
        self.order, self.address, self.until = order, order.address, now + order.seconds

    def report(self, now: float) -> Report:
        left = max(0.0, self.until - now) if self.model is not None else 0.0
        return Report(
            active=left > 0,
            url=self.order.url,
            model=self.order.model,
            version=self.version,
            share=self.order.share,
            age_s=min(now, self.until) - self.began,
            left_s=left,
            totals=self.totals,
        )

    def missed(self, outcome: Literal["failed", "dropped"], texts: int, kind: str = "") -> None:
        """Texts without a comparison. kind: of error; the first one is a line, all are counted."""
        if outcome == "failed":
            self.totals.failed += texts
        else:
            self.totals.dropped += texts
        COUNTS[outcome].inc(texts)
        if kind and not self.has_told:
            self.has_told = True
            logger.warning("the canary at %s: %s", self.address.url, kind)

    def conclude(self, outcome: Outcome, texts: int) -> None:
        """One request to the canary with so many texts."""
        if not isinstance(outcome, Compared):
            self.missed(outcome.outcome, texts, outcome.kind)
            return
        self.totals.take(outcome.width, outcome.texts, outcome.cosines)
        COUNTS["compared"].inc(outcome.texts)
        self.totals.void += outcome.void
        self.missed("failed", outcome.void, "vectors that are none" if outcome.void else "")
        self.missed("dropped", outcome.own_void)
        if self.model is not None and self.totals.smallest is not None:
            SHADOW_COSINE.labels(self.model.name, self.version).set(self.totals.smallest)

    def let_go(self) -> EmbeddingModel | None:
        """The version, of which no copies are taken any more; the totals stay."""
        model, self.model = self.model, None
        if model is not None:
            remove_version((SHADOW_COSINE,), model.name, self.version)
        return model
