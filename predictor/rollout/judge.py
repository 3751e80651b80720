"""From figures to a verdict: whether the canary is worse than the stable version, and surely so.

*Failed* needs near certainty, since it is asked again and again; *Successful* needs ordinary
confidence that it is not much worse; what lies between is *Inconclusive* and waits for traffic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite

from predictor.rollout.proportions import increase
from predictor.rollout.slowness import SLOWEST, Slower, kinds_of, slower
from predictor.rollout.spec import Analysis
from predictor.rollout.state import Measure, Verdict

# One-sided. A step of 10 minutes is looked at 20 times: 20 times this is the most that one quality
# could be failed by chance if the canary were exactly at its limit.
SURE = 0.9999
# One-sided, that the increase is below so many times the limit. Latency is given less room: half
# as slow again is hardly more than twice the limit where latencies are far apart.
CONFIDENT = 0.95
ROOM, SLOW_ROOM = 2.0, 1.5
# So many times the limits where the two were not measured at the same time: what comes and goes
# with the traffic strikes both versions alike, but only at one time.
APART = 20.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Answers of one Deployment in a window of time.

    buckets: answers by upper bound in seconds, cumulative, with infinity. computed: those of them
    for which a row was computed, as all rows were not in the cache; empty: not known.
    """

    answers: float
    errors: float
    refused: float
    buckets: Mapping[float, float] = field(default_factory=dict)
    computed: Mapping[float, float] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the figures can be figures: Prometheus also answers NaN and halves of series."""
        histograms = (self.buckets, self.computed)
        counts = (count for one in histograms for count in one.values())
        numbers = (self.answers, self.errors, self.refused, *counts)
        if not all(isfinite(number) and number >= 0 for number in numbers):
            return False
        is_ordered = all(_is_cumulative(one) for one in histograms)
        return is_ordered and self.errors + self.refused <= self.answers * 1.001


def _is_cumulative(buckets: Mapping[float, float]) -> bool:
    """Sums of floating point over pods: what is equal may differ in its last digits."""
    ordered = [buckets[bound] for bound in sorted(buckets)]
    return all(after >= before * (1 - 1e-9) for before, after in pairwise(ordered))


def judge_traffic(
    analysis: Analysis, canary: Traffic, stable: Traffic, *, apart: bool = False
) -> tuple[Measure, ...]:
    """Errors, refusals and slowness of the canary beside the stable version.

    Args:
        apart: they were not measured at the same time.
    """
    if not canary.is_whole or not stable.is_whole:
        return (Measure("traffic", "Error", "Prometheus gave figures that cannot be"),)
    if canary.answers < analysis.min_requests:
        told = f"{canary.answers:.0f} requests of the canary, {analysis.min_requests} are wanted"
        return (Measure("traffic", "Inconclusive", told),)
    if stable.answers <= 0:
        return (Measure("traffic", "Inconclusive", "nobody asked the stable version"),)
    times = APART if apart else 1.0
    limits = [
        times * one.max_increase for one in (analysis.errors, analysis.refused, analysis.slow)
    ]
    return (
        _compare("errors", limits[0], canary, stable, canary.errors, stable.errors),
        _compare("refused", limits[1], canary, stable, canary.refused, stable.refused),
        _slow(limits[2], canary, stable),
    )


def _compare(
    name: str, limit: float, canary: Traffic, stable: Traffic, hits: float, base: float
) -> Measure:
    verdict = _verdict((hits, canary.answers), (base, stable.answers), limit)
    told = f"{hits / canary.answers:.2%} of {canary.answers:.0f}"
    return Measure(name, verdict, f"{told}, stable {base / stable.answers:.2%}")


def _verdict(canary: tuple[float, float], stable: tuple[float, float], limit: float) -> Verdict:
    if increase(canary, stable, SURE)[0] > limit:
        return "Failed"
    if increase(canary, stable, CONFIDENT)[1] <= ROOM * limit:
        return "Successful"
    return "Inconclusive"


def _slow(limit: float, canary: Traffic, stable: Traffic) -> Measure:
    """Answers slower than the stable version's slowest hundredth, and than its slowest tenth."""
    same = canary.buckets.keys() == stable.buckets.keys()
    if not same or not canary.buckets.get(inf) or not stable.buckets.get(inf):
        return Measure("slow", "Error", "the histograms do not go together")
    kinds = kinds_of(canary.buckets, stable.buckets, (canary.computed, stable.computed))
    found = slower(kinds)
    if not found:
        return Measure("slow", "Inconclusive", "the stable version is slower than any bound")
    verdicts = {_slow_verdict(one, slow_limit(limit, one.base)) for one in found}
    return Measure("slow", _first(verdicts), "; ".join(one.words for one in found))


def slow_limit(limit: float, base: float) -> float:
    """By how much a share may rise where the stable version's is `base`, 0 to 1.

    The limit is meant for its slowest hundredth. Where more are slow the odds may rise by the same
    factor, so that what is allowed of a tenth never exceeds all of the answers.
    """
    if base <= SLOWEST:
        return limit
    highest = min(SLOWEST + limit, 1 - 1e-9)
    factor = highest / (1 - highest) / (SLOWEST / (1 - SLOWEST))
    return factor * base / (1 - base + factor * base) - base


def _slow_verdict(found: Slower, limit: float) -> Verdict:
    if found.interval(SURE)[0] > limit:
        return "Failed"
    return "Successful" if found.interval(CONFIDENT)[1] <= SLOW_ROOM * limit else "Inconclusive"


def combined(measures: Sequence[Measure]) -> Verdict:
    """One failed fails all; then an error, then doubt; nothing measured is doubt."""
    return _first({measure.verdict for measure in measures})


def _first(verdicts: set[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("Failed", "Error", "Inconclusive", "Successful")
    return next((verdict for verdict in order if verdict in verdicts), "Inconclusive")
