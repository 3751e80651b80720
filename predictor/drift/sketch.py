"""What is kept of a window of traffic: counts, sums and a few projected vectors. No text.

Everything is whole numbers (shares and components as fixed point), so merging the sketches of
several pods gives the same bytes in whatever order they come. A sketch is 35 kB in memory however
many rows it has seen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor.drift.projection import WIDTH
from predictor.drift.scripts import SCRIPTS
from predictor.drift.statistics import Counts
from predictor.fidelity import Floats

# Fixed point: this is 1.
ONE = 1 << 20
# First length, in tokens, of each bin.
LENGTHS = (
    *(0, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724),
    *(1024, 1448, 2048, 4096, 8192),
)
# Norms: bins of 1.1 %, from 2^-10 to 2^14.
PER_OCTAVE, LOWEST_OCTAVE, OCTAVES = 64, -10, 24
NORMS = PER_OCTAVE * OCTAVES
# Cosines of pairs: bins of 0.005 from -1 to 1.
COSINES = 400
SAMPLE = 256
# More rows than a window of a year has; sums of so many cannot overflow.
MOST_ROWS = 1 << 36


class BadSketch(ValueError):
    """Bytes that are no sketch, sketches that do not go together, or too few rows."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose vectors they are: the bundle's revision, the variant that ran, the vectors' width."""

    revision: str
    variant: str
    dimensions: int


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """A window, or several merged.

    rows: observed in all; broken: of these, without a direction (not finite, or all zeros).
    truncated: rows that lost tokens. unknown: sum of the rows' shares of unknown tokens.
    lengths `[len(LENGTHS)]`, norms `[NORMS]`, cosines `[COSINES]` (of pairs): counts.
    scripts `[len(SCRIPTS)]`: sum of the shares of the `scripted` rows that came as text.
    first, second `[WIDTH]`: sums of the projected unit vectors, and of their squares.
    keys `[<= SAMPLE]`, ascending, sample `[<= SAMPLE, WIDTH]`: the projected rows that drew the
    smallest random keys: a fair sample, also after merging.
    """

    subject: Subject
    rows: int
    broken: int
    truncated: int
    unknown: int
    scripted: int
    lengths: Counts
    scripts: Counts
    norms: Counts
    cosines: Counts
    first: Counts
    second: Counts
    keys: npt.NDArray[np.uint64]
    sample: npt.NDArray[np.float16]

    @property
    def directed(self) -> int:
        """Rows whose vector has a direction."""
        return self.rows - self.broken

    def mean(self) -> Floats:
        """Of the projected unit vectors, `[WIDTH]`; zeros without rows."""
        result: Floats = self.first / (ONE * max(1, self.directed))
        return result

    def variance(self) -> float:
        """Of the projected unit vectors, summed over the components."""
        squares = self.second.sum() / (ONE * max(1, self.directed))
        return max(0.0, float(squares - (self.mean() ** 2).sum()))

    def merge(self, other: "Sketch") -> "Sketch":
        """Both windows as one.

        Raises:
            BadSketch: they are of different models, or hold more rows than can be counted.
        """
        if self.subject != other.subject:
            raise BadSketch(f"of different models: {self.subject} and {other.subject}")
        if self.rows + other.rows > MOST_ROWS:
            raise BadSketch(f"more than {MOST_ROWS} rows")
        keys = np.concatenate([self.keys, other.keys])
        keys, sample = smallest(keys, np.concatenate([self.sample, other.sample]))
        sums = {name: getattr(self, name) + getattr(other, name) for name in ADDED}
        return Sketch(self.subject, keys=keys, sample=sample, **sums)


NUMBERS = ("rows", "broken", "truncated", "unknown", "scripted")
SIZES = {
    **{"lengths": len(LENGTHS), "scripts": len(SCRIPTS), "norms": NORMS, "cosines": COSINES},
    **{"first": WIDTH, "second": WIDTH},
}
ADDED = (*NUMBERS, *SIZES)


def empty(subject: Subject) -> Sketch:
    """Nothing observed: merging it changes nothing."""
    numbers: dict[str, Any] = dict.fromkeys(NUMBERS, 0)
    arrays: dict[str, Any] = {name: np.zeros(size, np.int64) for name, size in SIZES.items()}
    none = np.zeros((0, WIDTH), np.float16)
    return Sketch(subject, **numbers, **arrays, keys=np.zeros(0, np.uint64), sample=none)


def smallest(
    keys: npt.NDArray[np.uint64], sample: npt.NDArray[np.float16]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float16]]:
    """The SAMPLE rows with the smallest keys, ascending; rows of one key by their components."""
    order = np.argsort(keys)
    if (np.diff(keys[order]) == 0).any():
        order = np.lexsort((*sample.T, keys))
    order = order[:SAMPLE]
    return keys[order], sample[order]
