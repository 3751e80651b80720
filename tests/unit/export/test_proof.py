"""What is within its limits is recorded, and what is not is refused with the figures."""

import numpy as np
import pytest

from predictor.bundle.proof import Proof
from predictor.errors import BadModel
from predictor.export import proof
from predictor.export.proof import check_vocabulary, prove
from predictor.similarity import closeness
from predictor.types import FloatRows

ROWS, WIDTH = 400, 64


def unit(rows: FloatRows) -> FloatRows:
    scaled: FloatRows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


EXPECTED = unit(np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32))


def at(*cosines: float) -> FloatRows:
    """Rows of these cosines to EXPECTED, the last one for all that are left."""
    rows = np.array([*cosines, *[cosines[-1]] * (ROWS - len(cosines))])[:, None]
    other = np.random.default_rng(1).standard_normal(EXPECTED.shape)
    across = other - (other * EXPECTED).sum(axis=1, keepdims=True) * EXPECTED
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    turned: FloatRows = (rows * EXPECTED + np.sqrt(1 - rows**2) * across).astype(np.float32)
    return turned


def prove_as(rows: FloatRows, limits: dict[str, float]) -> Proof:
    return prove(rows, rows, EXPECTED, reference="fp32", limits=limits, tolerance=0.5)


LIMITS = {
    "fp32": proof.FP32_LIMITS,
    "int8": proof.INT8_LIMITS,
    "int8-weights": proof.WEIGHT_ONLY_LIMITS,
    "fp16": proof.FP16_LIMITS,
}


@pytest.mark.parametrize("variant", LIMITS)
def test_every_cosine_at_the_strictest_limit_passes_and_is_recorded(variant: str) -> None:
    limits = LIMITS[variant]
    least = max(limits.values())
    proven = prove_as(at(least + 1e-6), limits)
    assert (proven.limits, proven.texts, proven.reference) == (limits, ROWS, "fp32")
    assert proven.min_cosine == pytest.approx(least, abs=3e-6)
    assert proven.mean_cosine == pytest.approx(least, abs=3e-6)
    assert proven.instructions


@pytest.mark.parametrize("variant", LIMITS)
def test_one_text_under_the_least_cosine_is_enough(variant: str) -> None:
    least = LIMITS[variant]["min_cosine"]
    with pytest.raises(BadModel, match=rf"fp32: min_cosine 0\.\d+, limit {least}$"):
        prove_as(at(least - 5e-6, 1.0), LIMITS[variant])


@pytest.mark.parametrize("variant", ["int8", "int8-weights", "fp16"])
def test_a_hundredth_of_the_texts_under_the_percentile_is_enough(variant: str) -> None:
    limits = LIMITS[variant]
    between = (limits["min_cosine"] + limits["p1_cosine"]) / 2
    with pytest.raises(BadModel, match=r"fp32: p1_cosine 0\.\d+, limit"):
        prove_as(at(*[between] * (ROWS // 50), 1.0), limits)
    assert prove_as(at(between, 1.0), limits).p1_cosine > limits["p1_cosine"]


@pytest.mark.parametrize("variant", ["int8", "int8-weights", "fp16"])
def test_a_mean_under_its_limit_is_refused(variant: str) -> None:
    limits = LIMITS[variant]
    between = (limits["p1_cosine"] + limits["mean_cosine"]) / 2
    with pytest.raises(BadModel, match=r"fp32: mean_cosine 0\.\d+, limit"):
        prove_as(at(between), limits)


def test_every_figure_out_of_its_limit_is_named() -> None:
    with pytest.raises(BadModel, match=r"min_cosine .+; p1_cosine .+; mean_cosine .+ 0\.997$"):
        prove_as(at(0.9), proof.INT8_LIMITS)


def test_the_order_of_the_limits_is_from_loose_to_strict() -> None:
    for limits in (proof.INT8_LIMITS, proof.WEIGHT_ONLY_LIMITS, proof.FP16_LIMITS):
        assert list(limits.values()) == sorted(limits.values())
    for name, loose in proof.INT8_LIMITS.items():
        assert loose < proof.WEIGHT_ONLY_LIMITS[name] < proof.FP16_LIMITS[name] < 1
    assert proof.FP16_LIMITS["min_cosine"] < proof.FP32_LIMITS["min_cosine"]


@pytest.mark.parametrize("limit", [proof.BATCH_ERROR, proof.FP16_BATCH_ERROR])
def test_a_text_that_depends_on_its_neighbours_is_refused(limit: float) -> None:
    def with_error(size: float) -> Proof:
        batched = EXPECTED.copy()
        batched[7, 3] += np.float32(size)
        return prove(
            EXPECTED,
            batched,
            EXPECTED,
            reference="self",
            limits=proof.FP32_LIMITS,
            tolerance=0.5,
            batch_limit=limit,
        )

    assert with_error(0.9 * limit).batch_error == pytest.approx(0.9 * limit, rel=0.05)
    with pytest.raises(BadModel, match="a text among others differs by"):
        with_error(1.1 * limit)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["unbatched", "batched"])
def test_vectors_that_are_no_numbers_are_refused(value: float, where: str) -> None:
    wrong = EXPECTED.copy()
    wrong[0, 0] = value
    unbatched, batched = (wrong, EXPECTED) if where == "unbatched" else (EXPECTED, wrong)
    with pytest.raises(BadModel, match="not finite numbers"):
        prove(unbatched, batched, EXPECTED, reference="self", limits={}, tolerance=0.5)


def test_a_reference_that_is_not_finite_proves_nothing() -> None:
    expected = EXPECTED.copy()
    expected[0] = np.nan
    with pytest.raises(BadModel, match="min_cosine nan"):
        prove(
            EXPECTED,
            EXPECTED,
            expected,
            reference="file",
            limits=proof.FP32_LIMITS,
            tolerance=0.5,
        )


def test_another_width_or_number_of_rows_is_refused() -> None:
    for expected in (EXPECTED[:, :32], EXPECTED[:10]):
        with pytest.raises(BadModel, match=r"gives vectors \[400, 64\], the reference has \["):
            prove(EXPECTED, EXPECTED, expected, reference="file", limits={}, tolerance=0.5)


def test_the_figures_are_those_of_the_comparison() -> None:
    rows = at(0.99, 0.995, 0.999)
    figures = closeness(rows, EXPECTED)
    proven = prove_as(rows, {})
    for name in ("min_cosine", "p1_cosine", "mean_cosine", "max_abs_difference"):
        assert getattr(proven, name) == getattr(figures, name)


def test_as_many_ids_as_rows_are_enough_and_one_more_is_refused() -> None:
    check_vocabulary(100, 100)
    check_vocabulary(99, 100)
    with pytest.raises(BadModel, match=r"tokenizer.json has 101 ids, the model's table has 100"):
        check_vocabulary(101, 100)
