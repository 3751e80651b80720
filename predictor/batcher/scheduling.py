"""Which rows run next: pure decisions and the queue they are made on; no threads, no clock.

The oldest row of a lane is always in its next batch, so nothing starves; its batch mates are the
rows nearest to it in length, because attention runs on a padded view and unequal lengths are the
one thing that packing cannot save. Mates come from the oldest rows only, a window of two budgets:
if all that waits could be a mate, rows of rare lengths would be overtaken again and again. A row
that is not in the window yet is overtaken by nobody, and one that is in it by younger rows in no
more batches than there are older rows in the window. Budgets are in tokens; where rows are padded
to the longest, padding counts too: such a batch has as many cells as rows times the longest.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from predictor.settings import BatchingSettings
from predictor.types import Lane

T = TypeVar("T")

# A batch mate is at most twice as long as the oldest row plus this, and the other way round.
LENGTH_RATIO = 2
LENGTH_SLACK = 8
# Budgets of the oldest rows that a batch is chosen from.
WINDOW_BUDGETS = 2
# Batches under this many tokens cost more in overhead than spreading them over threads gains.
SMALLEST_SHARE = 128


def choose_mates(
    lengths: Sequence[tuple[int, int]],
    anchor: int,
    budget: int,
    max_rows: int,
    *,
    padded: bool = False,
) -> tuple[int, int]:
    """The range `[low, high)` of rows, sorted by (length, number), to run with row `anchor`.

    Grows towards the nearer length until the next row would exceed `budget`, `max_rows` (0: no
    limit) or the length ratio. Always holds the anchor, even one longer than the budget.

    Args:
        padded: whether the budget counts cells, not tokens.
    """
    reference = lengths[anchor][0]
    low, high, total = anchor, anchor + 1, reference
    shortest = (reference - LENGTH_SLACK) / LENGTH_RATIO
    longest = reference * LENGTH_RATIO + LENGTH_SLACK
    while not max_rows or high - low < max_rows:
        shorter = lengths[low - 1][0] if low else None
        longer = lengths[high][0] if high < len(lengths) else None
        if shorter is not None and shorter < shortest:
            shorter = None
        if longer is not None and longer > longest:
            longer = None
        count = high - low + 1
        if shorter is not None and (longer is None or reference - shorter <= longer - reference):
            if (count * lengths[high - 1][0] if padded else total + shorter) > budget:
                break
            low, total = low - 1, total + shorter
        elif longer is not None:
            if (count * longer if padded else total + longer) > budget:
                break
            high, total = high + 1, total + longer
        else:
            break
    return low, high


class WaitingRows(Generic[T]):
    """Rows of one lane, by age and by length. Numbers are handed out in order of arrival."""

    def __init__(self, *, padded: bool = False) -> None:
        """padded: whether the budget of a batch counts cells, not tokens."""
        self._padded = padded
        self._by_age: dict[int, tuple[int, float, T]] = {}
        self._by_length: list[tuple[int, int]] = []
        self._next = 0
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._by_age)

    @property
    def cells(self) -> int:
        """Cells of a batch of all rows."""
        return self._by_length[-1][0] * len(self._by_length) if self._by_length else 0

    def add(self, length: int, now: float, item: T) -> int:
        """Queue a row of `length` tokens that arrived at `now`; returns its number."""
        number = self._next
        self._next += 1
        self._by_age[number] = (length, now, item)
        insort(self._by_length, (length, number))
        self.tokens += length
        return number

    def discard(self, number: int) -> None:
        """Remove a row whose request was dropped; a row that was taken already is ignored."""
        entry = self._by_age.pop(number, None)
        if entry is None:
            return
        length = entry[0]
        del self._by_length[bisect_left(self._by_length, (length, number))]
        self.tokens -= length

    def oldest(self) -> float | None:
        """Arrival of the row that has waited longest; None: there is none."""
        return next(iter(self._by_age.values()))[1] if self._by_age else None

    def take(self, budget: int, max_rows: int, window: int) -> list[T]:
        """Remove and return the next batch, shortest row first.

        Args:
            window: tokens of the oldest rows that it is chosen from.
        """
        number, (length, _, _) = next(iter(self._by_age.items()))
        oldest = self._oldest(window)
        anchor = bisect_left(oldest, (length, number))
        low, high = choose_mates(oldest, anchor, budget, max_rows, padded=self._padded)
        chosen = oldest[low:high]
        for row in chosen:
            del self._by_length[bisect_left(self._by_length, row)]
        self.tokens -= sum(length for length, _ in chosen)
        return [self._by_age.pop(number)[2] for _, number in chosen]

    def _oldest(self, window: int) -> list[tuple[int, int]]:
        """The oldest rows as `_by_length` has them: up to `window` tokens, at least one row."""
        if self.tokens <= window:
            return self._by_length
        rows: list[tuple[int, int]] = []
        total = 0
        for number, (length, _, _) in self._by_age.items():
            total += length
            if rows and total > window:
                break
            rows.append((length, number))
        return sorted(rows)

    def take_all(self) -> list[T]:
        """Remove and return every row, shortest first."""
        rows = [self._by_age[number][2] for _, number in self._by_length]
        self._by_age.clear()
        self._by_length.clear()
        self.tokens = 0
        return rows


@dataclass(slots=True)
class Fairness:
    """The tokens that ingest is owed because queries went first."""

    # Share of the engine that ingest gets while both lanes have rows.
    share: float
    owed: float = field(default=0.0)

    def record(self, lane: Lane, tokens: int, other_waits: bool) -> None:
        """Account for a batch of `lane`; `other_waits`: the other lane had rows too."""
        if lane is Lane.INGEST:
            self.owed = max(0.0, self.owed - tokens)
        elif other_waits:
            self.owed += tokens * self.share / (1.0 - self.share)


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """The engine at this moment."""

    # Batches that may run at once.
    workers: int
    # Batches that run, by lane.
    running: Mapping[Lane, int]
    # Whether one of them has all threads.
    wide: bool
    # Whether rows came during the last wide run and the engine was not idle since.
    contended: bool


def next_lane(
    load: EngineLoad, waiting: Mapping[Lane, int], owed: float, budget: int
) -> Lane | None:
    """The lane whose batch starts now, or None if nothing may start.

    At most `workers` batches run, but while ingest holds a worker one batch of queries may run
    beside them: a query then waits for a slice of CPU, not for a whole ingest batch.
    """
    if load.wide:
        return None
    total = sum(load.running.values())
    is_free = total < load.workers
    may_run_beside = total == load.workers and load.running[Lane.INGEST] > 0
    if waiting[Lane.INGEST] and is_free and (not waiting[Lane.QUERY] or owed >= budget):
        return Lane.INGEST
    if waiting[Lane.QUERY] and (is_free or may_run_beside):
        return Lane.QUERY
    return None


def fair_budget(load: EngineLoad, waiting_tokens: int, budget: int) -> int:
    """Tokens of the next batch: the waiting tokens spread over the idle workers, up to `budget`."""
    idle = max(1, load.workers - sum(load.running.values()))
    return min(budget, max(SMALLEST_SHARE, -(-waiting_tokens // idle)))


def should_run_wide(load: EngineLoad, waiting_cells: int, budget: int) -> bool:
    """Whether all waiting rows are one batch and the engine is idle and was not contended.

    The rows of such a batch may differ in length as they like, so the budget counts cells:
    attention pads them even where nothing else does.
    """
    idle = not any(load.running.values()) and not load.wide
    return idle and not load.contended and waiting_cells <= budget


def should_wait_for_more(
    waited_s: float, delay_s: float, rows_full: bool, tokens_full: bool
) -> bool:
    """Whether to wait for a fuller batch: only with a window configured, never with a full one."""
    return delay_s > 0 and waited_s < delay_s and not rows_full and not tokens_full


def lane_of(requested: Lane | None, tokens: int, settings: BatchingSettings) -> Lane:
    """The lane that a request names, else the lane by its size.

    A request that is larger than a lane is ingest whatever it says, because it would make all
    queries wait.
    """
    if tokens > settings.max_queue_tokens:
        return Lane.INGEST
    return requested or (Lane.QUERY if tokens <= settings.query_tokens else Lane.INGEST)


def retry_after_s(queued_tokens: int, tokens_per_second: float) -> float:
    """Seconds until the queue has room: the time to work off half of it, 1 to 30 s."""
    if tokens_per_second <= 0:
        return 1.0
    return min(30.0, max(1.0, queued_tokens / 2 / tokens_per_second))
