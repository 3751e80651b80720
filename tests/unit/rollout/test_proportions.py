"""Against published values of Wilson's interval and of Newcombe's method 10."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from predictor.rollout.proportions import increase, interval, z_of

TWO_SIDED_95 = 0.975
parts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from((0.9, 0.95, 0.999, 0.9999))


def test_quantiles() -> None:
    assert z_of(0.5) == pytest.approx(0)
    assert z_of(0.975) == pytest.approx(1.959964, abs=1e-6)
    assert z_of(0.9999) == pytest.approx(3.719016, abs=1e-6)


@pytest.mark.parametrize(
    ("shares", "low", "high"),
    # R. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine
    # 17 (1998), table I, method 3.
    [
        ((81, 263), 0.2553, 0.3662),
        ((15, 148), 0.0624, 0.1605),
        ((0, 20), 0.0000, 0.1611),
        ((1, 29), 0.0061, 0.1718),
    ],
)
def test_wilson(shares: tuple[int, int], low: float, high: float) -> None:
    bounds = interval(*shares, z_of(TWO_SIDED_95))
    assert bounds == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    # R. Newcombe, Interval estimation for the difference between independent proportions,
    # Statistics in Medicine 17 (1998), table II, method 10.
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_newcombe(ours: tuple[int, int], theirs: tuple[int, int], low: float, high: float) -> None:
    assert increase(ours, theirs, TWO_SIDED_95) == pytest.approx((low, high), abs=5e-5)


def test_nothing_says_nothing() -> None:
    assert interval(0, 0, 2.0) == (0.0, 1.0)
    low, high = increase((0, 0), (0, 0), 0.95)
    assert low < -0.5
    assert high > 0.5


@given(parts, parts, confidences)
def test_more_hits_are_a_larger_increase(
    ours: tuple[int, int], theirs: tuple[int, int], confidence: float
) -> None:
    (hits, total), (base, other) = ours, theirs
    assume(hits < total)
    low, high = increase(ours, theirs, confidence)
    more_low, more_high = increase((hits + 1, total), theirs, confidence)
    assert more_low >= low - 1e-12
    assert more_high >= high - 1e-12
    assert -1 - 1e-9 <= low <= hits / total - base / other <= high <= 1 + 1e-9


@given(parts, parts)
def test_the_interval_is_symmetric(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    low, high = increase(ours, theirs, 0.95)
    assert increase(theirs, ours, 0.95) == pytest.approx((-high, -low))
