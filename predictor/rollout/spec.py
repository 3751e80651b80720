"""What an EmbeddingRollout asks for, read from the custom resource.

The CRD's schema has refused most nonsense before; what it cannot say is checked here, since objects
older than a schema are still read.
"""

import re
from itertools import pairwise
from typing import Any, Literal

import msgspec

GROUP, VERSION, PLURAL, KIND = "predictor.dev", "v1alpha1", "embeddingrollouts", "EmbeddingRollout"
# One word for the controller, once: pause and resume are `spec.paused`.
ACTION = f"{GROUP}/action"
Action = Literal["resume", "promote", "abort", "retry"]
ACTIONS: tuple[Action, ...] = ("resume", "promote", "abort", "retry")

DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
# RFC 9110's token, as the Gateway API allows it.
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}", re.ASCII)
LONGEST_S = 30 * 86400.0


class BadRollout(ValueError):
    """The specification says something that cannot be done; the message says what."""


def seconds(duration: str) -> float:
    """Of `1h30m`, `90s` or `0s`.

    Raises:
        BadRollout: it is no duration, or longer than 30 days.
    """
    found = DURATION.fullmatch(duration)
    if not duration or found is None:
        raise BadRollout(f"duration {duration[:40]!r}: write it like 90s, 10m or 1h30m")
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    total = hours * 3600.0 + minutes * 60.0 + rest
    if total > LONGEST_S:
        raise BadRollout(f"duration {duration}: at most {LONGEST_S / 86400:.0f} days")
    return total


class _Part(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A part of the resource: names as Kubernetes writes them, unknown ones ignored."""


class Target(_Part, frozen=True):
    """The version that should be served.

    name: of the canary's predictor, and of the stable one after the promotion.
    image: of the server, if another one serves the new version; empty: the stable one's.
    """

    storage_uri: str
    name: str
    image: str = ""

    @property
    def key(self) -> str:
        """What makes it another target."""
        return f"{self.name} {self.storage_uri} {self.image}".rstrip()


class Step(_Part, frozen=True):
    """A share of the traffic for the canary, percent; held so long, or until a person says so."""

    weight: int
    hold: str = "5m"
    pause: bool = False


DEFAULT_STEPS = (
    Step(weight=5, hold="5m"),
    Step(weight=10, hold="10m"),
    Step(weight=25, hold="10m"),
    Step(weight=50, hold="10m"),
    Step(weight=100, hold="5m"),
)


class Rates(_Part, frozen=True):
    """By how much the canary's share may exceed the stable one's, 0 to 1."""

    max_increase: float


class Vectors(_Part, frozen=True):
    """What vectors of the canary must be to those of the stable version.

    tolerance: least cosine of the same text's vectors, where the model is the same.
    min_overlap: least mean share of common nearest neighbours, where it is another model.
    """

    tolerance: float = 0.999
    min_overlap: float = 0.5


class Analysis(_Part, frozen=True):
    """How the canary is judged.

    min_requests: of the canary at a step, before errors and latency say anything.
    failures: looks in a row that must find it worse before it is rolled back.
    errors: of 5xx in all answers. refused: of 429. slow: of answers slower than the stable
    version's 99th percentile (at the next bounds of the histogram); of those slower than its 90th
    the odds may rise by the same factor.
    """

    interval: str = "30s"
    min_requests: int = 100
    failures: int = 2
    errors: Rates = Rates(max_increase=0.005)
    refused: Rates = Rates(max_increase=0.02)
    slow: Rates = Rates(max_increase=0.0075)
    vectors: Vectors = Vectors()


Then = Literal["Hold", "RollBack"]


class Patience(_Part, frozen=True):
    """How long a state may last, and what then."""

    after: str
    then: Then


class Limits(_Part, frozen=True):
    """progress_deadline: for pods to get ready and routes to be programmed.

    error: nothing can be measured. inconclusive: there is too little traffic to tell.
    """

    progress_deadline: str = "10m"
    error: Patience = Patience(after="15m", then="Hold")
    inconclusive: Patience = Patience(after="1h", then="Hold")


class Shadow(_Part, frozen=True):
    """Copies of live texts for the canary before anybody depends on it.

    share: of the stable version's requests, 0 to 1.
    """

    share: float = 0.05
    hold: str = "2m"
    min_texts: int = 50


class Compare(_Part, frozen=True):
    """Who gets which version while there are two; who has none of these headers goes by weight.

    version_header: its value, `canary` or `stable`, chooses. user_header: its value, the end of
    which is hexadecimal, belongs to one user, who always gets the same version.
    """

    version_header: str = ""
    user_header: str = ""


class Spec(_Part, frozen=True):
    """See the CRD for the words of each field.

    vectors: Same: it must give the vectors of the stable version; Changed: another model.
    strategy: Promote, or Compare: keep both at the last step's weight until told.
    """

    inference_service: str
    target: Target
    vectors: Literal["Same", "Changed"] = "Same"
    strategy: Literal["Promote", "Compare"] = "Promote"
    compare: Compare | None = None
    steps: tuple[Step, ...] = DEFAULT_STEPS
    analysis: Analysis = Analysis()
    limits: Limits = Limits()
    shadow: Shadow | None = None
    paused: bool = False

    @property
    def last(self) -> int:
        return len(self.steps) - 1


def read_spec(resource: dict[str, Any]) -> Spec:
    """Of a whole custom resource.

    Raises:
        BadRollout: what it asks for cannot be done.
    """
    try:
        spec = msgspec.convert(resource.get("spec", {}), Spec)
    except msgspec.ValidationError as error:
        raise BadRollout(f"spec: {error}") from error
    _check(spec)
    if spec.strategy == "Promote" and spec.steps[-1].weight < 100:
        # Nobody becomes stable that has not had all of the traffic: the way there loses no request.
        all_of_it = Step(weight=100, hold="0s")
        spec = msgspec.structs.replace(spec, steps=(*spec.steps, all_of_it))
    return spec


def _check(spec: Spec) -> None:
    weights = [step.weight for step in spec.steps]
    if not weights:
        raise BadRollout("spec.steps is empty: one step at least")
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
            raise BadRollout(f"spec.compare: {name[:80]!r} is no name of a header")
    if len({name.lower() for name in names}) < len(names):
        raise BadRollout("spec.compare: versionHeader and userHeader must be two headers")


def _check_figures(spec: Spec) -> None:
    analysis, shadow = spec.analysis, spec.shadow
    if seconds(analysis.interval) < 1:
        raise BadRollout("spec.analysis.interval must be 1s at least")
    if analysis.min_requests < 1 or analysis.failures < 1:
        raise BadRollout("spec.analysis: minRequests and failures must be 1 at least")
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


def _check_shadow(shadow: Shadow, limits: Limits) -> None:
    if not shadow.share or shadow.min_texts < 1:
        raise BadRollout("spec.shadow: share must be above 0, and minTexts 1 at least")
    if seconds(shadow.hold) >= seconds(limits.inconclusive.after):
        raise BadRollout(
            f"spec.shadow.hold {shadow.hold}: must be shorter than limits.inconclusive.after "
            f"({limits.inconclusive.after}), which would end the wait before"
        )
