"""From what the graph gives to what the client gets: pool, cut, normalise.

Pure numpy on float32. Pooling is needed only for graphs that do not pool themselves.
"""

import math

import numpy as np
import numpy.typing as npt

from predictor.types import FloatRows, Pooling

# torch.nn.functional.normalize divides by max(norm, 1e-12).
SMALLEST_NORM = np.float32(1e-12)


def pool(
    hidden: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32] | npt.NDArray[np.int64],
    mode: Pooling,
) -> FloatRows:
    """Token vectors `[B, S, H]` under a mask `[B, S]` to one vector a row `[B, H]`.

    As sentence-transformers' Pooling module does it, for rows padded on the right.
    """
    if mode is Pooling.CLS:
        return np.ascontiguousarray(hidden[:, 0])
    if mode is Pooling.LAST_TOKEN:
        last: FloatRows = hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1]
        return last
    if mode is Pooling.MAX:
        masked = np.where(mask[:, :, None] > 0, hidden, np.float32(-1e9))
        largest: FloatRows = masked.max(axis=1)
        return largest
    weights = mask.astype(np.float32)
    if mode is Pooling.WEIGHTED_MEAN:
        weights *= np.arange(1, mask.shape[1] + 1, dtype=np.float32)
    total: FloatRows = np.einsum("bsh,bs->bh", hidden, weights)
    count = weights.sum(axis=1, keepdims=True)
    mean: FloatRows = total / (np.sqrt(count) if mode is Pooling.MEAN_SQRT_LEN else count)
    return mean


def finish(rows: FloatRows, dimensions: int | None, normalize: bool) -> FloatRows:
    """Cut `[N, H]` to the first `dimensions` columns, then scale each row to length 1 if asked."""
    if dimensions is not None:
        rows = rows[:, :dimensions]
    if not normalize:
        return np.ascontiguousarray(rows)
    squares = np.vecdot(rows, rows)
    if len(rows) == 1:
        # The same numbers in half the time: a square root in float64 rounds to that in float32.
        norm = np.float32(math.sqrt(squares[0]))
        single: FloatRows = rows / max(norm, SMALLEST_NORM)
        return single
    unit: FloatRows = rows / np.maximum(np.sqrt(squares), SMALLEST_NORM)[:, None]
    return unit
