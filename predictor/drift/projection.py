"""Random projection of vectors to few dimensions, the same on every machine and in every version.

The signs come from a hash and not from a random number generator: libraries may change the streams
of theirs, and a reference is compared with windows that are years younger. Distances are preserved
on average (Johnson and Lindenstrauss); 32 dimensions suffice to see a distribution move.
"""

from functools import lru_cache
from hashlib import shake_256

import numpy as np

from predictor.similarity import Floats
from predictor.types import FloatRows

WIDTH = 32
NAME = b"predictor drift projection 1"


@lru_cache(maxsize=8)
def signs(dimensions: int) -> FloatRows:
    """The projection `[dimensions, WIDTH]`: +-1 / sqrt(WIDTH)."""
    bits = np.frombuffer(shake_256(NAME).digest(dimensions * WIDTH // 8), np.uint8)
    matrix = np.unpackbits(bits).reshape(dimensions, WIDTH).astype(np.float32)
    matrix = (2 * matrix - 1) / np.float32(np.sqrt(WIDTH))
    matrix.setflags(write=False)
    return matrix


def project(unit: FloatRows) -> Floats:
    """Rows `[N, dimensions]` of length 1 as `[N, WIDTH]`."""
    result: Floats = (unit @ signs(unit.shape[1])).astype(np.float64)
    return result
