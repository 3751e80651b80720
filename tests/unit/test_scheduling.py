"""The decisions of the scheduler, as properties of any queue."""

from hypothesis import given
from hypothesis import strategies as st

from predictor import scheduling
from predictor.scheduling import Fairness, Load, WaitingRows, choose_window
from predictor.types import Lane

LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=60)
BUDGETS = st.integers(1, 1024)
MAX_ROWS = st.integers(0, 20)


def filled(lengths: list[int]) -> WaitingRows[int]:
    rows: WaitingRows[int] = WaitingRows()
    for number, length in enumerate(lengths):
        rows.add(length, float(number), number)
    return rows


@given(LENGTHS, BUDGETS, MAX_ROWS, st.data())
def test_a_window_holds_its_anchor_and_keeps_every_limit(
    lengths: list[int], budget: int, max_rows: int, data: st.DataObject
) -> None:
    by_length = sorted((length, number) for number, length in enumerate(lengths))
    anchor = data.draw(st.integers(0, len(lengths) - 1))
    low, high = choose_window(by_length, anchor, budget, max_rows)
    chosen = [length for length, _ in by_length[low:high]]
    reference = by_length[anchor][0]
    assert low <= anchor < high
    assert len(chosen) == 1 or sum(chosen) <= budget
    assert not max_rows or len(chosen) <= max_rows
    assert all(length <= 2 * reference + 8 and reference <= 2 * length + 8 for length in chosen)


@given(LENGTHS, BUDGETS, MAX_ROWS)
def test_every_row_is_taken_exactly_once_and_the_oldest_is_always_next(
    lengths: list[int], budget: int, max_rows: int
) -> None:
    rows, left = filled(lengths), list(range(len(lengths)))
    while len(rows):
        assert rows.tokens == sum(lengths[number] for number in left)
        assert rows.oldest() == float(left[0])
        batch = rows.take(budget, max_rows)
        assert left[0] in batch
        for number in batch:
            left.remove(number)
    assert not left
    assert rows.tokens == 0
    assert rows.oldest() is None


@given(LENGTHS, st.data())
def test_discarded_rows_are_never_taken(lengths: list[int], data: st.DataObject) -> None:
    rows = filled(lengths)
    gone = data.draw(st.sets(st.integers(0, len(lengths) - 1)))
    for number in gone:
        rows.discard(number)
        rows.discard(number)  # twice does no harm
    taken: list[int] = []
    while len(rows):
        taken += rows.take(256, 0)
    assert sorted(taken) == sorted(set(range(len(lengths))) - gone)


@given(LENGTHS)
def test_a_batch_is_sorted_by_length(lengths: list[int]) -> None:
    batch = filled(lengths).take(10_000, 0)
    assert [lengths[n] for n in batch] == sorted(lengths[n] for n in batch)


def test_taking_all_ignores_how_unequal_the_rows_are() -> None:
    rows = filled([500, 1, 30])
    assert rows.take_all() == [1, 2, 0]
    assert (len(rows), rows.tokens) == (0, 0)


def test_mates_are_the_nearest_in_length_not_the_oldest() -> None:
    rows = filled([100, 10, 90, 105])
    assert sorted(rows.take(300, 0)) == [0, 2, 3]


def load(query: int = 0, ingest: int = 0, *, workers: int = 2, wide: bool = False) -> Load:
    return Load(workers, {Lane.QUERY: query, Lane.INGEST: ingest}, wide, contended=False)


def waiting(query: int, ingest: int) -> dict[Lane, int]:
    return {Lane.QUERY: query, Lane.INGEST: ingest}


def test_queries_go_first() -> None:
    assert scheduling.next_lane(load(), waiting(1, 5), 0.0, 256) is Lane.QUERY


def test_ingest_goes_first_once_it_is_owed_a_batch() -> None:
    assert scheduling.next_lane(load(), waiting(1, 5), 256.0, 256) is Lane.INGEST


def test_a_query_runs_beside_ingest_that_holds_every_worker() -> None:
    assert scheduling.next_lane(load(ingest=2), waiting(1, 1), 0.0, 256) is Lane.QUERY


def test_queries_alone_never_exceed_the_workers() -> None:
    assert scheduling.next_lane(load(query=2), waiting(9, 0), 0.0, 256) is None


def test_ingest_never_exceeds_the_workers() -> None:
    assert scheduling.next_lane(load(ingest=2), waiting(0, 9), 0.0, 256) is None


def test_only_one_query_batch_runs_beside() -> None:
    assert scheduling.next_lane(load(1, 2), waiting(9, 0), 0.0, 256) is None


def test_nothing_starts_beside_a_run_that_has_all_threads() -> None:
    assert scheduling.next_lane(load(1, wide=True), waiting(9, 9), 0.0, 256) is None


@given(st.floats(0.05, 0.9), st.integers(1, 200))
def test_ingest_gets_its_share_while_queries_never_stop(share: float, batches: int) -> None:
    fairness, ran = Fairness(share), {Lane.QUERY: 0, Lane.INGEST: 0}
    for _ in range(batches * 20):
        lane = scheduling.next_lane(load(), waiting(1, 1), fairness.owed, 256)
        assert lane is not None
        fairness.ran(lane, 256, other_waits=True)
        ran[lane] += 256
    total = sum(ran.values())
    assert ran[Lane.INGEST] >= share * total - 512


def test_work_is_spread_over_idle_workers_but_not_into_crumbs() -> None:
    assert scheduling.fair_budget(load(workers=4), 1000, 512) == 250
    assert scheduling.fair_budget(load(workers=4), 100, 512) == scheduling.SMALLEST_SHARE
    assert scheduling.fair_budget(load(1, workers=2), 1000, 512) == 512


def test_alone_means_idle_uncontended_and_one_batch() -> None:
    assert scheduling.runs_alone(load(), 100, 256)
    assert not scheduling.runs_alone(load(), 300, 256)
    assert not scheduling.runs_alone(load(1), 100, 256)
    contended = Load(2, {Lane.QUERY: 0, Lane.INGEST: 0}, wide=False, contended=True)
    assert not scheduling.runs_alone(contended, 100, 256)


def test_a_window_holds_back_until_it_is_over_or_full() -> None:
    assert scheduling.holds_back(0.005, 0.010, rows_full=False, tokens_full=False)
    assert not scheduling.holds_back(0.010, 0.010, rows_full=False, tokens_full=False)
    assert not scheduling.holds_back(0.0, 0.010, rows_full=True, tokens_full=False)
    assert not scheduling.holds_back(0.0, 0.010, rows_full=False, tokens_full=True)
    assert not scheduling.holds_back(0.0, 0.0, rows_full=False, tokens_full=False)


def test_lane_by_request_else_by_size() -> None:
    assert scheduling.lane_of(None, 512, 512) is Lane.QUERY
    assert scheduling.lane_of(None, 513, 512) is Lane.INGEST
    assert scheduling.lane_of(Lane.INGEST, 3, 512) is Lane.INGEST


@given(st.integers(0, 10**9), st.floats(0, 1e6))
def test_retry_after_is_between_one_and_thirty_seconds(tokens: int, speed: float) -> None:
    assert 1.0 <= scheduling.retry_after_s(tokens, speed) <= 30.0
