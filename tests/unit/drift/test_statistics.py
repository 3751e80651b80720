"""The tests as arithmetic: what they give where the answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from predictor.drift.statistics import Counts, cohens_h, ks, mean_shift, mmd, psi

COUNTS = arrays(np.int64, 12, elements=st.integers(0, 10_000)).filter(lambda c: c.sum() > 0)
RANDOM = np.random.default_rng(3)


@given(COUNTS, st.integers(1, 50))
def test_the_same_distribution_is_no_difference(counts: Counts, times: int) -> None:
    more, n, m = counts * times, int(counts.sum()), int(counts.sum()) * times
    assert psi(counts, more, n, m) == pytest.approx(0, abs=1e-9)
    assert ks(counts, more) == pytest.approx(0, abs=1e-9)


@given(COUNTS, COUNTS)
def test_both_ways_are_as_far(first: Counts, second: Counts) -> None:
    n, m = int(first.sum()), int(second.sum())
    assert psi(first, second, n, m) == pytest.approx(psi(second, first, m, n))
    assert ks(first, second) == pytest.approx(ks(second, first))
    assert ks(first, second, slack=1) == pytest.approx(ks(second, first, slack=1))


def test_psi_of_known_shares() -> None:
    big = 10_000_000
    before, after = np.array([5, 5]) * big, np.array([6, 4]) * big
    expected = 0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5)
    assert psi(before, after, 10 * big, 10 * big) == pytest.approx(expected, rel=1e-4)


def test_psi_without_observations_is_none() -> None:
    nothing, some = np.zeros(3, np.int64), np.ones(3, np.int64)
    assert psi(nothing, some, 0, 3) == 0
    assert ks(nothing, some) == 0


@pytest.mark.parametrize(
    ("before", "after", "h"),
    [(0.5, 0.5, 0), (0.5, 0.6, 0.2014), (0.001, 0.02, 0.2206), (0, 1, np.pi), (-0.1, 1.1, np.pi)],
)
def test_cohens_h(before: float, after: float, h: float) -> None:
    assert cohens_h(before, after) == pytest.approx(h, abs=1e-3)


def test_ks_is_the_largest_gap() -> None:
    before, after = np.array([10, 0, 0, 10]), np.array([0, 10, 0, 10])
    assert ks(before, after) == pytest.approx(0.5)


def test_values_on_the_edge_of_a_bin_are_no_difference_with_slack() -> None:
    before, after = np.array([0, 100, 0, 0]), np.array([0, 0, 100, 0])
    assert ks(before, after) == 1
    assert ks(before, after, slack=1) == 0
    assert ks(before, np.array([0, 0, 0, 100]), slack=1) == 1


def test_a_mean_that_moved_by_one_standard_deviation() -> None:
    moved = np.zeros(32)
    moved[4] = 2.0
    assert mean_shift(moved, variance=4.0, n=10**6, m=10**6) == pytest.approx(1, rel=1e-3)
    assert mean_shift(np.zeros(32), 4.0, 1000, 1000) == 0
    assert np.isfinite(mean_shift(moved, 0.0, 10, 10))


def test_what_chance_adds_to_a_mean_is_subtracted() -> None:
    squares = []
    for _ in range(300):
        left, right = RANDOM.standard_normal((2, 200, 8))
        moved = left.mean(axis=0) - right.mean(axis=0)
        squares.append(mean_shift(moved, 8.0, 200, 200) ** 2)
    # Without it the squares would be 0.01 on average.
    assert np.mean(squares) < 0.003


def test_mmd_sees_a_cloud_that_shrinks_around_its_mean() -> None:
    left = RANDOM.standard_normal((256, 32))
    again = RANDOM.standard_normal((256, 32))
    assert mmd(left, again) < 0.05
    assert mmd(left, 0.5 * again) > 0.1
    assert mmd(left, again + 1) > 0.3


def test_mmd_of_a_cloud_that_is_a_point() -> None:
    point = np.ones((10, 32))
    assert mmd(point, point) == pytest.approx(0, abs=1e-6)
    assert mmd(point, point + 1) > 0.5
