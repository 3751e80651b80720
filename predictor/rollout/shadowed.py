"""What copies of live texts said of a canary: counts that add up over pods, and a verdict."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from predictor.rollout.proportions import interval, z_of
from predictor.rollout.spec import Shadow, Spec, seconds
from predictor.rollout.state import Measure, Verdict

NAME = "shadow"
# Of 1 - cosine: upper bounds of the histogram, the last bucket has none.
BOUNDS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# Widths of vectors that are told apart; a model has one.
MOST_WIDTHS = 8
# Share of the texts without an answer that is more than a restart here and there.
MOST_FAILED = 0.05
SURE = 0.999
# Texts of one request fail together: so many of them are one piece of evidence.
TOGETHER = 8


Buckets = Annotated[list[int], msgspec.Meta(min_length=len(BOUNDS) + 1, max_length=len(BOUNDS) + 1)]


class Totals(msgspec.Struct, kw_only=True):
    """Texts, and cosines of the canary's vector of a text to that which the client got.

    compared: answered with a vector. failed: not answered, or by nonsense. dropped: there was no
    room or no time. void: of the failed, those answered with a vector that is none.
    cosines: of the compared, those whose vector is as long as the stable version's.
    mean: of these. histogram: of 1 - cosine, by `BOUNDS`. own: dimensions of the stable version.
    widths: texts by dimensions of the canary's vector.
    """

    own: int = 0
    compared: int = 0
    failed: int = 0
    dropped: int = 0
    void: int = 0
    cosines: int = 0
    smallest: float | None = None
    mean: float | None = None
    histogram: Buckets = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    widths: dict[int, int] = msgspec.field(default_factory=dict)

    def take(self, width: int, texts: int, cosines: Sequence[float]) -> None:
        """One answer. texts: that have a vector; cosines: theirs, or none if widths differ."""
        self.compared += texts
        if width in self.widths or len(self.widths) < MOST_WIDTHS:
            self.widths[width] = self.widths.get(width, 0) + texts
        if not cosines:
            return
        self.mean = _mean(self.mean, self.cosines, sum(cosines) / len(cosines), len(cosines))
        self.cosines += len(cosines)
        self.smallest = min(cosines if self.smallest is None else [self.smallest, *cosines])
        for cosine in cosines:
            at = next((n for n, bound in enumerate(BOUNDS) if 1 - cosine <= bound), len(BOUNDS))
            self.histogram[at] += 1


class Report(msgspec.Struct, kw_only=True):
    """A server's word on its shadow.

    active: copies are taken now. version: of the stable model. age_s: how long copies have been
    taken. left_s: until it ends unless it is renewed.
    """

    active: bool
    url: str = ""
    model: str = ""
    version: str = ""
    share: float = 0.0
    age_s: float = 0.0
    left_s: float = 0.0
    totals: Totals = msgspec.field(default_factory=Totals)


def summed(reports: Iterable[Report]) -> tuple[Totals, float]:
    """The totals of all pods, and the age of the oldest shadow, seconds."""
    whole, age = Totals(), 0.0
    for report in reports:
        one, age = report.totals, max(age, report.age_s)
        whole.own = max(whole.own, one.own)
        if one.mean is not None:
            whole.mean = _mean(whole.mean, whole.cosines, one.mean, one.cosines)
        if one.smallest is not None:
            known = one.smallest if whole.smallest is None else whole.smallest
            whole.smallest = min(known, one.smallest)
        for name in ("compared", "failed", "dropped", "void", "cosines"):
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
        whole.histogram = [a + b for a, b in zip(whole.histogram, one.histogram, strict=True)]
        for width, texts in one.widths.items():
            whole.widths[width] = whole.widths.get(width, 0) + texts
    return whole, age


def _mean(of: float | None, count: int, other: float, more: int) -> float:
    return other if of is None or not count else (of * count + other * more) / (count + more)


def judge_shadow(spec: Spec, shadow: Shadow, totals: Totals, age_s: float) -> Measure:
    """A wrong vector is one too many at once; all else when there was time and texts enough."""
    told = _told(totals)
    if wrong := _wrong(spec, totals):
        return Measure(NAME, "Failed", f"{wrong}; {told}")
    asked = totals.compared + totals.failed
    if age_s < seconds(shadow.hold) or asked < shadow.min_texts:
        wanted = f"{shadow.min_texts} texts and {shadow.hold} are wanted, so far {age_s:.0f} s"
        return Measure(NAME, "Inconclusive", f"{told}; {wanted}")
    if totals.failed > MOST_FAILED * asked:
        least, _ = interval(totals.failed / TOGETHER, asked / TOGETHER, z_of(SURE))
        verdict: Verdict = "Failed" if least > MOST_FAILED else "Inconclusive"
        return Measure(NAME, verdict, f"{told}; at most {MOST_FAILED:.0%} may fail")
    if totals.compared < shadow.min_texts:
        return Measure(NAME, "Inconclusive", f"{told}; {shadow.min_texts} are wanted")
    return Measure(NAME, "Successful", told)


def _wrong(spec: Spec, totals: Totals) -> str:
    """What no canary may do; the same rules as for the texts of `controller/probing.py`."""
    if totals.void:
        return f"{totals.void} vectors are none"
    if spec.vectors == "Changed":
        return ""
    if other := sorted(width for width in totals.widths if width != totals.own):
        return f"{other[0]} dimensions, the stable version gives {totals.own}"
    least = spec.analysis.vectors.tolerance
    if totals.smallest is not None and totals.smallest < least:
        return f"smallest cosine {totals.smallest:.6f}, least {least}"
    return ""


def _told(totals: Totals) -> str:
    words = [f"{totals.compared} live texts compared"]
    if totals.smallest is not None:
        words.append(f"smallest cosine {totals.smallest:.6f}, mean {totals.mean:.6f}")
    if totals.failed:
        words.append(f"{totals.failed} failed")
    return ", ".join(words)
