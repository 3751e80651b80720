"""What a bundle says about how right its vectors are, and the refusal if they are not."""

from dataclasses import asdict
from typing import Literal

import numpy as np

from predictor.engine.bundle import Proof
from predictor.engine.cpu import instruction_sets
from predictor.errors import BadModel
from predictor.fidelity import closeness
from predictor.types import FloatRows

Reference = Literal["torch", "file", "self", "fp32"]
# The smallest cosine of float32 to the original model, and later to the canonical vectors.
FP32_LIMITS = {"min_cosine": 0.99999}
INT8_LIMITS = {"min_cosine": 0.985, "p1_cosine": 0.99, "mean_cosine": 0.997}
WEIGHT_ONLY_LIMITS = {"min_cosine": 0.995, "p1_cosine": 0.997, "mean_cosine": 0.999}
# What a variant's vectors may differ from its own canonical ones when it is loaded elsewhere: other
# kernels round other activations to the other side.
INT8_TOLERANCE = 0.999
WEIGHT_ONLY_TOLERANCE = 0.9999
FP16_TOLERANCE = 0.9999
FP16_LIMITS = {"min_cosine": 0.999, "p1_cosine": 0.9995, "mean_cosine": 0.9999}
# The largest difference of a component of a text alone and among others, vectors of length 1.
BATCH_ERROR = 1e-5
FP16_BATCH_ERROR = 1e-3


def prove(  # noqa: PLR0913  the limits, by name
    alone: FloatRows,
    batched: FloatRows,
    expected: FloatRows,
    *,
    reference: Reference,
    limits: dict[str, float],
    tolerance: float,
    batch_limit: float = BATCH_ERROR,
    note: str = "",
) -> Proof:
    """Compare normalised vectors `[N, H]` with what they should be and with each other.

    Raises:
        BadModel: a figure is out of its limit, or vectors are not finite; it says which.
    """
    if alone.shape != expected.shape:
        raise BadModel(
            f"the graph gives vectors {list(alone.shape)}, the reference has {list(expected.shape)}"
        )
    if not (np.isfinite(alone).all() and np.isfinite(batched).all()):
        raise BadModel("the graph gives vectors that are not finite numbers")
    figures = closeness(alone, expected)
    batch_error = float(np.abs(alone - batched).max())
    missed = figures.missed(limits)
    if not batch_error <= batch_limit:
        missed.append(f"a text among others differs by {batch_error:.1e}, limit {batch_limit:.0e}")
    if missed:
        raise BadModel(f"out of tolerance against {reference}: {'; '.join(missed)}")
    return Proof(
        reference=reference,
        tolerance=tolerance,
        limits=limits,
        texts=len(alone),
        **asdict(figures),
        batch_error=batch_error,
        instructions=instruction_sets(),
        note=note,
    )


def check_vocabulary(ids: int, rows: int) -> None:
    """Raise BadModel if the tokenizer has ids that the model's table has no vectors for."""
    if ids > rows:
        raise BadModel(f"tokenizer.json has {ids} ids, the model's table has {rows}")
