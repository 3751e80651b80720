"""The bucket never grants more than it may, at any pace, and who waits as told is let in."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.access.limits import SLACK_S, Bucket, duration

CAPACITIES = st.integers(1, 10**6)
# Steps of time may go back, as the times of two requests may come in the wrong order.
STEPS = st.floats(-30, 120, allow_nan=False)
STARTS = st.floats(0, 1e6)


@given(CAPACITIES, STARTS, st.lists(st.tuples(STEPS, st.floats(0, 1)), max_size=80))
def test_no_window_grants_more_than_the_capacity_and_what_came_in_since(
    capacity: int, start: float, asks: list[tuple[float, float]]
) -> None:
    bucket, now, latest = Bucket(capacity), start, -math.inf
    granted: list[tuple[float, int]] = []
    for step, share in asks:
        now += step
        latest = max(latest, now)
        amount = math.ceil(share * capacity)
        if bucket.take(amount, now) == 0.0:
            granted.append((latest, amount))
    for first, (begin, _) in enumerate(granted):
        total = 0
        for end, amount in granted[first:]:
            total += amount
            assert total <= capacity + (end - begin) * capacity / 60 + 1e-6 * capacity


@given(CAPACITIES, st.lists(st.tuples(st.floats(0, 300), st.integers(0, 10**7)), max_size=80))
def test_with_requests_larger_than_the_bucket_the_mean_holds_but_for_the_largest(
    capacity: int, asks: list[tuple[float, int]]
) -> None:
    bucket, now, total, largest = Bucket(capacity), 0.0, 0, capacity
    for step, amount in asks:
        now += step
        if bucket.take(amount, now) == 0.0:
            total, largest = total + amount, max(largest, amount)
    assert total <= largest + now * capacity / 60 + 1e-6 * largest


@given(CAPACITIES, STARTS, st.lists(st.integers(0, 10**7), max_size=30), st.integers(0, 10**7))
def test_a_client_that_waits_as_it_was_told_passes(
    capacity: int, now: float, before: list[int], amount: int
) -> None:
    bucket = Bucket(capacity)
    for tokens in before:
        bucket.take(tokens, now)
    wait_s = bucket.take(amount, now)
    if wait_s:
        assert bucket.take(amount, now + wait_s - 2 * SLACK_S) > 0.0
        assert bucket.take(amount, now + wait_s) == 0.0


@given(CAPACITIES, st.lists(st.tuples(STEPS, st.integers(0, 2000)), max_size=60))
def test_a_refused_amount_costs_nothing_and_reading_changes_nothing(
    capacity: int, asks: list[tuple[float, int]]
) -> None:
    bucket, twin, now = Bucket(capacity), Bucket(capacity), 1000.0
    for step, amount in asks:
        now += step
        wait_s = bucket.take(amount, now)
        assert 0 <= bucket.remaining(now) <= capacity
        assert bucket.reset_s(now) >= 0.0
        if wait_s == 0.0:
            assert twin.take(amount, now) == 0.0
        assert twin.remaining(now) == pytest.approx(bucket.remaining(now), abs=1)


def test_a_minute_of_requests_at_once_and_then_one_each_tenth_of_a_second() -> None:
    bucket = Bucket(600)
    assert [bucket.take(1, 5.0) for _ in range(600)] == [0.0] * 600
    assert bucket.remaining(5.0) == 0
    assert bucket.reset_s(5.0) == pytest.approx(60.0)
    assert bucket.take(1, 5.0) == pytest.approx(0.1, abs=2 * SLACK_S)
    assert bucket.take(1, 5.05) == pytest.approx(0.05, abs=2 * SLACK_S)
    assert bucket.take(1, 5.11) == 0.0
    assert bucket.take(1, 5.11) > 0.0


def test_a_bucket_does_not_fill_beyond_its_capacity() -> None:
    bucket = Bucket(10)
    assert bucket.take(10, 0.0) == 0.0
    assert bucket.remaining(1e9) == 10
    assert bucket.reset_s(1e9) == 0.0


def test_more_than_the_bucket_passes_when_it_is_full_and_is_paid_back() -> None:
    bucket = Bucket(60)
    assert bucket.take(1, 0.0) == 0.0
    assert bucket.take(180, 0.0) == pytest.approx(1.0, abs=2 * SLACK_S)
    assert bucket.take(180, 1.01) == 0.0
    assert bucket.remaining(1.01) == 0
    assert bucket.reset_s(1.01) == pytest.approx(180.0)
    assert bucket.take(1, 1.01) == pytest.approx(121.0, abs=2 * SLACK_S)
    assert bucket.take(0, 1.01) == 0.0  # nothing is free, in debt as well
    assert bucket.take(1, 122.02) == 0.0


def test_a_clock_that_goes_back_neither_gives_nor_takes() -> None:
    bucket = Bucket(60)
    assert bucket.take(30, 100.0) == 0.0
    assert bucket.remaining(40.0) == 30
    assert bucket.remaining(100.0) == 30  # the minute from 40 to 100 was there before
    assert bucket.remaining(110.0) == 40


def test_a_negative_amount_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="-1"):
        Bucket(60).take(-1, 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0004, "0s"),
        (0.02, "20ms"),
        (0.9996, "1s"),
        (1.0, "1s"),
        (1.2, "1.2s"),
        (8.64, "8.64s"),
        (10.0, "10s"),
        (59.9996, "1m0s"),
        (60.0, "1m0s"),
        (86.4, "1m26.4s"),
        (360.0, "6m0s"),
        (3600.0, "1h0m0s"),
        (90061.005, "25h1m1.005s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
