"""From what the graph gives to what the client gets: pool, cut, normalise.

Pure numpy on float32. Pooling is needed only for graphs that do not pool themselves.
"""

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
    """Token vectors `[B, S, H]` under a mask `[B, S]` to one vector a row `[B, H]`."""
    if mode is Pooling.CLS:
        return np.ascontiguousarray(hidden[:, 0])
    weights = mask.astype(np.float32)
    total: FloatRows = np.einsum("bsh,bs->bh", hidden, weights)
    mean: FloatRows = total / weights.sum(axis=1, keepdims=True)
    return mean


def finish(rows: FloatRows, dimensions: int | None, normalize: bool) -> FloatRows:
    """Cut `[N, H]` to the first `dimensions` columns, then scale each row to length 1 if asked."""
    if dimensions is not None:
        rows = rows[:, :dimensions]
    if not normalize:
        return np.ascontiguousarray(rows)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: FloatRows = rows / np.maximum(norms, SMALLEST_NORM)[:, None]
    return unit


def cosines(left: FloatRows, right: FloatRows) -> npt.NDArray[np.float64]:
    """Cosine of each row of `left` `[N, H]` to the same row of `right`, in double precision."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    result: npt.NDArray[np.float64] = np.einsum("ij,ij->i", a, b) / np.maximum(norms, 1e-30)
    return result
