"""Chooses the rows of the traffic that are sketched: a fair sample, of bounded cost."""

from collections.abc import Sequence

import numpy as np

# Most sampled rows of one request: its texts are alike, and more of them add little information.
PER_REQUEST = 8


class Sampler:
    """Takes about `target` rows per window, each with the same probability.

    The probability follows from the number of rows in the previous window. If traffic grows within
    a window, it is halved after every further `target` rows taken, so that the cost stays bounded.
    The first window has no previous one and halves it at an eighth of that: a server that has just
    started is busy enough.
    """

    def __init__(self, generator: np.random.Generator, target: int) -> None:
        self._generator = generator
        self._target = target
        self.rate = 1.0
        # Rows observed in this window, and of these taken.
        self._observed_rows = 0
        self._sampled_rows = 0
        # Rows taken between two halvings, and at the next one.
        self._step = max(1, target // 8)
        self._halve_at = self._step
        # Rows to pass over before the next one is taken.
        self._skip = 0

    def take(self, count: int) -> Sequence[int]:
        """The indices, ascending, of the rows to take among the next `count`."""
        self._observed_rows += count
        if self._skip >= count:
            self._skip -= count
            return ()
        picks = self._pick(count)
        self._sampled_rows += len(picks)
        if self._sampled_rows >= self._halve_at:
            self.rate /= 2
            self._halve_at += self._step
        return picks

    def _pick(self, count: int) -> Sequence[int]:
        if count * self.rate > 2 * PER_REQUEST:
            self._skip = self._gap() - 1
            return self._some(range(count))
        picks = []
        place = self._skip
        while place < count:
            picks.append(place)
            place += self._gap()
        self._skip = place - count
        return picks if len(picks) <= PER_REQUEST else self._some(picks)

    def _some(self, places: Sequence[int]) -> Sequence[int]:
        chosen = self._generator.choice(len(places), PER_REQUEST, replace=False)
        return sorted(places[int(index)] for index in chosen)

    def _gap(self) -> int:
        return 1 if self.rate >= 1 else int(self._generator.geometric(self.rate))

    def next_window(self) -> None:
        """Set the probability by the traffic of the window that ends."""
        self.rate = min(1.0, self._target / max(1, self._observed_rows))
        self._observed_rows = 0
        self._sampled_rows = 0
        self._step = self._target
        self._halve_at = self._target
