"""From figures to a verdict: whether the canary is worse than the stable version, and surely so.

*Failed* needs near certainty, since it is asked again and again; *Successful* needs ordinary
confidence that it is not much worse; what lies between is *Inconclusive* and waits for traffic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite

from predictor.rollout.proportions import increase
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
# Shares in the sense of p99.
SLOWEST = 0.01


@dataclass(frozen=True, slots=True)
class Traffic:
    """Answers of one Deployment in a window of time.

    buckets: answers by upper bound in seconds, cumulative, with infinity.
    """

    answers: float
    errors: float
    refused: float
    buckets: Mapping[float, float] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the figures can be figures: Prometheus also answers NaN and halves of series."""
        numbers = (self.answers, self.errors, self.refused, *self.buckets.values())
        if not all(isfinite(number) and number >= 0 for number in numbers):
            return False
        ordered = [self.buckets[bound] for bound in sorted(self.buckets)]
        # Sums of floating point over pods: what is equal may differ in its last digits.
        is_ordered = all(after >= before * (1 - 1e-9) for before, after in pairwise(ordered))
        return is_ordered and self.errors + self.refused <= self.answers * 1.001


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
    ours, theirs = (hits, canary.answers), (base, stable.answers)
    verdict = _verdict(ours, theirs, limit, ROOM)
    told = f"{hits / canary.answers:.2%} of {canary.answers:.0f}"
    return Measure(name, verdict, f"{told}, stable {base / stable.answers:.2%}")


def _verdict(
    canary: tuple[float, float], stable: tuple[float, float], limit: float, room: float
) -> Verdict:
    if increase(canary, stable, SURE)[0] > limit:
        return "Failed"
    if increase(canary, stable, CONFIDENT)[1] <= room * limit:
        return "Successful"
    return "Inconclusive"


def _slow(limit: float, canary: Traffic, stable: Traffic) -> Measure:
    """Answers slower than the stable version's slowest hundredth, by both bounds next to that.

    The bounds are far apart: half as slow again may not reach the one above. Below it more of the
    stable version's answers are slow too, and the limit grows as they do.
    """
    total, ours = stable.buckets.get(inf, 0.0), canary.buckets.get(inf, 0.0)
    if canary.buckets.keys() != stable.buckets.keys() or not total or not ours:
        return Measure("slow", "Error", "the histograms do not go together")
    bounds = [bound for bound in _around_p99(stable) if bound != inf]
    if not bounds:
        return Measure("slow", "Inconclusive", "the stable version is slower than any bound")
    verdicts: set[Verdict] = set()
    words = []
    for bound in bounds:
        slow = max(0.0, ours - canary.buckets[bound])
        base = max(0.0, total - stable.buckets[bound])
        most = limit * max(1.0, base / total / SLOWEST)
        verdicts.add(_verdict((slow, ours), (base, total), most, SLOW_ROOM))
        words.append(f"{slow / ours:.2%} over {bound * 1e3:g} ms, stable {base / total:.2%}")
    return Measure("slow", _first(verdicts), "; ".join(words))


def _around_p99(stable: Traffic) -> list[float]:
    """The last bound below the 99th percentile, if any, and the first one above."""
    total = stable.buckets[inf]
    bounds = sorted(stable.buckets)
    above = next(n for n, b in enumerate(bounds) if total - stable.buckets[b] <= SLOWEST * total)
    return bounds[max(0, above - 1) : above + 1]


def combined(measures: Sequence[Measure]) -> Verdict:
    """One failed fails all; then an error, then doubt; nothing measured is doubt."""
    return _first({measure.verdict for measure in measures})


def _first(verdicts: set[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("Failed", "Error", "Inconclusive", "Successful")
    return next((verdict for verdict in order if verdict in verdicts), "Inconclusive")
