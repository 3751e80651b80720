"""The arithmetic of comparing vectors, with generated ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from predictor import fidelity
from predictor.fidelity import (
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
    found = spread(values)
    assert found.least == values.min()
    assert found.greatest == values.max()
    assert found.least <= found.p1 <= found.p5 <= found.median <= found.greatest
    assert found.least - 1e-12 <= found.mean <= found.greatest + 1e-12


def test_a_value_that_is_no_number_spoils_every_figure() -> None:
    found = spread(np.array([1.0, np.nan, 0.5]))
    assert np.isnan([found.least, found.p1, found.median, found.mean, found.greatest]).all()


@given(SEEDS, st.floats(0.01, 100))
def test_scaling_changes_lengths_and_nothing_else(seed: int, factor: float) -> None:
    rows = some_rows(seed, 12, 8)
    scaled = rows * np.float32(factor)
    np.testing.assert_allclose(length_ratios(rows, scaled), factor, rtol=1e-5)
    np.testing.assert_allclose(cosines(rows, scaled), 1, atol=1e-6)
    assert neighbour_overlap(rows, scaled, 3).min() == 1


def test_lengths_of_different_widths_have_a_ratio() -> None:
    left, right = np.ones((2, 4), np.float32), np.full((2, 9), 2, np.float32)
    np.testing.assert_allclose(length_ratios(left, right), 3)


@given(st.integers(1, 500), st.integers(1, 20))
def test_a_neighbourhood_leaves_out_at_least_half_of_the_others(count: int, wanted: int) -> None:
    k = neighbourhood(count, wanted)
    assert k <= wanted
    assert 2 * k <= max(count - 1, 0)
    assert k > 0 or count < 3


@given(SEEDS, st.integers(1, 4), st.integers(1, 200))
def test_neighbours_do_not_depend_on_the_blocks(seed: int, k: int, scores: int) -> None:
    rows = some_rows(seed, 17, 5)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    table = unit.astype(np.float64) @ unit.T.astype(np.float64)
    np.fill_diagonal(table, -2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "BLOCK_SCORES", scores)
        found = neighbours(rows, k)
    wanted = np.argsort(-table, axis=1)[:, :k]
    assert [set(row) for row in found] == [set(row) for row in wanted]


@given(SEEDS, SEEDS, st.integers(1, 6))
def test_overlap_is_symmetric_and_a_share(a: int, b: int, k: int) -> None:
    left, right = some_rows(a, 14, 6), some_rows(b, 14, 9)  # widths may differ
    overlap = neighbour_overlap(left, right, k)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    np.testing.assert_array_equal(overlap, neighbour_overlap(right, left, k))
    assert neighbour_overlap(left, left, k).min() == 1
