"""Weights of a checkpoint by name, from safetensors; pickles are not read.

Tensors are read one by one and checked against the shape that the architecture expects, so that a
truncated or foreign file is a sentence, not a stack trace deep in the graph.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from predictor.errors import BadModel

FloatArray = npt.NDArray[np.float32]


class Weights:
    """A safetensors file; names are looked up with and without the family's prefix ("bert.")."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        """Open the file.

        Raises:
            BadModel: it is missing, truncated or not safetensors.
        """
        self._path = path
        try:
            self._file: Any = safe_open(str(path), framework="numpy")
            names: set[str] = set(self._file.keys())  # type: ignore[no-untyped-call]
        except (OSError, SafetensorError, ValueError) as error:
            raise BadModel(f"{path}: not a readable safetensors file: {error}") from error
        self._prefix = prefix if any(name.startswith(prefix) for name in names) else ""
        self._names = names

    def tensor(self, name: str, *shape: int) -> FloatArray:
        """The tensor as float32.

        Raises:
            BadModel: it is missing or has another shape.
        """
        full = self._prefix + name
        if full not in self._names:
            raise BadModel(f"{self._path}: has no tensor {full!r}")
        try:
            array = self._file.get_tensor(full)
        except (SafetensorError, TypeError, ValueError) as error:
            raise BadModel(f"{self._path}: tensor {full!r} cannot be read: {error}") from error
        if array.shape != shape:
            raise BadModel(
                f"{self._path}: tensor {full!r} has shape {list(array.shape)}, "
                f"config.json says {list(shape)}"
            )
        return np.asarray(array, dtype=np.float32)
