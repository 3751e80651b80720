"""`canonical.npz`: the canonical texts, and what each variant of a bundle gives for them.

A server compares its own vectors with these before it serves a version and while it serves it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.bundle.manifest import CANONICAL, FP32, VariantName
from predictor.errors import BadModel
from predictor.types import FloatRows
from predictor.wall import load_error


def vectors_key(variant: VariantName) -> str:
    """The array of `canonical.npz` that holds a variant's vectors."""
    return "vectors" if variant == FP32 else f"vectors.{variant}"


def write_canonical(folder: Path, vectors: Mapping[VariantName, FloatRows]) -> None:
    """Write the canonical texts and the normalised vectors `[N, dimensions]` of each variant."""
    arrays: dict[str, Any] = {"texts": np.array(CANONICAL_TEXTS)}
    arrays |= {vectors_key(variant): rows for variant, rows in vectors.items()}
    np.savez(folder / CANONICAL, **arrays)


def read_canonical(folder: Path, variant: VariantName = FP32) -> tuple[list[str], FloatRows]:
    """The canonical texts and a variant's normalised vectors `[N, dimensions]`.

    Raises:
        BadModel: the file is missing or damaged.
    """
    path = folder / CANONICAL
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            texts = [str(text) for text in data["texts"]]
            vectors: npt.NDArray[np.float32] = data[vectors_key(variant)].astype(np.float32)
    except BaseException as error:  # numpy lets through what zip, zlib and the parser raise
        raise load_error(f"{path}: cannot be read", error) from error
    if not texts or len(texts) != len(vectors):
        raise BadModel(f"{path}: {len(texts)} texts but {len(vectors)} vectors")
    return texts, vectors
