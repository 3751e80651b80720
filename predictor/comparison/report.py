"""From two sets of vectors to a verdict, and the verdict in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from predictor.comparison.vectors import Vectors
from predictor.fidelity import (
    Floats,
    Spread,
    cosines,
    length_ratios,
    neighbour_overlap,
    neighbourhood,
    spread,
)
from predictor.types import FloatRows

SHOWN_TEXTS, SHOWN_CHARACTERS = 5, 60


@dataclass(frozen=True)
class Side:
    """One of the two: name and model; unit: its vectors have length 1 even before normalising."""

    name: str
    what: str
    dimensions: int
    truncated: int
    unit: bool


@dataclass(frozen=True)
class Differing:
    """A text whose vectors are far apart: its place among the texts, and how it begins."""

    index: int
    begins: str
    cosine: float | None
    overlap: float | None


@dataclass(frozen=True)
class Comparison:
    """cosines: a text, or None where the widths differ; overlaps: a text, the share of its
    `neighbours` nearest ones that both agree on, or None of too few texts; lengths: B's over A's.
    """

    a: Side
    b: Side
    texts: int
    neighbours: int
    cosines: Floats | None
    overlaps: Floats | None
    lengths: Floats
    differing: tuple[Differing, ...]

    @property
    def cosine(self) -> Spread | None:
        return None if self.cosines is None else spread(self.cosines)

    @property
    def overlap(self) -> Spread | None:
        return None if self.overlaps is None else spread(self.overlaps)

    def missed(self, min_cosine: float | None, min_overlap: float | None) -> list[str]:
        """Which thresholds are missed, as sentences. What is not defined or no number misses."""
        found: list[str] = []
        cosine, overlap = self.cosine, self.overlap
        if min_cosine is not None and not (cosine and cosine.least >= min_cosine):
            value = f"{cosine.least:.7f}" if cosine else "not defined (the widths differ)"
            found.append(f"smallest cosine {value}, --min-cosine {min_cosine:g}")
        if min_overlap is not None and not (overlap and overlap.mean >= min_overlap):
            value = f"{overlap.mean:.4f}" if overlap else "not defined (too few texts)"
            found.append(f"mean neighbour overlap {value}, --min-overlap {min_overlap:g}")
        return found


def compare(a: Vectors, b: Vectors, texts: Sequence[str]) -> Comparison:
    """Compare the vectors of the same texts, of at least one."""
    same_width = a.raw.shape[1] == b.raw.shape[1]
    close = cosines(a.raw, b.raw) if same_width else None
    k = neighbourhood(len(texts))
    overlaps = neighbour_overlap(a.raw, b.raw, k) if k else None
    return Comparison(
        a=_side(a),
        b=_side(b),
        texts=len(texts),
        neighbours=k,
        cosines=close,
        overlaps=overlaps,
        lengths=length_ratios(a.raw, b.raw),
        differing=_differing(texts, close, overlaps),
    )


def _side(vectors: Vectors) -> Side:
    unit = is_unit(vectors.raw)
    return Side(vectors.name, vectors.what, vectors.raw.shape[1], vectors.truncated, unit)


def is_unit(rows: FloatRows) -> bool:
    """Whether all rows have length 1 as far as float32 can have it."""
    return bool((np.abs(np.linalg.norm(rows.astype(np.float64), axis=1) - 1) < 1e-4).all())


def _differing(
    texts: Sequence[str], close: Floats | None, overlaps: Floats | None
) -> tuple[Differing, ...]:
    """The texts that come last by cosine, or by overlap where there is no cosine."""
    ranking = close if close is not None else overlaps
    if ranking is None:
        return ()
    return tuple(
        Differing(
            index=int(index),
            begins=" ".join(texts[index].split())[:SHOWN_CHARACTERS],
            cosine=None if close is None else float(close[index]),
            overlap=None if overlaps is None else float(overlaps[index]),
        )
        for index in np.argsort(ranking, kind="stable")[:SHOWN_TEXTS]
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The figures; what is not defined is null."""
    cosine, overlap = comparison.cosine, comparison.overlap
    return {
        "a": asdict(comparison.a),
        "b": asdict(comparison.b),
        "texts": comparison.texts,
        "cosine": _spread(cosine) if cosine else None,
        "neighbours": comparison.neighbours,
        "overlap": _spread(overlap) if overlap else None,
        "length_ratio": _spread(spread(comparison.lengths)),
        "differing": [asdict(one) for one in comparison.differing],
    }


def _spread(values: Spread) -> dict[str, float]:
    figures = asdict(values)
    return {"min": figures.pop("least"), "max": figures.pop("greatest"), **figures}
