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
        self._counted = np.zeros(CODES + len(self._bounds))
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
        shares = behaviour.upto.copy()
        shares[1:] -= behaviour.upto[:-1]
        counts = rng.multinomial(answers, shares)
        self._counted[:CODES] += (answers - errors - refused, errors, refused)
        self._counted[CODES:] += counts.cumsum()
        self.answers += answers

    def scrape(self, now: float) -> None:
        """If it is time again."""
        if now < self._next:
            return
        counted, lost = self._counted, self._lost
        for place in range(CODES):
            if not lost[place]:
                lost[place] = counted[place]
        if not lost[-1]:
            lost[CODES:] = counted[CODES:]
        self._times.append(now)
        self._scraped.append(counted - lost)
        self._next += self._scrape_s

    def increase(self, start: float, end: float) -> Traffic:
        """Of a window, seconds; zeros if it holds less than two scrapes."""
        first, last = bisect_left(self._times, start), bisect_right(self._times, end) - 1
        if last <= first:
            return Traffic(0.0, 0.0, 0.0, dict.fromkeys(self._bounds, 0.0))
        grown = self._scraped[last] - self._scraped[first]
        grown *= self._stretched(first, last, start, end)
        return Traffic(
            answers=float(grown[:CODES].sum()),
            errors=float(grown[ERRORS]),
            refused=float(grown[REFUSED]),
            buckets=dict(zip(self._bounds, grown[CODES:].tolist(), strict=True)),
        )

    def _stretched(self, first: int, last: int, start: float, end: float) -> float:
        """Factor by which `increase` grows: to the window's ends, half a scrape if they are far."""
        seen = self._times[last] - self._times[first]
        usual = seen / (last - first)
        ends = (self._times[first] - start, end - self._times[last])
        return (seen + sum(gap if gap < 1.1 * usual else usual / 2 for gap in ends)) / seen
