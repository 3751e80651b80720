"""Which rows of the traffic are looked at: a fair share, of bounded cost."""

from collections.abc import Sequence

import numpy as np

# Rows of one request that are looked at: its texts are alike, and more of them say little more.
PER_REQUEST = 8


class Sampler:
    """Takes about `target` rows a window, each with the same chance; the generator is given.

    The chance comes from how many rows the window before had. Where traffic grows within a window
    the chance is halved with every further `target` rows taken, so that cost stays bounded. The
    first window knows nothing of the traffic and halves it at an eighth of that: a server that has
    just started has better things to do.
    """

    def __init__(self, generator: np.random.Generator, target: int) -> None:
        self._generator, self._target = generator, target
        self.rate = 1.0
        self._seen = self._taken = 0
        self._step = self._halve_at = max(1, target // 8)
        self._skip = 0

    def take(self, count: int) -> Sequence[int]:
        """The indices, ascending, of the rows to look at among `count` that come now."""
        self._seen += count
        if self._skip >= count:
            self._skip -= count
            return ()
        picks = self._pick(count)
        self._taken += len(picks)
        if self._taken >= self._halve_at:
            self.rate /= 2
            self._halve_at += self._step
        return picks

    def _pick(self, count: int) -> Sequence[int]:
        if count * self.rate > 2 * PER_REQUEST:
            self._skip = self._gap() - 1
            return self._some(range(count))
        picks, place = [], self._skip
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
        """Set the chance by the traffic of the window that ends."""
        self.rate = min(1.0, self._target / max(1, self._seen))
        self._seen = self._taken = 0
        self._step = self._halve_at = self._target
