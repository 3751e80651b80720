"""Compares two sets of vectors, with the thresholds that are missed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from predictor.comparison.vectors import ModelVectors
from predictor.similarity import (
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
class ComparedModel:
    """One of the two models."""

    # As the user gave it.
    name: str
    # Description of the model.
    model: str
    dimensions: int
    # Texts that were truncated to the model's limit.
    truncated: int
    # Whether its vectors have length 1 even before normalising.
    unit: bool


@dataclass(frozen=True)
class DifferingText:
    """A text whose vectors are far apart."""

    # Among the texts.
    index: int
    # The beginning of the text.
    begins: str
    cosine: float | None
    overlap: float | None


@dataclass(frozen=True)
class Comparison:
    """How far two models are apart on the same texts."""

    a: ComparedModel
    b: ComparedModel
    texts: int
    # How many nearest texts are compared for `overlaps`.
    neighbours: int
    # Per text; None: the dimensions differ.
    cosines: Floats | None
    # Per text, the share of its nearest texts that both models agree on; None: too few texts.
    overlaps: Floats | None
    # Per text, the length of B's vector over that of A's.
    lengths: Floats
    # The texts that differ most.
    differing: tuple[DifferingText, ...]

    @property
    def cosine(self) -> Spread | None:
        return None if self.cosines is None else spread(self.cosines)

    @property
    def overlap(self) -> Spread | None:
        return None if self.overlaps is None else spread(self.overlaps)

    def missed_thresholds(self, min_cosine: float | None, min_overlap: float | None) -> list[str]:
        """The missed thresholds, as sentences; an undefined value or NaN misses."""
        missed: list[str] = []
        cosine, overlap = self.cosine, self.overlap
        if min_cosine is not None and not (cosine and cosine.least >= min_cosine):
            value = f"{cosine.least:.7f}" if cosine else "not defined (the dimensions differ)"
            missed.append(f"smallest cosine {value}, --min-cosine {min_cosine:g}")
        if min_overlap is not None and not (overlap and overlap.mean >= min_overlap):
            value = f"{overlap.mean:.4f}" if overlap else "not defined (too few texts)"
            missed.append(f"mean neighbour overlap {value}, --min-overlap {min_overlap:g}")
        return missed


def compare(a: ModelVectors, b: ModelVectors, texts: Sequence[str]) -> Comparison:
    """Compare the vectors of the same texts; at least one text."""
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


def _side(vectors: ModelVectors) -> ComparedModel:
    unit = is_unit(vectors.raw)
    return ComparedModel(vectors.name, vectors.model, vectors.raw.shape[1], vectors.truncated, unit)


def is_unit(rows: FloatRows) -> bool:
    """Whether all rows have length 1 as far as float32 can have it."""
    return bool((np.abs(np.linalg.norm(rows.astype(np.float64), axis=1) - 1) < 1e-4).all())


def _differing(
    texts: Sequence[str], close: Floats | None, overlaps: Floats | None
) -> tuple[DifferingText, ...]:
    """The texts with the smallest cosines, or the smallest overlaps without cosines."""
    ranking = close if close is not None else overlaps
    if ranking is None:
        return ()
    return tuple(
        DifferingText(
            index=int(index),
            begins=" ".join(texts[index].split())[:SHOWN_CHARACTERS],
            cosine=None if close is None else float(close[index]),
            overlap=None if overlaps is None else float(overlaps[index]),
        )
        for index in np.argsort(ranking, kind="stable")[:SHOWN_TEXTS]
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """All figures; undefined ones are null."""
    cosine, overlap = comparison.cosine, comparison.overlap
    return {
        "a": asdict(comparison.a),
        "b": asdict(comparison.b),
        "texts": comparison.texts,
        "cosine": _spread(cosine) if cosine else None,
        "neighbours": comparison.neighbours,
        "overlap": _spread(overlap) if overlap else None,
        "length_ratio": _spread(spread(comparison.lengths)),
        "differing": [asdict(text) for text in comparison.differing],
    }


def _spread(values: Spread) -> dict[str, float]:
    figures = asdict(values)
    return {"min": figures.pop("least"), "max": figures.pop("greatest"), **figures}
