"""The decisions of the scheduler, as properties of any queue."""

from hypothesis import given
from hypothesis import strategies as st

from predictor.batcher import scheduling
from predictor.batcher.scheduling import EngineLoad, Fairness, WaitingRows, choose_mates
from predictor.settings import BatchingSettings
from predictor.types import Lane

LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=60)
BUDGETS = st.integers(1, 1024)
MAX_ROWS = st.integers(0, 20)
# More tokens than wait.
WINDOW = 100_000
WINDOWS = st.integers(1, 2048)


def filled(lengths: list[int]) -> WaitingRows[int]:
    rows: WaitingRows[int] = WaitingRows()
    for number, length in enumerate(lengths):
        rows.add(length, float(number), number)
    return rows


@given(LENGTHS, BUDGETS, MAX_ROWS, st.data())
def test_mates_include_the_anchor_and_keep_every_limit(
    lengths: list[int], budget: int, max_rows: int, data: st.DataObject
) -> None:
    by_length = sorted((length, number) for number, length in enumerate(lengths))
    anchor = data.draw(st.integers(0, len(lengths) - 1))
    low, high = choose_mates(by_length, anchor, budget, max_rows)
    chosen = [length for length, _ in by_length[low:high]]
    reference = by_length[anchor][0]
    assert low <= anchor < high
    assert len(chosen) == 1 or sum(chosen) <= budget
    assert not max_rows or len(chosen) <= max_rows
    assert all(length <= 2 * reference + 8 and reference <= 2 * length + 8 for length in chosen)


@given(LENGTHS, BUDGETS, MAX_ROWS, st.data())
def test_padded_mates_keep_the_budget_with_their_padding(
    lengths: list[int], budget: int, max_rows: int, data: st.DataObject
) -> None:
    by_length = sorted((length, number) for number, length in enumerate(lengths))
    anchor = data.draw(st.integers(0, len(lengths) - 1))
    low, high = choose_mates(by_length, anchor, budget, max_rows, padded=True)
    assert low <= anchor < high
    assert high - low == 1 or by_length[high - 1][0] * (high - low) <= budget


@given(LENGTHS)
def test_cells_are_rows_times_the_longest(lengths: list[int]) -> None:
    assert filled(lengths).cells == max(lengths) * len(lengths)


@given(LENGTHS, BUDGETS, MAX_ROWS, WINDOWS)
def test_every_row_is_taken_exactly_once_and_the_oldest_is_always_next(
    lengths: list[int], budget: int, max_rows: int, window: int
) -> None:
    rows, left = filled(lengths), list(range(len(lengths)))
    while len(rows):
        assert rows.tokens == sum(lengths[number] for number in left)
        assert rows.oldest() == float(left[0])
        batch = rows.take(budget, max_rows, window)
        assert left[0] in batch
        for number in batch:
            left.remove(number)
    assert not left
    assert rows.tokens == 0
    assert rows.oldest() is None


@given(LENGTHS, st.data())
def test_discarded_rows_are_never_taken(lengths: list[int], data: st.DataObject) -> None:
    rows = filled(lengths)
    dropped = data.draw(st.sets(st.integers(0, len(lengths) - 1)))
    for number in dropped:
        rows.discard(number)
        rows.discard(number)  # twice does no harm
    numbers: list[int] = []
    while len(rows):
        numbers += rows.take(256, 0, WINDOW)
    assert sorted(numbers) == sorted(set(range(len(lengths))) - dropped)


@given(LENGTHS)
def test_a_batch_is_sorted_by_length(lengths: list[int]) -> None:
    batch = filled(lengths).take(10_000, 0, WINDOW)
    assert [lengths[n] for n in batch] == sorted(lengths[n] for n in batch)


def test_taking_all_ignores_how_unequal_the_rows_are() -> None:
    rows = filled([500, 1, 30])
    assert rows.take_all() == [1, 2, 0]
    assert (len(rows), rows.tokens) == (0, 0)


def test_mates_are_the_nearest_in_length_and_not_the_oldest() -> None:
    rows = filled([100, 10, 90, 105])
    assert sorted(rows.take(300, 0, WINDOW)) == [0, 2, 3]


def test_mates_come_from_the_oldest_rows_only() -> None:
    rows = filled([100, 20, 20, 100, 100])
    assert rows.take(300, 0, 250) == [0, 3]
    assert rows.take(300, 0, 250) == [1, 2]


def in_window(lengths: dict[int, int], window: int) -> dict[int, int]:
    """The number of older rows, for each row of the window; `lengths` by row, the oldest first."""
    older: dict[int, int] = {}
    total = 0
    for number, length in lengths.items():
        total += length
        if older and total > window:
            break
        older[number] = len(older)
    return older


@given(
    st.lists(st.integers(1, 300) | st.just(0), min_size=1, max_size=80),
    BUDGETS,
    MAX_ROWS,
    st.integers(1, 600),
)
def test_how_often_younger_rows_run_first(
    arrivals: list[int], budget: int, max_rows: int, window: int
) -> None:
    """0 among the arrivals stands for a batch that starts."""
    rows: WaitingRows[int] = WaitingRows()
    waiting: dict[int, int] = {}
    most: dict[int, int] = {}
    overtaken: dict[int, int] = {}
    number = 0
    for length in [*arrivals, *[0] * len(arrivals)]:
        if length:
            rows.add(length, float(number), number)
            waiting[number] = length
            number += 1
            continue
        if not waiting:
            continue
        older = in_window(waiting, window)
        batch = rows.take(budget, max_rows, window)
        assert set(batch) <= set(older)
        for row in batch:
            del waiting[row]
        for row, count in older.items():
            most.setdefault(row, count)
            if row in waiting and max(batch) > row:
                overtaken[row] = overtaken.get(row, 0) + 1
    assert not waiting
    assert all(overtaken.get(row, 0) <= count for row, count in most.items())


def load(query: int = 0, ingest: int = 0, *, workers: int = 2, wide: bool = False) -> EngineLoad:
    return EngineLoad(workers, {Lane.QUERY: query, Lane.INGEST: ingest}, wide, contended=False)


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
    fairness = Fairness(share)
    ran = {Lane.QUERY: 0, Lane.INGEST: 0}
    for _ in range(batches * 20):
        lane = scheduling.next_lane(load(), waiting(1, 1), fairness.owed, 256)
        assert lane is not None
        fairness.record(lane, 256, other_waits=True)
        ran[lane] += 256
    total = sum(ran.values())
    assert ran[Lane.INGEST] >= share * total - 512


def test_work_is_spread_over_idle_workers_in_shares_of_a_smallest_size() -> None:
    assert scheduling.fair_budget(load(workers=4), 1000, 512) == 250
    assert scheduling.fair_budget(load(workers=4), 100, 512) == scheduling.SMALLEST_SHARE
    assert scheduling.fair_budget(load(1, workers=2), 1000, 512) == 512


def test_a_batch_runs_wide_if_the_engine_is_idle_uncontended_and_it_is_all_that_waits() -> None:
    assert scheduling.should_run_wide(load(), 100, 256)
    assert not scheduling.should_run_wide(load(), 300, 256)
    assert not scheduling.should_run_wide(load(1), 100, 256)
    contended = EngineLoad(2, {Lane.QUERY: 0, Lane.INGEST: 0}, wide=False, contended=True)
    assert not scheduling.should_run_wide(contended, 100, 256)


def test_a_window_is_open_until_its_time_is_over_or_the_batch_is_full() -> None:
    assert scheduling.should_wait_for_more(0.005, 0.010, rows_full=False, tokens_full=False)
    assert not scheduling.should_wait_for_more(0.010, 0.010, rows_full=False, tokens_full=False)
    assert not scheduling.should_wait_for_more(0.0, 0.010, rows_full=True, tokens_full=False)
    assert not scheduling.should_wait_for_more(0.0, 0.010, rows_full=False, tokens_full=True)
    assert not scheduling.should_wait_for_more(0.0, 0.0, rows_full=False, tokens_full=False)


def test_the_lane_is_the_requested_one_else_by_size() -> None:
    settings = BatchingSettings(query_tokens=512, max_queue_tokens=1000)
    assert scheduling.lane_of(None, 512, settings) is Lane.QUERY
    assert scheduling.lane_of(None, 513, settings) is Lane.INGEST
    assert scheduling.lane_of(Lane.INGEST, 3, settings) is Lane.INGEST
    assert scheduling.lane_of(Lane.QUERY, 1000, settings) is Lane.QUERY
    assert scheduling.lane_of(Lane.QUERY, 1001, settings) is Lane.INGEST


@given(st.integers(0, 10**9), st.floats(0, 1e6))
def test_retry_after_is_between_one_and_thirty_seconds(tokens: int, speed: float) -> None:
    assert 1.0 <= scheduling.retry_after_s(tokens, speed) <= 30.0
