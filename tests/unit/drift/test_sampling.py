"""Which rows are looked at: fair, and never too many."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from predictor.drift.sampling import PER_REQUEST, Sampler


def sampler(target: int = 1000, seed: int = 0) -> Sampler:
    return Sampler(np.random.default_rng(seed), target)


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(0, 100))
def test_picks_are_rows_of_the_request_ascending_and_few(counts: list[int], seed: int) -> None:
    row_sampler = sampler(target=50, seed=seed)
    for count in counts:
        picks = list(row_sampler.take(count))
        assert picks == sorted(set(picks))
        assert all(0 <= pick < count for pick in picks)
        assert len(picks) <= PER_REQUEST


def test_little_traffic_is_seen_whole() -> None:
    row_sampler = sampler()
    row_sampler.next_window()
    assert all(list(row_sampler.take(3)) == [0, 1, 2] for _ in range(300))


def test_much_traffic_is_sampled_at_the_rate_of_the_window_before() -> None:
    row_sampler = sampler(target=1000)
    for _ in range(100_000):
        row_sampler.take(1)
    row_sampler.next_window()
    assert row_sampler.rate == 0.01
    picked = sum(len(row_sampler.take(1)) for _ in range(100_000))
    assert 850 < picked <= 1150


def test_every_row_of_a_request_has_the_same_chance() -> None:
    row_sampler = sampler(target=10**9)
    row_sampler.rate = 0.1
    places = Counter(pick for _ in range(20_000) for pick in row_sampler.take(5))
    assert min(places.values()) > 1850
    assert max(places.values()) < 2150


def test_traffic_that_grows_a_thousandfold_costs_no_more_than_some_targets() -> None:
    row_sampler = sampler(target=100)
    row_sampler.next_window()
    picked = sum(len(row_sampler.take(1)) for _ in range(100_000))
    assert 500 < picked < 1500
    row_sampler.next_window()
    assert row_sampler.rate == 0.001


def test_the_first_window_begins_with_less() -> None:
    first, later = sampler(), sampler()
    later.next_window()
    picked = [
        sum(len(row_sampler.take(1)) for _ in range(20_000)) for row_sampler in (first, later)
    ]
    assert 600 < picked[0] < 1100
    assert picked[1] > 3 * picked[0]


def test_a_large_request_gives_a_few_rows_from_all_over() -> None:
    row_sampler = sampler()
    picks = {pick for _ in range(50) for pick in row_sampler.take(2048)}
    assert len(picks) > 300
    assert max(picks) > 1900
