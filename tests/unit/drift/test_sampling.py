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
    one = sampler(target=50, seed=seed)
    for count in counts:
        picks = list(one.take(count))
        assert picks == sorted(set(picks))
        assert all(0 <= pick < count for pick in picks)
        assert len(picks) <= PER_REQUEST


def test_little_traffic_is_seen_whole() -> None:
    one = sampler()
    one.next_window()
    assert all(list(one.take(3)) == [0, 1, 2] for _ in range(300))


def test_much_traffic_is_sampled_at_the_rate_of_the_window_before() -> None:
    one = sampler(target=1000)
    for _ in range(100_000):
        one.take(1)
    one.next_window()
    assert one.rate == 0.01
    taken = sum(len(one.take(1)) for _ in range(100_000))
    assert 850 < taken <= 1150


def test_every_row_of_a_request_has_the_same_chance() -> None:
    one = sampler(target=10**9)
    one.rate = 0.1
    places = Counter(pick for _ in range(20_000) for pick in one.take(5))
    assert min(places.values()) > 1850
    assert max(places.values()) < 2150


def test_traffic_that_grows_a_thousandfold_costs_no_more_than_some_targets() -> None:
    one = sampler(target=100)
    one.next_window()
    taken = sum(len(one.take(1)) for _ in range(100_000))
    assert 500 < taken < 1500
    one.next_window()
    assert one.rate == 0.001


def test_the_first_window_begins_with_less() -> None:
    first, later = sampler(), sampler()
    later.next_window()
    taken = [sum(len(one.take(1)) for _ in range(20_000)) for one in (first, later)]
    assert 600 < taken[0] < 1100
    assert taken[1] > 3 * taken[0]


def test_a_large_request_gives_a_few_rows_from_all_over() -> None:
    one = sampler()
    seen = {pick for _ in range(50) for pick in one.take(2048)}
    assert len(seen) > 300
    assert max(seen) > 1900
