"""Results of mirrored live texts: counts that are summed over pods, and a verdict on the canary."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from predictor.rollout.proportions import interval, z_of
from predictor.rollout.spec import ShadowSpec, Spec, seconds
from predictor.rollout.state import Measurement, Verdict

NAME = "shadow"
# Upper bounds of the histogram of 1 - cosine; the last bucket has no bound.
BOUNDS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# Different dimensions of vectors that are counted; a model has one.
MOST_DIMENSIONS = 8
# Share of failed texts that is more than an occasional restart explains.
MOST_FAILED = 0.05
SURE = 0.999
# Texts of one request fail together: so many of them count as one independent failure.
TEXTS_TOGETHER = 8


Buckets = Annotated[list[int], msgspec.Meta(min_length=len(BOUNDS) + 1, max_length=len(BOUNDS) + 1)]


class ShadowTotals(msgspec.Struct, kw_only=True):
    """Counts of texts, and cosines between the canary's vector and the one that the client got."""

    # Dimensions of the stable version's vectors.
    stable_dimensions: int = 0
    # Texts that the canary answered with a vector.
    compared: int = 0
    # Texts that the canary did not answer, or not with vectors.
    failed: int = 0
    # Texts that were not sent: the queue was full, or the time was over.
    dropped: int = 0
    # Of `failed`, texts with an invalid vector: not finite, or zero.
    invalid: int = 0
    # Of `compared`, texts whose vector has the dimensions of the stable version.
    cosines: int = 0
    # Of these cosines; None: there are none.
    smallest: float | None = None
    mean: float | None = None
    # Texts by 1 - cosine, with the upper bounds `BOUNDS`.
    histogram: Buckets = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    # Texts by dimensions of the canary's vector.
    dimensions: dict[int, int] = msgspec.field(default_factory=dict)

    def record(self, dimensions: int, texts: int, cosines: Sequence[float]) -> None:
        """Count one answer.

        Args:
            dimensions: of the canary's vectors.
            texts: that have a vector.
            cosines: of these texts; none if the dimensions differ.
        """
        self.compared += texts
        if dimensions in self.dimensions or len(self.dimensions) < MOST_DIMENSIONS:
            self.dimensions[dimensions] = self.dimensions.get(dimensions, 0) + texts
        if not cosines:
            return
        mean = sum(cosines) / len(cosines)
        self.mean = _joint_mean(self.mean, self.cosines, mean, len(cosines))
        self.cosines += len(cosines)
        self.smallest = min(cosines if self.smallest is None else [self.smallest, *cosines])
        for cosine in cosines:
            bucket = next((n for n, bound in enumerate(BOUNDS) if 1 - cosine <= bound), len(BOUNDS))
            self.histogram[bucket] += 1


class ShadowReport(msgspec.Struct, kw_only=True):
    """What a server answers about its shadow."""

    # Whether live texts are mirrored now.
    active: bool
    # Of the canary.
    url: str = ""
    # Name of the model in requests.
    model: str = ""
    # Version of the stable model.
    version: str = ""
    # Of the stable version's requests, 0 to 1.
    share: float = 0.0
    # How long texts have been mirrored.
    age_s: float = 0.0
    # Time until the shadow ends unless it is renewed.
    left_s: float = 0.0
    totals: ShadowTotals = msgspec.field(default_factory=ShadowTotals)


def sum_reports(reports: Iterable[ShadowReport]) -> tuple[ShadowTotals, float]:
    """The totals of all pods, and the age of the oldest shadow, seconds."""
    whole = ShadowTotals()
    age_s = 0.0
    for report in reports:
        age_s = max(age_s, report.age_s)
        _add(whole, report.totals)
    return whole, age_s


def _add(whole: ShadowTotals, pod: ShadowTotals) -> None:
    whole.stable_dimensions = max(whole.stable_dimensions, pod.stable_dimensions)
    if pod.mean is not None:
        whole.mean = _joint_mean(whole.mean, whole.cosines, pod.mean, pod.cosines)
    if pod.smallest is not None:
        known = pod.smallest if whole.smallest is None else whole.smallest
        whole.smallest = min(known, pod.smallest)
    for name in ("compared", "failed", "dropped", "invalid", "cosines"):
        setattr(whole, name, getattr(whole, name) + getattr(pod, name))
    whole.histogram = [a + b for a, b in zip(whole.histogram, pod.histogram, strict=True)]
    for dimensions, texts in pod.dimensions.items():
        whole.dimensions[dimensions] = whole.dimensions.get(dimensions, 0) + texts


def _joint_mean(mean: float | None, count: int, other: float, other_count: int) -> float:
    if mean is None or not count:
        return other
    return (mean * count + other * other_count) / (count + other_count)


def judge_shadow(spec: Spec, shadow: ShadowSpec, totals: ShadowTotals, age_s: float) -> Measurement:
    """A wrong vector fails at once; everything else after the hold and with enough texts."""
    summary = _summary(totals)
    if fault := _fault(spec, totals):
        return Measurement(NAME, "Failed", f"{fault}; {summary}")
    sent = totals.compared + totals.failed
    if age_s < seconds(shadow.hold) or sent < shadow.min_texts:
        needed = f"{shadow.min_texts} texts and {shadow.hold} are needed, so far {age_s:.0f} s"
        return Measurement(NAME, "Inconclusive", f"{summary}; {needed}")
    if totals.failed > MOST_FAILED * sent:
        least, _ = interval(totals.failed / TEXTS_TOGETHER, sent / TEXTS_TOGETHER, z_of(SURE))
        verdict: Verdict = "Failed" if least > MOST_FAILED else "Inconclusive"
        return Measurement(NAME, verdict, f"{summary}; at most {MOST_FAILED:.0%} may fail")
    if totals.compared < shadow.min_texts:
        message = f"{summary}; {shadow.min_texts} are needed"
        return Measurement(NAME, "Inconclusive", message)
    return Measurement(NAME, "Successful", summary)


def _fault(spec: Spec, totals: ShadowTotals) -> str:
    """What one text is enough to show; the same rules as for the texts of `controller/probe.py`."""
    if totals.invalid:
        return f"{totals.invalid} invalid vectors"
    if spec.vectors == "Changed":
        return ""
    if other := sorted(totals.dimensions.keys() - {totals.stable_dimensions}):
        return f"{other[0]} dimensions, the stable version gives {totals.stable_dimensions}"
    least = spec.analysis.vectors.tolerance
    if totals.smallest is not None and totals.smallest < least:
        return f"smallest cosine {totals.smallest:.6f}, least {least}"
    return ""


def _summary(totals: ShadowTotals) -> str:
    parts = [f"{totals.compared} live texts compared"]
    if totals.smallest is not None:
        parts.append(f"smallest cosine {totals.smallest:.6f}, mean {totals.mean:.6f}")
    if totals.failed:
        parts.append(f"{totals.failed} failed")
    return ", ".join(parts)
