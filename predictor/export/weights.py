"""Weights of a checkpoint by name: safetensors, one file or shards; a pickle only through torch.

Tensors are read one by one and checked against the shape that the architecture expects, so that a
truncated or foreign file is a sentence, not a stack trace deep in the graph.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from predictor.errors import BadModel

FloatArray = npt.NDArray[np.float32]
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights; empty if there are none that can be read.

    Raises:
        BadModel: the index of a sharded checkpoint is damaged.
    """
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = folder / INDEX
    if index.is_file():
        try:
            names = set(json.loads(index.read_bytes())["weight_map"].values())
            return [folder / Path(name).name for name in sorted(names)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadModel(f"{index}: not an index of shards: {error!r}") from error
    pickle = folder / PICKLE
    return [pickle] if pickle.is_file() else []


class Weights:
    """The tensors of a checkpoint; names are given without the prefix they may have ("bert.")."""

    def __init__(self, files: list[Path], probe: str) -> None:
        """Open the files.

        Args:
            probe: the name of a tensor that is always there, to find the prefix of all names.

        Raises:
            BadModel: a file is missing, truncated, or not of a kind that is read.
        """
        self._where = str(files[0].parent if len(files) > 1 else files[0])
        self._readers: dict[str, Callable[[], Any]] = {}
        for path in files:
            self._readers |= _open_pickle(path) if path.name == PICKLE else _open(path)
        found = [name for name in self._readers if name == probe or name.endswith(f".{probe}")]
        self._prefix = min(found, key=len).removesuffix(probe) if found else ""

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
            raise BadModel(f"{self._where}: has no tensor {full!r}")
        try:
            array = self._readers[full]()
        except (OSError, SafetensorError, TypeError, ValueError) as error:
            raise BadModel(f"{self._where}: tensor {full!r} cannot be read: {error}") from error
        fits = len(array.shape) == len(shape) and all(
            want in (None, got) for want, got in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise BadModel(
                f"{self._where}: tensor {full!r} has shape {list(array.shape)}, config.json says "
                f"{[want if want is not None else 'any' for want in shape]}"
            )
        return np.asarray(array, dtype=np.float32)


def _open(path: Path) -> dict[str, Callable[[], Any]]:
    try:
        file: Any = safe_open(str(path), framework="numpy")
        names = list(file.keys())
    except (OSError, SafetensorError, ValueError) as error:
        raise BadModel(f"{path}: not a readable safetensors file: {error}") from error
    return {name: lambda name=name: file.get_tensor(name) for name in names}  # type: ignore[misc]


def _open_pickle(path: Path) -> dict[str, Callable[[], Any]]:
    from predictor.export import with_torch

    tensors = with_torch.load_pickle(path)
    return {name: lambda array=array: array for name, array in tensors.items()}  # type: ignore[misc]
