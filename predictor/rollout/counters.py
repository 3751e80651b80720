"""Counters of one simulated Deployment as Prometheus shows them: by scrapes, and without the first.

Known of Prometheus and kept here: figures are as old as the last scrape, what a new series counted
before its first scrape is lost, and `increase` stretches what it saw over the whole window.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import inf

import numpy as np

from predictor.rollout.judge import Traffic
from predictor.rollout.load import Behaviour, Floats

# Places of the counters by code, before those of the buckets.
GOOD, ERRORS, REFUSED, CODES = 0, 1, 2, 3


class Counters:
    """Counts answers and is scraped. first_s: seconds from 0 to the first scrape."""

    def __init__(self, bounds: Sequence[float], scrape_s: float, first_s: float) -> None:
        self._bounds = (*bounds, inf)
        self._scrape_s, self._next = scrape_s, first_s
        many = len(self._bounds)
        self._all, self._computed = (
            slice(CODES, CODES + many),
            slice(CODES + many, CODES + 2 * many),
        )
        self._counted = np.zeros(CODES + 2 * many)
        self._is_told = False  # which answers were computed
        self._lost = np.zeros_like(self._counted)
        self._times: list[float] = []
        self._scraped: list[Floats] = []
        self.answers = 0

    def count(self, rng: np.random.Generator, answers: int, behaviour: Behaviour) -> None:
        """So many answers of a version that behaves like this."""
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
            self._is_told = True
        self.answers += answers

    def scrape(self, now: float) -> None:
        """If it is time again."""
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
        """Of a window, seconds; zeros if it holds less than two scrapes."""
        first, last = bisect_left(self._times, start), bisect_right(self._times, end) - 1
        if last <= first:
            none = dict.fromkeys(self._bounds, 0.0)
            return Traffic(0.0, 0.0, 0.0, none, none if self._is_told else {})
        grown = self._scraped[last] - self._scraped[first]
        grown *= self._stretched(first, last, start, end)
        return Traffic(
            answers=float(grown[:CODES].sum()),
            errors=float(grown[ERRORS]),
            refused=float(grown[REFUSED]),
            buckets=self._named(grown[self._all]),
            computed=self._named(grown[self._computed]) if self._is_told else {},
        )

    def _named(self, counts: Floats) -> dict[float, float]:
        return dict(zip(self._bounds, counts.tolist(), strict=True))

    def _stretched(self, first: int, last: int, start: float, end: float) -> float:
        """Factor by which `increase` grows: to the window's ends, half a scrape if they are far."""
        seen = self._times[last] - self._times[first]
        usual = seen / (last - first)
        ends = (self._times[first] - start, end - self._times[last])
        return (seen + sum(gap if gap < 1.1 * usual else usual / 2 for gap in ends)) / seen


def _drawn(
    rng: np.random.Generator, answers: int, behaviour: Behaviour
) -> tuple[Floats, Floats | None]:
    """Answers by bucket, all and the computed ones; None: it is not told which."""
    if behaviour.computed is None or behaviour.computed is behaviour.upto:
        counts = rng.multinomial(answers, _apart(behaviour.upto)).astype(float)
        return counts, None if behaviour.computed is None else counts
    kinds = (_apart(behaviour.computed), _apart(behaviour.upto - behaviour.computed))
    shares = np.concatenate(kinds).clip(0.0)
    both = rng.multinomial(answers, shares / shares.sum()).reshape(2, -1).astype(float)
    return both.sum(axis=0), both[0]


def _apart(upto: Floats) -> Floats:
    shares = upto.copy()
    shares[1:] -= upto[:-1]
    return shares
