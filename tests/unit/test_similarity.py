"""The arithmetic of comparing vectors, with generated ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from predictor import similarity
from predictor.similarity import (
    Floats,
    cosines,
    length_ratios,
    neighbour_overlap,
    neighbourhood,
    neighbours,
    spread,
)
from predictor.types import FloatRows

VALUES = arrays(np.float64, st.integers(1, 50), elements=st.floats(-1, 1))
SEEDS = st.integers(0, 10_000)


def some_rows(seed: int, count: int, width: int) -> FloatRows:
    return np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32)


@given(VALUES)
def test_a_spread_is_in_order_and_within_its_values(values: Floats) -> None:
    summary = spread(values)
    assert summary.least == values.min()
    assert summary.greatest == values.max()
    assert summary.least <= summary.p1 <= summary.p5 <= summary.median <= summary.greatest
    assert summary.least - 1e-12 <= summary.mean <= summary.greatest + 1e-12


def test_a_value_that_is_no_number_spoils_every_figure() -> None:
    summary = spread(np.array([1.0, np.nan, 0.5]))
    assert np.isnan(
        [summary.least, summary.p1, summary.median, summary.mean, summary.greatest]
    ).all()


@given(SEEDS, st.floats(0.01, 100))
def test_scaling_changes_lengths_and_nothing_else(seed: int, factor: float) -> None:
    rows = some_rows(seed, 12, 8)
    scaled = rows * np.float32(factor)
    np.testing.assert_allclose(length_ratios(rows, scaled), factor, rtol=1e-5)
    np.testing.assert_allclose(cosines(rows, scaled), 1, atol=1e-6)
    assert neighbour_overlap(rows, scaled, 3).min() == 1


def test_lengths_of_different_widths_have_a_ratio() -> None:
    left = np.ones((2, 4), np.float32)
    right = np.full((2, 9), 2, np.float32)
    np.testing.assert_allclose(length_ratios(left, right), 3)


@given(st.integers(1, 500), st.integers(1, 20))
def test_a_neighbourhood_leaves_out_at_least_half_of_the_others(count: int, most: int) -> None:
    k = neighbourhood(count, most)
    assert k <= most
    assert 2 * k <= max(count - 1, 0)
    assert k > 0 or count < 3


@given(SEEDS, st.integers(1, 4), st.integers(1, 200))
def test_neighbours_do_not_depend_on_the_blocks(seed: int, k: int, scores: int) -> None:
    rows = some_rows(seed, 17, 5)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    table = unit.astype(np.float64) @ unit.T.astype(np.float64)
    np.fill_diagonal(table, -2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "BLOCK_SCORES", scores)
        nearest = neighbours(rows, k)
    expected = np.argsort(-table, axis=1)[:, :k]
    assert [set(row) for row in nearest] == [set(row) for row in expected]


@given(SEEDS, SEEDS, st.integers(1, 6))
def test_overlap_is_symmetric_and_a_share(a: int, b: int, k: int) -> None:
    left = some_rows(a, 14, 6)
    right = some_rows(b, 14, 9)  # widths may differ
    overlap = neighbour_overlap(left, right, k)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    np.testing.assert_array_equal(overlap, neighbour_overlap(right, left, k))
    assert neighbour_overlap(left, left, k).min() == 1
