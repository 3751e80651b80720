"""Whether the canary is slower: computed answers and cached answers are compared separately.

A canary starts with an empty cache. If all answers were compared together, a version that is just
as fast would look slow where most of the stable version's answers are cached. So each kind has its
own bounds and its own difference, and the differences are weighted by the kinds' shares in the
canary's answers (intervals joined as in G. Zou and A. Donner, Statistics in Medicine 27, 2008:
MOVER).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt

from predictor.rollout.proportions import increase

# Shares of the stable version's answers above its p99 and its p90. The limit is for the first.
# Where its own tail is heavy, a canary may be several times as slow and hardly reach its p99.
SLOWEST, SLOW = 0.01, 0.1
Buckets = Mapping[float, float]
# Slow answers, and all answers.
Counted = tuple[float, float]


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """Answers of one kind, computed or cached: cumulative buckets of both versions."""

    canary: Buckets
    stable: Buckets
    # By percentile of the stable version: the last bound below it, if any, and the first above.
    # Empty where it has no answers, or slower ones than any bound.
    bounds: tuple[tuple[float, ...], ...]

    def bound(self, percentile: int, index: int) -> float | None:
        """The first or the second bound next to a percentile."""
        bounds = self.bounds[percentile]
        return bounds[min(index, len(bounds) - 1)] if bounds else None

    def beyond(self, bound: float) -> tuple[Counted, Counted]:
        """Answers of canary and stable version over a bound."""
        canary_all = self.canary[inf]
        stable_all = self.stable[inf]
        canary_slow = max(0.0, canary_all - self.canary[bound])
        stable_slow = max(0.0, stable_all - self.stable[bound])
        return (canary_slow, canary_all), (stable_slow, stable_all)


@dataclass(frozen=True, slots=True)
class SlowShare:
    """Shares of slow answers at one choice of bounds."""

    # The canary's share, 0 to 1.
    share: float
    # The share of the stable version if it had the canary's mix of kinds, 0 to 1.
    base: float
    # The figures, for people.
    message: str
    # By kind: its share in the canary's answers, and the counts of canary and stable version;
    # None: not known.
    parts: tuple[tuple[float, tuple[Counted, Counted] | None], ...]

    def interval(self, confidence: float) -> tuple[float, float]:
        """Least and most by which the share exceeds the base."""
        square_below = square_above = middle = 0.0
        for weight, counts in self.parts:
            low, high = increase(*counts, confidence) if counts else (-1.0, 1.0)
            difference = _share(counts[0]) - _share(counts[1]) if counts else 0.0
            middle += weight * difference
            square_below += (weight * (difference - low)) ** 2
            square_above += (weight * (high - difference)) ** 2
        return middle - sqrt(square_below), middle + sqrt(square_above)


def kinds_of(
    canary: Buckets, stable: Buckets, computed: tuple[Buckets, Buckets]
) -> list[AnswerKind]:
    """One kind where a version does not report which answers were computed, else two.

    Args:
        computed: of canary and stable version, those of the answers for which a row was computed.
    """
    canary_computed, stable_computed = computed
    is_known = canary_computed.keys() == canary.keys() and stable_computed.keys() == stable.keys()
    if not is_known:
        return [_kind(canary, stable)]
    cached = _kind(_subtract(canary, canary_computed), _subtract(stable, stable_computed))
    return [_kind(canary_computed, stable_computed), cached]


def slow_shares(kinds: list[AnswerKind]) -> list[SlowShare]:
    """Shares by the bounds below the percentiles and by those above; empty: there are no bounds.

    The bounds are far apart: a canary that takes half as long again may not reach the one above.
    """
    total = sum(kind.canary[inf] for kind in kinds)
    weighted = [(kind.canary[inf] / total, kind) for kind in kinds if kind.canary[inf] > 0]
    shares: dict[tuple[float | None, ...], SlowShare] = {}
    for percentile, index in ((0, 0), (0, 1), (1, 0), (1, 1)):
        bounds = tuple(kind.bound(percentile, index) for _, kind in weighted)
        if any(bound is not None for bound in bounds) and bounds not in shares:
            shares[bounds] = _slow_share(bounds, weighted)
    return list(shares.values())


def _slow_share(
    bounds: tuple[float | None, ...], weighted: list[tuple[float, AnswerKind]]
) -> SlowShare:
    parts = tuple(
        (weight, None if bound is None else kind.beyond(bound))
        for bound, (weight, kind) in zip(bounds, weighted, strict=True)
    )
    known = [(weight, counted) for weight, counted in parts if counted is not None]
    share = sum(weight * _share(canary) for weight, (canary, _) in known)
    base = sum(weight * _share(stable) for weight, (_, stable) in known)
    limits = " or ".join(f"{bound * 1e3:g}" for bound in bounds if bound is not None)
    return SlowShare(share, base, f"{share:.2%} over {limits} ms, stable {base:.2%}", parts)


def _kind(canary: Buckets, stable: Buckets) -> AnswerKind:
    return AnswerKind(canary, stable, tuple(_around(stable, share) for share in (SLOWEST, SLOW)))


def _around(stable: Buckets, share: float) -> tuple[float, ...]:
    total, bounds = stable[inf], sorted(stable)
    if total <= 0:
        return ()
    above = next(n for n, b in enumerate(bounds) if total - stable[b] <= share * total)
    return tuple(bound for bound in bounds[max(0, above - 1) : above + 1] if bound != inf)


def _subtract(whole: Buckets, part: Buckets) -> Buckets:
    """The difference, made cumulative: sums of floating point may differ in their last digits."""
    difference: dict[float, float] = {}
    highest = 0.0
    for bound in sorted(whole):
        highest = max(highest, whole[bound] - part[bound])
        difference[bound] = highest
    return difference


def _share(counted: Counted) -> float:
    return counted[0] / counted[1]
