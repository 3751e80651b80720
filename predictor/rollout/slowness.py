"""Is the canary slower? Like is compared with like: computed answers, and those out of the cache.

A canary's cache is empty when it comes in. Were all answers thrown together, a version that is just
as good would look slow where most of the stable version's answers are hits. So each kind has its
own bounds and its own difference, and the differences count by how the canary's answers are made up
(intervals joined as in G. Zou and A. Donner, Statistics in Medicine 27, 2008: MOVER).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt

from predictor.rollout.proportions import increase

# Of the stable version's answers: what its p99 and its p90 leave over. The limit is for the first.
# Where its own tail is heavy, a canary may be several times as slow and hardly reach into that.
SLOWEST, SLOW = 0.01, 0.1
Buckets = Mapping[float, float]
# Slow ones and all of them.
Counted = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """Answers of one kind: cumulative buckets of canary and stable version, and its bounds.

    bounds: the last one below each of the stable version's percentiles, if any, and the first
    above; empty where it has no answers, or slower ones than any bound.
    """

    canary: Buckets
    stable: Buckets
    bounds: tuple[tuple[float, ...], ...]

    def bound(self, percentile: int, index: int) -> float | None:
        """The first or the second bound next to a percentile."""
        found = self.bounds[percentile]
        return found[min(index, len(found) - 1)] if found else None

    def beyond(self, bound: float) -> tuple[Counted, Counted]:
        """Answers of canary and stable version over a bound."""
        ours, theirs = self.canary[inf], self.stable[inf]
        slow, base = ours - self.canary[bound], theirs - self.stable[bound]
        return (max(0.0, slow), ours), (max(0.0, base), theirs)


@dataclass(frozen=True, slots=True)
class Slower:
    """The canary's share of slow answers, the stable version's if it had the canary's mix.

    parts: share of each kind in the canary's answers, and what is counted of it; None: not known.
    """

    share: float
    base: float
    words: str
    parts: tuple[tuple[float, tuple[Counted, Counted] | None], ...]

    def interval(self, confidence: float) -> tuple[float, float]:
        """Least and most by which the share exceeds the base."""
        below = above = middle = 0.0
        for weight, known in self.parts:
            low, high = increase(*known, confidence) if known else (-1.0, 1.0)
            difference = _share(known[0]) - _share(known[1]) if known else 0.0
            middle += weight * difference
            below += (weight * (difference - low)) ** 2
            above += (weight * (high - difference)) ** 2
        return middle - sqrt(below), middle + sqrt(above)


def kinds_of(canary: Buckets, stable: Buckets, computed: tuple[Buckets, Buckets]) -> list[Kind]:
    """One kind where a side does not say which of its answers were computed, else two.

    Args:
        computed: of canary and stable version, those of the answers for which a row was computed.
    """
    ours, theirs = computed
    if ours.keys() != canary.keys() or theirs.keys() != stable.keys():
        return [_kind(canary, stable)]
    return [_kind(ours, theirs), _kind(_less(canary, ours), _less(stable, theirs))]


def slower(kinds: list[Kind]) -> list[Slower]:
    """By the bounds below the percentiles and by those above; empty: there are no bounds.

    The bounds are far apart: half as slow again may not reach the one above.
    """
    total = sum(kind.canary[inf] for kind in kinds)
    asked = [(kind.canary[inf] / total, kind) for kind in kinds if kind.canary[inf] > 0]
    found: dict[tuple[float | None, ...], Slower] = {}
    for percentile, index in ((0, 0), (0, 1), (1, 0), (1, 1)):
        bounds = tuple(kind.bound(percentile, index) for _, kind in asked)
        if any(bound is not None for bound in bounds) and bounds not in found:
            found[bounds] = _over(bounds, asked)
    return list(found.values())


def _over(bounds: tuple[float | None, ...], asked: list[tuple[float, Kind]]) -> Slower:
    parts = tuple(
        (weight, None if bound is None else kind.beyond(bound))
        for bound, (weight, kind) in zip(bounds, asked, strict=True)
    )
    known = [(weight, counted) for weight, counted in parts if counted is not None]
    share = sum(weight * _share(canary) for weight, (canary, _) in known)
    base = sum(weight * _share(stable) for weight, (_, stable) in known)
    told = " or ".join(f"{bound * 1e3:g}" for bound in bounds if bound is not None)
    return Slower(share, base, f"{share:.2%} over {told} ms, stable {base:.2%}", parts)


def _kind(canary: Buckets, stable: Buckets) -> Kind:
    return Kind(canary, stable, tuple(_around(stable, share) for share in (SLOWEST, SLOW)))


def _around(stable: Buckets, share: float) -> tuple[float, ...]:
    total, bounds = stable[inf], sorted(stable)
    if total <= 0:
        return ()
    above = next(n for n, b in enumerate(bounds) if total - stable[b] <= share * total)
    return tuple(bound for bound in bounds[max(0, above - 1) : above + 1] if bound != inf)


def _less(whole: Buckets, part: Buckets) -> Buckets:
    """Never falling: the two are sums of floating point."""
    left: dict[float, float] = {}
    most = 0.0
    for bound in sorted(whole):
        most = left[bound] = max(most, whole[bound] - part[bound])
    return left


def _share(counted: Counted) -> float:
    return counted[0] / counted[1]
