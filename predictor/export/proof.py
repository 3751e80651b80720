"""Proves a variant: its vectors are compared with a reference and refused if out of tolerance."""

from dataclasses import asdict
from typing import Literal

import numpy as np

from predictor.bundle.proof import TOLERANCES, Proof
from predictor.engine.cpu import instruction_sets
from predictor.errors import BadModel
from predictor.similarity import closeness
from predictor.types import FloatRows

ProofReference = Literal["torch", "file", "self", "fp32"]
# The smallest cosine of float32 to the original model, and later to the canonical vectors.
FP32_LIMITS = {"min_cosine": 0.99999}
FP32_TOLERANCE = TOLERANCES["fp32"]
INT8_LIMITS = {"min_cosine": 0.985, "p1_cosine": 0.99, "mean_cosine": 0.997}
WEIGHT_ONLY_LIMITS = {"min_cosine": 0.995, "p1_cosine": 0.997, "mean_cosine": 0.999}
INT8_TOLERANCE = TOLERANCES["int8"]
WEIGHT_ONLY_TOLERANCE = TOLERANCES["int8-weights"]
FP16_TOLERANCE = TOLERANCES["fp16"]
FP16_LIMITS = {"min_cosine": 0.999, "p1_cosine": 0.9995, "mean_cosine": 0.9999}
# The largest difference of a component of a text alone and among others, vectors of length 1.
BATCH_ERROR = 1e-5
FP16_BATCH_ERROR = 1e-3


def prove(  # noqa: PLR0913  the limits, by name
    unbatched: FloatRows,
    batched: FloatRows,
    expected: FloatRows,
    *,
    reference: ProofReference,
    limits: dict[str, float],
    tolerance: float,
    batch_limit: float = BATCH_ERROR,
    note: str = "",
) -> Proof:
    """Compare normalised vectors `[N, H]` with what they should be and with each other.

    Args:
        unbatched: each text run by itself.
        batched: the same texts run in batches.
        limits: the least that the cosines have to reach, by the names of the figures.
        tolerance: what the proof says of later runs.
        batch_limit: the largest difference of a component between the two runs.

    Raises:
        BadModel: a figure is out of its limit, or vectors are not finite; it says which.
    """
    _check_numbers(unbatched, batched, expected)
    figures = closeness(unbatched, expected)
    batch_error = float(np.abs(unbatched - batched).max())
    missed = figures.missed(limits)
    if not batch_error <= batch_limit:
        missed.append(f"a text among others differs by {batch_error:.1e}, limit {batch_limit:.0e}")
    if missed:
        raise BadModel(f"out of tolerance against {reference}: {'; '.join(missed)}")
    return Proof(
        reference=reference,
        tolerance=tolerance,
        limits=limits,
        texts=len(unbatched),
        **asdict(figures),
        batch_error=batch_error,
        instructions=instruction_sets(),
        note=note,
    )


def _check_numbers(unbatched: FloatRows, batched: FloatRows, expected: FloatRows) -> None:
    if unbatched.shape != expected.shape:
        raise BadModel(
            f"the graph gives vectors {list(unbatched.shape)}, the reference has "
            f"{list(expected.shape)}"
        )
    if not (np.isfinite(unbatched).all() and np.isfinite(batched).all()):
        raise BadModel("the graph gives vectors that are not finite numbers")


def check_vocabulary(ids: int, rows: int) -> None:
    """Raise BadModel if the tokenizer has ids that the model's table has no vectors for."""
    if ids > rows:
        raise BadModel(f"tokenizer.json has {ids} ids, the model's table has {rows}")
