"""What is kept of a window of traffic: counts, sums and a few projected vectors, no text.

All numbers are integers (shares and components as fixed point), so merging the sketches of several
pods gives the same bytes in any order. A sketch takes 35 kB of memory for any number of rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor.drift.projection import WIDTH
from predictor.drift.scripts import SCRIPTS
from predictor.drift.statistics import Counts
from predictor.similarity import Floats

# 1 as a fixed-point number.
UNIT = 1 << 20
# First length, in tokens, of each bin.
LENGTHS = (
    0,
    4,
    6,
    8,
    11,
    16,
    23,
    32,
    45,
    64,
    91,
    128,
    181,
    256,
    362,
    512,
    724,
    1024,
    1448,
    2048,
    4096,
    8192,
)
# Norms: bins of 1.1 %, from 2^-10 to 2^14.
PER_OCTAVE = 64
LOWEST_OCTAVE = -10
OCTAVES = 24
NORMS = PER_OCTAVE * OCTAVES
# Cosines of pairs: bins of 0.005 from -1 to 1.
COSINES = 400
# Rows of the sample.
SAMPLE = 256
# More rows than a window of a year has; sums of so many cannot overflow.
MOST_ROWS = 1 << 36


class BadSketch(ValueError):
    """Bytes that are not a sketch, sketches of different models, or too few rows."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model computed the vectors."""

    # Of the bundle.
    revision: str
    # The variant that ran.
    variant: str
    # Of the vectors.
    dimensions: int


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """A window, or several merged."""

    identity: ModelIdentity
    # Observed rows.
    rows: int
    # Rows without a direction: not finite, or all zeros.
    broken: int
    # Rows that were truncated.
    truncated: int
    # Sum of the rows' shares of unknown tokens, fixed point.
    unknown: int
    # Rows that came as text and not as token ids.
    scripted: int
    # Rows by length, `[len(LENGTHS)]`.
    lengths: Counts
    # Sums of the scripted rows' shares of each script, fixed point, `[len(SCRIPTS)]`.
    scripts: Counts
    # Rows by norm, `[NORMS]`.
    norms: Counts
    # Pairs of rows by cosine, `[COSINES]`.
    cosines: Counts
    # Sums of the projected unit vectors, and of their squares, fixed point, `[WIDTH]`.
    first: Counts
    second: Counts
    # The smallest random keys, ascending, `[<= SAMPLE]`, and the projected rows that drew them,
    # `[<= SAMPLE, WIDTH]`: a fair sample, also after merging.
    keys: npt.NDArray[np.uint64]
    sample: npt.NDArray[np.float16]

    @property
    def directed(self) -> int:
        """Rows whose vector has a direction."""
        return self.rows - self.broken

    def mean(self) -> Floats:
        """Of the projected unit vectors, `[WIDTH]`; zeros without rows."""
        result: Floats = self.first / (UNIT * max(1, self.directed))
        return result

    def variance(self) -> float:
        """Of the projected unit vectors, summed over the components."""
        squares = self.second.sum() / (UNIT * max(1, self.directed))
        return max(0.0, float(squares - (self.mean() ** 2).sum()))

    def merge(self, other: "Sketch") -> "Sketch":
        """Both windows as one.

        Raises:
            BadSketch: they are of different models, or hold more rows than can be counted.
        """
        if self.identity != other.identity:
            raise BadSketch(f"of different models: {self.identity} and {other.identity}")
        if self.rows + other.rows > MOST_ROWS:
            raise BadSketch(f"more than {MOST_ROWS} rows")
        keys = np.concatenate([self.keys, other.keys])
        keys, sample = smallest(keys, np.concatenate([self.sample, other.sample]))
        sums = {name: getattr(self, name) + getattr(other, name) for name in ADDED}
        return Sketch(self.identity, keys=keys, sample=sample, **sums)


NUMBERS = ("rows", "broken", "truncated", "unknown", "scripted")
SIZES = {
    "lengths": len(LENGTHS),
    "scripts": len(SCRIPTS),
    "norms": NORMS,
    "cosines": COSINES,
    "first": WIDTH,
    "second": WIDTH,
}
ADDED = (*NUMBERS, *SIZES)


def empty(identity: ModelIdentity) -> Sketch:
    """The sketch of no rows: merging it changes nothing."""
    numbers: dict[str, Any] = dict.fromkeys(NUMBERS, 0)
    arrays: dict[str, Any] = {name: np.zeros(size, np.int64) for name, size in SIZES.items()}
    sample = np.zeros((0, WIDTH), np.float16)
    return Sketch(identity, **numbers, **arrays, keys=np.zeros(0, np.uint64), sample=sample)


def smallest(
    keys: npt.NDArray[np.uint64], sample: npt.NDArray[np.float16]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float16]]:
    """The SAMPLE rows with the smallest keys, ascending; rows of one key by their components."""
    order = np.argsort(keys)
    if (np.diff(keys[order]) == 0).any():
        order = np.lexsort((*sample.T, keys))
    order = order[:SAMPLE]
    return keys[order], sample[order]
