"""Vectors in fewer bytes, row by row, so that no row's answer depends on its neighbours.

int8 scales each row by its own largest component to the full range: cosine is kept (to about 1e-4),
absolute length is not. uint8 is the same shifted by 128. `ubinary` packs the signs, eight to a
byte, first component in the highest bit; `binary` is the same byte minus 128, as
sentence-transformers' `quantize_embeddings` defines both.
"""

import numpy as np
import numpy.typing as npt

from predictor.types import FloatRows, OutputType

Quantized = npt.NDArray[np.int8] | npt.NDArray[np.uint8]


def quantize(rows: FloatRows, kind: OutputType) -> Quantized:
    """Rows float32 `[N, D]` as int8/uint8 `[N, D]`, or packed bits `[N, ceil(D / 8)]`."""
    if kind in (OutputType.BINARY, OutputType.UBINARY):
        packed: npt.NDArray[np.uint8] = np.packbits(rows > 0, axis=1)
        if kind is OutputType.UBINARY:
            return packed
        shifted: npt.NDArray[np.int8] = (packed.astype(np.int16) - 128).astype(np.int8)
        return shifted
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    scaled = np.rint(rows * (127.0 / np.maximum(largest, np.float32(1e-30))))
    if kind is OutputType.INT8:
        return np.asarray(scaled, dtype=np.int8)
    if kind is OutputType.UINT8:
        return np.asarray(scaled + 128.0, dtype=np.uint8)
    raise ValueError(f"{kind} is not a quantised type; this is a bug")
