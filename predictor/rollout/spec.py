"""The specification of an EmbeddingRollout, read from the custom resource.

The CRD's schema refuses most mistakes; they are checked here too, since objects that are older than
the schema are still read.
"""

import re
from itertools import pairwise
from typing import Any, Literal

import msgspec

GROUP = "predictor.dev"
VERSION = "v1alpha1"
PLURAL = "embeddingrollouts"
KIND = "EmbeddingRollout"
# The annotation with a command, which the controller removes; pausing is `spec.paused`.
ACTION = f"{GROUP}/action"
Action = Literal["resume", "promote", "abort", "retry"]
ACTIONS: tuple[Action, ...] = ("resume", "promote", "abort", "retry")

DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
# RFC 9110's token, as the Gateway API allows it.
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}", re.ASCII)
LONGEST_S = 30 * 86400.0


class BadRollout(ValueError):
    """The specification asks for something that cannot be done; the message says what."""


def seconds(duration: str) -> float:
    """Seconds of `1h30m`, `90s` or `0s`.

    Raises:
        BadRollout: it is no duration, or longer than 30 days.
    """
    match = DURATION.fullmatch(duration)
    if not duration or match is None:
        raise BadRollout(f"duration {duration[:40]!r}: write it like 90s, 10m or 1h30m")
    hours, minutes, rest = (int(part or 0) for part in match.groups())
    total = hours * 3600.0 + minutes * 60.0 + rest
    if total > LONGEST_S:
        raise BadRollout(f"duration {duration}: at most {LONGEST_S / 86400:.0f} days")
    return total


class _SpecPart(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A part of the resource: camelCase names, unknown ones are ignored."""


class Target(_SpecPart, frozen=True):
    """The version that should be served."""

    # Of the model.
    storage_uri: str
    # Of the canary's predictor, and of the stable one after the promotion.
    name: str
    # Of the server, if the version needs another one; empty: the stable version's.
    image: str = ""

    @property
    def key(self) -> str:
        """Two targets with the same key are the same version."""
        return f"{self.name} {self.storage_uri} {self.image}".rstrip()


class Step(_SpecPart, frozen=True):
    """A share of the traffic for the canary."""

    # Percent.
    weight: int
    # How long it must go well.
    hold: str = "5m"
    # Whether to wait then for the command `resume` or `promote`.
    pause: bool = False


DEFAULT_STEPS = (
    Step(weight=5, hold="5m"),
    Step(weight=10, hold="10m"),
    Step(weight=25, hold="10m"),
    Step(weight=50, hold="10m"),
    Step(weight=100, hold="5m"),
)


class Rates(_SpecPart, frozen=True):
    """By how much the canary's share may exceed the stable version's, 0 to 1."""

    max_increase: float


class Vectors(_SpecPart, frozen=True):
    """How similar the vectors of the canary must be to those of the stable version."""

    # Least cosine between the vectors of a text, where `spec.vectors` is Same.
    tolerance: float = 0.999
    # Least mean share of common nearest neighbours, where `spec.vectors` is Changed.
    min_overlap: float = 0.5


class Analysis(_SpecPart, frozen=True):
    """How the canary is judged."""

    # Between two analyses.
    interval: str = "30s"
    # Requests of the canary at a step before errors and latency are judged.
    min_requests: int = 100
    # Analyses in a row that must find the canary worse before it is rolled back.
    failures: int = 2
    # Share of 5xx in all answers.
    errors: Rates = Rates(max_increase=0.005)
    # Share of 429 in all answers.
    refused: Rates = Rates(max_increase=0.02)
    # Share of answers slower than the stable version's 99th percentile (at the next bounds of the
    # histogram); of those slower than its 90th the odds may rise by the same factor.
    slow: Rates = Rates(max_increase=0.0075)
    vectors: Vectors = Vectors()


Then = Literal["Hold", "RollBack"]


class Limit(_SpecPart, frozen=True):
    """How long a state may last, and what happens then."""

    after: str
    then: Then


class Limits(_SpecPart, frozen=True):
    """How long a rollout waits."""

    # For pods to get ready and routes to be applied.
    progress_deadline: str = "10m"
    # While nothing can be measured.
    error: Limit = Limit(after="15m", then="Hold")
    # While there is too little traffic for a result.
    inconclusive: Limit = Limit(after="1h", then="Hold")


class ShadowSpec(_SpecPart, frozen=True):
    """Live texts that are mirrored to the canary before it has traffic."""

    # Of the stable version's requests, 0 to 1.
    share: float = 0.05
    # How long it must go well.
    hold: str = "2m"
    # Texts that must have been compared.
    min_texts: int = 50


class Compare(_SpecPart, frozen=True):
    """Headers that choose a version; requests without them are split by weight."""

    # Name of the header whose value, `canary` or `stable`, chooses; empty: none.
    version_header: str = ""
    # Name of the header whose value belongs to one user, who always gets the same version; its last
    # two characters are hexadecimal digits. Empty: none.
    user_header: str = ""


class Spec(_SpecPart, frozen=True):
    """The CRD describes each field for its users."""

    # Name of the InferenceService, in the same namespace.
    inference_service: str
    target: Target
    # Same: the target must give the vectors of the stable version; Changed: it is another model.
    vectors: Literal["Same", "Changed"] = "Same"
    # Compare: both versions stay at the last step's weight until a command.
    strategy: Literal["Promote", "Compare"] = "Promote"
    compare: Compare | None = None
    steps: tuple[Step, ...] = DEFAULT_STEPS
    analysis: Analysis = Analysis()
    limits: Limits = Limits()
    shadow: ShadowSpec | None = None
    # No further step while it is true; a failure is still rolled back.
    paused: bool = False
    # That the service, or its autoscaler, has without a canary; None: what it had at the beginning.
    min_replicas: int | None = None
    # The same for the service's `maxReplicas`.
    max_replicas: int | None = None

    @property
    def last(self) -> int:
        """Index of the last step."""
        return len(self.steps) - 1


def read_spec(resource: dict[str, Any]) -> Spec:
    """The specification of a whole custom resource.

    Raises:
        BadRollout: it asks for something that cannot be done.
    """
    try:
        spec = msgspec.convert(resource.get("spec", {}), Spec)
    except msgspec.ValidationError as error:
        raise BadRollout(f"spec: {error}") from error
    _check(spec)
    if spec.strategy == "Promote" and spec.steps[-1].weight < 100:
        # A canary gets all of the traffic before it is promoted: so no request is lost.
        whole = Step(weight=100, hold="0s")
        spec = msgspec.structs.replace(spec, steps=(*spec.steps, whole))
    return spec


def _check(spec: Spec) -> None:
    weights = [step.weight for step in spec.steps]
    if not weights:
        raise BadRollout("spec.steps is empty: it needs at least one step")
    if any(not 0 <= weight <= 100 for weight in weights):
        raise BadRollout(f"spec.steps: weights {weights} must be 0 to 100")
    if any(after <= before for before, after in pairwise(weights)):
        raise BadRollout(f"spec.steps: weights {weights} must rise")
    if spec.strategy == "Compare" and weights[-1] == 100:
        raise BadRollout("spec.strategy Compare: the last step's weight must be below 100")
    if spec.compare is not None:
        _check_compare(spec.compare, spec.strategy)
    if not spec.target.name or not spec.target.storage_uri:
        raise BadRollout("spec.target: name and storageUri are required")
    analysis, limits = spec.analysis, spec.limits
    durations = [
        *(step.hold for step in spec.steps),
        *(analysis.interval, limits.progress_deadline),
        *(limits.error.after, limits.inconclusive.after),
    ]
    if spec.shadow is not None:
        durations.append(spec.shadow.hold)
    for duration in durations:
        seconds(duration)
    _check_figures(spec)


def _check_compare(compare: Compare, strategy: str) -> None:
    if strategy != "Compare":
        raise BadRollout("spec.compare: only with strategy Compare")
    names = [name for name in (compare.version_header, compare.user_header) if name]
    if not names:
        raise BadRollout("spec.compare: versionHeader, userHeader or both are required")
    for name in names:
        if not HEADER.fullmatch(name):
            raise BadRollout(f"spec.compare: {name[:80]!r} is not a valid header name")
    if len({name.lower() for name in names}) < len(names):
        raise BadRollout("spec.compare: versionHeader and userHeader must be two headers")


def _check_figures(spec: Spec) -> None:
    analysis, shadow = spec.analysis, spec.shadow
    if seconds(analysis.interval) < 1:
        raise BadRollout("spec.analysis.interval must be at least 1s")
    if analysis.min_requests < 1 or analysis.failures < 1:
        raise BadRollout("spec.analysis: minRequests and failures must be at least 1")
    shares = {
        "spec.analysis.errors.maxIncrease": analysis.errors.max_increase,
        "spec.analysis.refused.maxIncrease": analysis.refused.max_increase,
        "spec.analysis.slow.maxIncrease": analysis.slow.max_increase,
        "spec.analysis.vectors.minOverlap": analysis.vectors.min_overlap,
        "spec.shadow.share": shadow.share if shadow is not None else 0.0,
    }
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise BadRollout(f"{name} is {share:g}: it must be 0 to 1")
    if not -1 <= analysis.vectors.tolerance <= 1:
        raise BadRollout("spec.analysis.vectors.tolerance must be -1 to 1")
    if shadow is not None:
        _check_shadow(shadow, spec.limits)


def _check_shadow(shadow: ShadowSpec, limits: Limits) -> None:
    if not shadow.share or shadow.min_texts < 1:
        raise BadRollout("spec.shadow: share must be above 0, and minTexts at least 1")
    if seconds(shadow.hold) >= seconds(limits.inconclusive.after):
        raise BadRollout(
            f"spec.shadow.hold {shadow.hold}: must be shorter than limits.inconclusive.after "
            f"({limits.inconclusive.after}), which would end the wait before"
        )
