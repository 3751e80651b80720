"""From figures to a verdict: whether the canary is worse than the stable version, and surely so.

*Failed* needs near certainty, since the question is asked again and again; *Successful* needs
ordinary confidence that the canary is not much worse; between them lies *Inconclusive*, which waits
for more traffic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite

from predictor.rollout.proportions import increase
from predictor.rollout.slowness import SLOWEST, SlowShare, kinds_of, slow_shares
from predictor.rollout.spec import Analysis
from predictor.rollout.state import Measurement, Verdict

# One-sided. A step of 10 minutes has 20 analyses: 20 times the error of this is the most that one
# quality could fail by chance if the canary were exactly at its limit.
SURE = 0.9999
# One-sided, that the increase is below ROOM times the limit. Latency has less room: a canary that
# takes half as long again is hardly above twice the limit where latencies vary much.
CONFIDENT = 0.95
ROOM, SLOW_ROOM = 2.0, 1.5
# Factor of the limits where the two were not measured at the same time: what varies with the
# traffic affects both versions alike, but only at one time.
APART = 20.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Answers of one Deployment in a window of time."""

    answers: float
    # Of the answers, those with a status of 5xx.
    errors: float
    # Of the answers, those with status 429.
    refused: float
    # Answers by upper bound in seconds, cumulative, the last bound is infinity.
    buckets: Mapping[float, float] = field(default_factory=dict)
    # Of `buckets`, answers with a row that was not in the cache; empty: not known.
    computed: Mapping[float, float] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the figures are possible: Prometheus also returns NaN and parts of series."""
        histograms = (self.buckets, self.computed)
        counts = (count for buckets in histograms for count in buckets.values())
        numbers = (self.answers, self.errors, self.refused, *counts)
        if not all(isfinite(number) and number >= 0 for number in numbers):
            return False
        is_ordered = all(_is_cumulative(buckets) for buckets in histograms)
        return is_ordered and self.errors + self.refused <= self.answers * 1.001


def _is_cumulative(buckets: Mapping[float, float]) -> bool:
    """Whether no count falls; equal sums over pods may differ in their last digits."""
    ordered = [buckets[bound] for bound in sorted(buckets)]
    return all(after >= before * (1 - 1e-9) for before, after in pairwise(ordered))


def judge_traffic(
    analysis: Analysis, canary: Traffic, stable: Traffic, *, apart: bool = False
) -> tuple[Measurement, ...]:
    """Errors, refusals and slowness of the canary beside the stable version.

    Args:
        apart: they were not measured at the same time.
    """
    if not canary.is_whole or not stable.is_whole:
        return (Measurement("traffic", "Error", "Prometheus returned impossible figures"),)
    if canary.answers < analysis.min_requests:
        message = f"{canary.answers:.0f} requests of the canary, {analysis.min_requests} are needed"
        return (Measurement("traffic", "Inconclusive", message),)
    if stable.answers <= 0:
        return (Measurement("traffic", "Inconclusive", "no traffic on the stable version"),)
    factor = APART if apart else 1.0
    errors_limit = factor * analysis.errors.max_increase
    refused_limit = factor * analysis.refused.max_increase
    latency_limit = factor * analysis.slow.max_increase
    return (
        _compare("errors", errors_limit, canary, stable, canary.errors, stable.errors),
        _compare("refused", refused_limit, canary, stable, canary.refused, stable.refused),
        _compare_latency(latency_limit, canary, stable),
    )


def _compare(
    name: str, limit: float, canary: Traffic, stable: Traffic, hits: float, base: float
) -> Measurement:
    verdict = _verdict((hits, canary.answers), (base, stable.answers), limit)
    share = f"{hits / canary.answers:.2%} of {canary.answers:.0f}"
    return Measurement(name, verdict, f"{share}, stable {base / stable.answers:.2%}")


def _verdict(canary: tuple[float, float], stable: tuple[float, float], limit: float) -> Verdict:
    if increase(canary, stable, SURE)[0] > limit:
        return "Failed"
    if increase(canary, stable, CONFIDENT)[1] <= ROOM * limit:
        return "Successful"
    return "Inconclusive"


def _compare_latency(limit: float, canary: Traffic, stable: Traffic) -> Measurement:
    """Answers slower than the stable version's slowest hundredth, and than its slowest tenth."""
    same = canary.buckets.keys() == stable.buckets.keys()
    if not same or not canary.buckets.get(inf) or not stable.buckets.get(inf):
        return Measurement("slow", "Error", "the histograms have different bounds")
    kinds = kinds_of(canary.buckets, stable.buckets, (canary.computed, stable.computed))
    shares = slow_shares(kinds)
    if not shares:
        return Measurement("slow", "Inconclusive", "the stable version is slower than any bound")
    verdicts = {_slow_verdict(slow, slow_limit(limit, slow.base)) for slow in shares}
    return Measurement("slow", _first(verdicts), "; ".join(slow.message for slow in shares))


def slow_limit(limit: float, base: float) -> float:
    """By how much a share may rise where the stable version's is `base`, 0 to 1.

    The limit is meant for its slowest hundredth. Where more are slow the odds may rise by the same
    factor, so that the allowed share never exceeds all of the answers.
    """
    if base <= SLOWEST:
        return limit
    highest = min(SLOWEST + limit, 1 - 1e-9)
    factor = highest / (1 - highest) / (SLOWEST / (1 - SLOWEST))
    return factor * base / (1 - base + factor * base) - base


def _slow_verdict(slow: SlowShare, limit: float) -> Verdict:
    if slow.interval(SURE)[0] > limit:
        return "Failed"
    return "Successful" if slow.interval(CONFIDENT)[1] <= SLOW_ROOM * limit else "Inconclusive"


def combined(measurements: Sequence[Measurement]) -> Verdict:
    """The worst verdict: Failed, Error, Inconclusive, Successful; of nothing: Inconclusive."""
    return _first({measure.verdict for measure in measurements})


def _first(verdicts: set[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("Failed", "Error", "Inconclusive", "Successful")
    return next((verdict for verdict in order if verdict in verdicts), "Inconclusive")
