"""Rows as the bytes that the tiers hold, and back to float32.

Bytes can be shared safely, as normalising for one client cannot change them; they are 80 bytes
smaller than an array object, and many of them become one matrix with one join.
"""

from collections.abc import Iterable
from math import isfinite

import numpy as np
import numpy.typing as npt

from predictor.types import FloatRows

Stored = np.dtype[np.float32] | np.dtype[np.float16]
F32: np.dtype[np.float32] = np.dtype("<f4")
F16: np.dtype[np.float16] = np.dtype("<f2")
DTYPES: dict[str, Stored] = {"fp32": F32, "fp16": F16}
# Below this float16 has fewer than its 11 bits; a row of such numbers would lose its angle.
SMALLEST_HALF = np.float16(2.0**-10)
LARGEST_HALF = np.float16(65504)


def split_rows(matrix: npt.NDArray[np.float32] | npt.NDArray[np.float16]) -> list[bytes]:
    """The rows of a matrix `[N, dim]` as bytes, each of its own."""
    data, width = matrix.tobytes(), matrix.shape[1] * matrix.itemsize
    return [data[at : at + width] for at in range(0, len(data), width)]


def join_rows(rows: Iterable[bytes], count: int, dimensions: int, dtype: Stored) -> FloatRows:
    """Rows that are all of `dtype` as one float32 matrix `[count, dimensions]` of its own."""
    matrix = np.ndarray((count, dimensions), dtype, bytearray().join(rows))
    return matrix if dtype is F32 else matrix.astype(F32)


def to_float32(row: bytes, dtype: Stored) -> bytes:
    """A stored row as float32."""
    return row if dtype is F32 else np.frombuffer(row, dtype).astype(F32).tobytes()


def storable(rows: list[bytes], matrix: FloatRows, dtype: Stored) -> list[bytes | None]:
    """The rows of a computed matrix `[N, dim]` as the tiers may keep them; None: not at all.

    Not kept: rows with a number that is not finite, and for float16 those that it cannot hold with
    a cosine of 0.9999999 (largest component over 65504, or under 2**-10).

    Args:
        rows: the same rows as float32 bytes, which are what float32 keeps.
    """
    if dtype is F32:
        # Finite if all numbers are, and three times as fast; if it overflows, each row is checked.
        if isfinite(np.vdot(matrix, matrix)):
            return list(rows)
        return _kept(rows, np.isfinite(matrix).all(axis=1))
    with np.errstate(over="ignore", invalid="ignore"):
        half = matrix.astype(F16)
        # A row with NaN has no maximum, and no comparison with it holds.
        sizes: npt.NDArray[np.float16] = np.abs(half).max(axis=1)
    return _kept(split_rows(half), np.logical_and(sizes >= SMALLEST_HALF, sizes <= LARGEST_HALF))


def _kept(rows: list[bytes], keep: npt.ArrayLike) -> list[bytes | None]:
    return [row if good else None for row, good in zip(rows, np.asarray(keep), strict=True)]


def finite(row: bytes, dtype: Stored) -> bool:
    return bool(np.isfinite(np.frombuffer(row, dtype)).all())
