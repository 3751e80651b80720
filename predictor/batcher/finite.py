"""Which rows of a batch are no vectors: tested once, where the engine's output is still whole."""

from collections.abc import Sequence

import numpy as np

from predictor.types import FloatRows


def not_finite(rows: FloatRows) -> Sequence[int]:
    """Indices of the rows of `[N, dim]` that have no finite length, ascending.

    These are rows with NaN or infinity, and rows of numbers whose squares overflow: scaled to
    length 1 they would become zeros.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.vecdot(rows, rows)
    good = np.isfinite(lengths)
    return () if good.all() else [int(index) for index in np.flatnonzero(~good)]
