"""Counters of one simulated Deployment as Prometheus shows them: by scrapes, without the first.

As in Prometheus, figures are as old as the last scrape, what a new series counted before its first
scrape is lost, and `increase` extrapolates the scraped difference to the whole window.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import inf

import numpy as np

from predictor.rollout.judge import Traffic
from predictor.simulator.load import Behaviour, Floats

# Indexes of the counters by code; those of the buckets come after `CODES`.
GOOD = 0
ERRORS = 1
REFUSED = 2
CODES = 3


class Counters:
    """Counts answers and is scraped.

    Args:
        first_s: time of the first scrape.
    """

    def __init__(self, bounds: Sequence[float], scrape_s: float, first_s: float) -> None:
        self._bounds = (*bounds, inf)
        self._scrape_s = scrape_s
        self._next = first_s
        buckets = len(self._bounds)
        self._all = slice(CODES, CODES + buckets)
        self._computed = slice(CODES + buckets, CODES + 2 * buckets)
        self._counted = np.zeros(CODES + 2 * buckets)
        self._knows_computed = False  # which answers were computed
        self._lost = np.zeros_like(self._counted)
        self._times: list[float] = []
        self._scraped: list[Floats] = []
        self.answers = 0

    def count(self, rng: np.random.Generator, answers: int, behaviour: Behaviour) -> None:
        """Count so many answers of a version with this behaviour."""
        if not answers:
            return
        errors = int(rng.binomial(answers, behaviour.errors)) if behaviour.errors else 0
        refused = 0
        if behaviour.refused:
            refused = int(rng.binomial(answers - errors, min(1.0, behaviour.refused)))
        counts, computed = _drawn(rng, answers, behaviour)
        self._counted[:CODES] += (answers - errors - refused, errors, refused)
        self._counted[self._all] += counts.cumsum()
        if computed is not None:
            self._counted[self._computed] += computed.cumsum()
            self._knows_computed = True
        self.answers += answers

    def scrape(self, now: float) -> None:
        """Scrape, if the interval is over."""
        if now < self._next:
            return
        counted, lost = self._counted, self._lost
        for place in range(CODES):
            if not lost[place]:
                lost[place] = counted[place]
        for buckets in (self._all, self._computed):
            if not lost[buckets][-1]:
                lost[buckets] = counted[buckets]
        self._times.append(now)
        self._scraped.append(counted - lost)
        self._next += self._scrape_s

    def increase(self, start: float, end: float) -> Traffic:
        """The increase in a window, seconds; zeros if it contains fewer than two scrapes."""
        first, last = bisect_left(self._times, start), bisect_right(self._times, end) - 1
        if last <= first:
            none = dict.fromkeys(self._bounds, 0.0)
            return Traffic(0.0, 0.0, 0.0, none, none if self._knows_computed else {})
        grown = self._scraped[last] - self._scraped[first]
        grown *= self._extrapolation(first, last, start, end)
        return Traffic(
            answers=float(grown[:CODES].sum()),
            errors=float(grown[ERRORS]),
            refused=float(grown[REFUSED]),
            buckets=self._named(grown[self._all]),
            computed=self._named(grown[self._computed]) if self._knows_computed else {},
        )

    def _named(self, counts: Floats) -> dict[float, float]:
        return dict(zip(self._bounds, counts.tolist(), strict=True))

    def _extrapolation(self, first: int, last: int, start: float, end: float) -> float:
        """Factor of `increase`: to the window's ends, or half an interval if they are far."""
        covered_s = self._times[last] - self._times[first]
        interval_s = covered_s / (last - first)
        gaps = (self._times[first] - start, end - self._times[last])
        added_s = sum(gap if gap < 1.1 * interval_s else interval_s / 2 for gap in gaps)
        return (covered_s + added_s) / covered_s


def _drawn(
    rng: np.random.Generator, answers: int, behaviour: Behaviour
) -> tuple[Floats, Floats | None]:
    """Answers by bucket, all and the computed ones; None: it is not known which."""
    if behaviour.computed is None or behaviour.computed is behaviour.cdf:
        counts = rng.multinomial(answers, _shares_of(behaviour.cdf)).astype(float)
        return counts, None if behaviour.computed is None else counts
    kinds = (_shares_of(behaviour.computed), _shares_of(behaviour.cdf - behaviour.computed))
    shares = np.concatenate(kinds).clip(0.0)
    both = rng.multinomial(answers, shares / shares.sum()).reshape(2, -1).astype(float)
    return both.sum(axis=0), both[0]


def _shares_of(cdf: Floats) -> Floats:
    """Share of the answers in each bucket."""
    shares = cdf.copy()
    shares[1:] -= cdf[:-1]
    return shares
