"""Weights of a checkpoint by name: safetensors, one file or shards; a pickle only through torch.

Tensors are read one by one and checked against the shape that the architecture expects, so that a
truncated or foreign file is a sentence, not a stack trace deep in the graph.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from predictor.bundle.weight_files import PICKLE
from predictor.errors import BadModel
from predictor.export.pickle_file import load_pickle
from predictor.wall import load_error

FloatArray = npt.NDArray[np.float32]


class Weights:
    """The tensors of a checkpoint; names are given without the prefix they may have ("bert.")."""

    def __init__(self, files: list[Path], probe: str) -> None:
        """Open the files.

        Args:
            probe: the name of a tensor that is always there, to find the prefix of all names.

        Raises:
            BadModel: a file is missing, truncated, or not of a kind that is read.
        """
        self._shown_path = str(files[0].parent if len(files) > 1 else files[0])
        self._readers: dict[str, Callable[[], Any]] = {}
        for path in files:
            self._readers |= _open_pickle(path) if path.name == PICKLE else _open(path)
        probes = [name for name in self._readers if name == probe or name.endswith(f".{probe}")]
        self._prefix = min(probes, key=len).removesuffix(probe) if probes else ""

    def has(self, name: str) -> bool:
        return self._prefix + name in self._readers

    def first(self, *names: str) -> str:
        """The first of these names that the checkpoint has; the first of all if it has none."""
        return next((name for name in names if self.has(name)), names[0])

    def optional(self, name: str, *shape: int | None) -> FloatArray | None:
        return self.tensor(name, *shape) if self.has(name) else None

    def tensor(self, name: str, *shape: int | None) -> FloatArray:
        """The tensor as float32; None in the shape is any size.

        Raises:
            BadModel: it is missing or has another shape.
        """
        full = self._prefix + name
        if full not in self._readers:
            raise BadModel(f"{self._shown_path}: has no tensor {full!r}")
        try:
            array = self._readers[full]()
        except BaseException as error:
            what = f"{self._shown_path}: tensor {full!r} cannot be read"
            raise load_error(what, error) from error
        fits = len(array.shape) == len(shape) and all(
            expected in (None, size) for expected, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise BadModel(
                f"{self._shown_path}: tensor {full!r} has shape {list(array.shape)}, config.json "
                f"says {[expected if expected is not None else 'any' for expected in shape]}"
            )
        return np.asarray(array, dtype=np.float32)


def _open(path: Path) -> dict[str, Callable[[], Any]]:
    try:
        file: Any = safe_open(str(path), framework="numpy")
        names = list(file.keys())
    except BaseException as error:
        raise load_error(f"{path}: not a readable safetensors file", error) from error
    return {name: lambda name=name: file.get_tensor(name) for name in names}  # type: ignore[misc]


def _open_pickle(path: Path) -> dict[str, Callable[[], Any]]:
    tensors = load_pickle(path)
    return {name: lambda array=array: array for name, array in tensors.items()}  # type: ignore[misc]
