"""The arithmetic of a comparison of two commits: order, ratio, interval, verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hack.bench.against.comparison import RatioInterval, Verdict, median_interval
from hack.bench.against.schedule import BASELINE, CANDIDATE, SIDES, order
from tests.unit.bench_harness.comparisons import compared


def test_each_side_runs_first_in_every_other_round() -> None:
    first = [order(number)[0] for number in range(1, 5)]
    assert first == [CANDIDATE, BASELINE, CANDIDATE, BASELINE]
    assert all(set(order(number)) == set(SIDES) for number in range(1, 5))


def test_a_steady_drift_of_the_machine_cancels_in_the_median_ratio() -> None:
    """Every run is 1 % slower than the one before; both sides are equally fast."""
    samples: dict[str, list[float]] = {side: [] for side in SIDES}
    speed = 1000.0
    for number in range(1, 9):
        for side in order(number):
            samples[side].append(speed)
            speed *= 0.99
    drifted = compared(tuple(samples[CANDIDATE]), tuple(samples[BASELINE]))
    assert drifted.ratio == pytest.approx(1, abs=0.001)
    assert math.prod(drifted.round_ratios) == pytest.approx(1)


def test_the_ratio_is_of_the_medians_and_the_spread_of_the_rounds() -> None:
    figure = compared((90, 120, 100), (100, 100, 80))
    assert figure.ratio == 1.0
    assert figure.round_ratios == (0.9, 1.2, 1.25)
    assert figure.spread == RatioInterval(0.9, 1.25)


def test_a_ratio_above_1_is_better_also_for_latencies() -> None:
    assert compared((2.0,), (3.0,), lower_is_better=True).ratio == 1.5


def test_a_median_of_zero_gives_no_ratio() -> None:
    assert math.isnan(compared((1.0,), (0.0,)).ratio)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (5, None),  # 93.75 %
        (6, RatioInterval(1, 6)),  # 96.9 %
        (7, RatioInterval(1, 7)),  # 98.4 %
        (8, RatioInterval(1, 8)),  # 99.2 %; from the second to the seventh 93.0 %
        (9, RatioInterval(2, 8)),  # 96.1 %
        (20, RatioInterval(6, 15)),  # 95.9 %
    ],
)
def test_the_interval_is_that_of_the_sign_test(count: int, expected: RatioInterval | None) -> None:
    """The bounds are those of published tables for the median's 95 % interval."""
    values = [float(value) for value in range(count, 0, -1)]
    assert median_interval(values) == expected


@given(st.lists(st.floats(0.5, 2), min_size=6, max_size=40))
def test_the_interval_lies_within_the_spread_and_holds_the_median(values: list[float]) -> None:
    interval = median_interval(values)
    assert interval is not None
    ordered = sorted(values)
    assert ordered[0] <= interval.low <= ordered[(len(values) - 1) // 2]
    assert ordered[len(values) // 2] <= interval.high <= ordered[-1]


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.01, 1.02, 1.05, 1.03, 1.04, 1.02, 1.01), "faster"),
        ((0.99, 0.98, 0.95, 0.97, 0.96, 0.98, 0.99), "slower"),
        ((0.98, 1.01, 1.0, 0.99, 1.02, 1.0, 1.01), "unchanged"),
        ((0.90, 1.01, 1.0, 0.99, 1.02, 1.0, 1.01), "undecided"),
        ((0.98, 1.01, 1.0, 0.99, 1.10, 1.0, 1.01), "undecided"),
        ((1.5, 1.5, 1.5, 1.5, 1.5), "too few rounds"),
    ],
)
def test_the_interval_decides_on_the_verdict(ratios: tuple[float, ...], verdict: Verdict) -> None:
    assert compared(ratios, (1.0,) * len(ratios)).verdict() == verdict


def test_errors_make_a_figure_invalid_however_fast_it_is() -> None:
    assert compared((2.0,) * 7, (1.0,) * 7, errors=1).verdict() == "invalid"
