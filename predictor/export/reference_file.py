"""The file of `predictor export --reference`: texts, and their vectors as made elsewhere."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.engine.pooling import finish
from predictor.errors import BadModel
from predictor.types import FloatRows
from predictor.wall import load_error


@dataclass(frozen=True)
class ReferenceVectors:
    """What the float32 graph has to give for which texts."""

    texts: list[str]

    vectors: FloatRows
    """`[N, dimensions]`, scaled to length 1."""


def read_reference(path: Path) -> ReferenceVectors:
    """Read an .npz with `texts` and `vectors`.

    Raises:
        BadModel: the file cannot be read, or does not hold one vector for each text.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            texts = [str(text) for text in data["texts"]]
            vectors = data["vectors"].astype(np.float32)
    except BaseException as error:
        what = f"--reference {path}: cannot be read as .npz with `texts` and `vectors`"
        raise load_error(what, error) from error
    if vectors.ndim != 2 or len(texts) != len(vectors) or not texts:
        raise BadModel(
            f"--reference {path}: {len(texts)} texts, vectors of shape {list(vectors.shape)}"
        )
    return ReferenceVectors(texts, finish(vectors, None, True))
