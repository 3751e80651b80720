"""The queue and the engine's load as state: what waits, what runs, and the next batch.

Each lane takes `max_queue_tokens`, so that ingest cannot fill up the queue of the queries. A
request larger than that enters its lane in pieces: as its rows run, further ones follow, and half
of the lane stays free for other requests.

No loop and no threads here; the time is passed in. `scheduling` decides.
"""

from collections import deque
from collections.abc import Sequence

from predictor.batcher import scheduling
from predictor.batcher.scheduling import EngineLoad, Fairness, WaitingRows
from predictor.batcher.submission import Batch, Row, Submission
from predictor.settings import BatchingSettings
from predictor.types import Lane

# Part of a lane that a request larger than the lane may occupy.
PIECE = 1 / 2


class Lanes:
    """Rows by lane, and the batches that run."""

    def __init__(self, settings: BatchingSettings, threads: int, *, padded: bool = False) -> None:
        """padded: whether the graph pads rows to the longest of a batch."""
        self._settings = settings
        self._threads = threads
        self._waiting: dict[Lane, WaitingRows[Row]] = {
            lane: WaitingRows(padded=padded) for lane in Lane
        }
        # The request of each lane that is larger than the lane and has rows outside of the queue.
        self._oversize: dict[Lane, Submission] = {}
        self._outside_tokens = dict.fromkeys(Lane, 0)
        self._running = dict.fromkeys(Lane, 0)
        # Whether a batch runs on all threads.
        self._wide = False
        # Whether rows came while a batch ran on all threads, and the engine was not idle since.
        self._contended = False
        self._fairness = Fairness(settings.ingest_share)

    @property
    def tokens(self) -> int:
        query, ingest = self._waiting.values()
        return query.tokens + ingest.tokens

    @property
    def accepted_tokens(self) -> int:
        """Tokens that do not run yet, those outside of the queue included; from any thread."""
        return self.tokens + sum(self._outside_tokens.values())

    @property
    def accepted_rows(self) -> int:
        """Rows that do not run yet, those outside of the queue included; from any thread."""
        return self.rows + sum(len(request.outside) for request in tuple(self._oversize.values()))

    def tokens_of(self, lane: Lane) -> int:
        """Tokens in the queue of a lane."""
        return self._waiting[lane].tokens

    def has_room(self, lane: Lane, rows: Sequence[Sequence[int]], tokens: int) -> bool:
        """Whether a request may enter its lane: all of it, or its first piece if it is larger."""
        waiting = self._waiting[lane]
        if tokens <= self._settings.max_queue_tokens:
            return self._fits(waiting, tokens)
        return lane not in self._oversize and self._fits(waiting, len(rows[0]))

    def _fits(self, waiting: WaitingRows[Row], tokens: int) -> bool:
        """Whether a lane takes so many tokens; an empty one takes any row."""
        return not waiting.tokens or waiting.tokens + tokens <= self._settings.max_queue_tokens

    @property
    def is_wide(self) -> bool:
        """Whether a batch runs on all threads."""
        return self._wide

    @property
    def rows(self) -> int:
        query, ingest = self._waiting.values()
        return len(query) + len(ingest)

    def oldest(self) -> float | None:
        """Arrival of the row that has waited longest; None: nothing waits."""
        times = [waiting.oldest() for waiting in self._waiting.values()]
        return min((time for time in times if time is not None), default=None)

    def add(self, submission: Submission, rows: Sequence[Sequence[int]]) -> None:
        """Queue all rows of a request, or the first of them if it is larger than its lane."""
        lane = submission.lane
        items = deque(Row(ids, submission, index) for index, ids in enumerate(rows))
        if sum(map(len, rows)) > self._settings.max_queue_tokens:
            submission.outside = items
            self._outside_tokens[lane] = sum(map(len, rows))
            self._oversize[lane] = submission
            self._fill_lane(lane)
            return
        waiting = self._waiting[lane]
        submission.numbers = [waiting.add(len(row.ids), submission.submitted, row) for row in items]

    def _fill_lane(self, lane: Lane) -> None:
        """Queue further rows of the request that is larger than its lane, as far as it may."""
        submission = self._oversize.get(lane)
        if submission is None:
            return
        waiting = self._waiting[lane]
        share = self._settings.max_queue_tokens * PIECE
        outside = submission.outside
        while outside:
            length = len(outside[0].ids)
            queued = submission.queued_tokens
            if not self._fits(waiting, length) or (queued and queued + length > share):
                return
            row = outside.popleft()
            submission.queued_tokens += length
            submission.numbers.append(waiting.add(length, submission.submitted, row))
            self._outside_tokens[lane] -= length
        del self._oversize[lane]

    def discard(self, submission: Submission) -> None:
        """Remove the rows of a request that still wait."""
        lane = submission.lane
        waiting = self._waiting[lane]
        for number in submission.numbers:
            waiting.discard(number)
        if self._oversize.get(lane) is submission:
            submission.outside.clear()
            self._outside_tokens[lane] = 0
            del self._oversize[lane]
        self._fill_lane(lane)

    def next_lane(self) -> Lane | None:
        """The lane whose batch may start now."""
        if not self.rows:
            return None
        waiting = {lane: len(rows) for lane, rows in self._waiting.items()}
        budget = self._settings.max_batch_tokens
        return scheduling.next_lane(self._load(), waiting, self._fairness.owed, budget)

    def window_left_s(self, lane: Lane, now: float) -> float:
        """Seconds to wait for a fuller batch (`max_queue_delay_ms`); 0.0: the batch starts now."""
        settings, waiting = self._settings, self._waiting[lane]
        delay_s = settings.max_queue_delay_ms / 1000
        waited_s = now - (waiting.oldest() or 0.0)
        wait = scheduling.should_wait_for_more(
            waited_s,
            delay_s,
            rows_full=0 < settings.max_batch_rows <= len(waiting),
            tokens_full=waiting.tokens >= settings.max_batch_tokens,
        )
        return delay_s - waited_s if wait else 0.0

    def take(self, lane: Lane) -> Batch:
        """Remove the next batch of a lane from the queue and count it as running."""
        budget, max_rows = self._settings.max_batch_tokens, self._settings.max_batch_rows
        load, waiting = self._load(), self._waiting[lane]
        others = self.rows - len(waiting)
        fits = not others and (not max_rows or len(waiting) <= max_rows)
        wide = fits and scheduling.should_run_wide(load, waiting.cells, budget)
        if wide:
            rows = waiting.take_all()
        else:
            share = scheduling.fair_budget(load, waiting.tokens, budget)
            rows = waiting.take(share, max_rows, scheduling.WINDOW_BUDGETS * budget)
        tokens = sum(len(row.ids) for row in rows)
        if (oversize := self._oversize.get(lane)) is not None:
            oversize.queued_tokens -= sum(len(r.ids) for r in rows if r.submission is oversize)
            self._fill_lane(lane)
        self._fairness.record(lane, tokens, other_waits=others > 0)
        self._running[lane] += 1
        self._wide = wide
        return Batch(rows, tokens, lane, wide)

    def remove(self, batch: Batch) -> None:
        """Count a batch as running no more, whatever its outcome."""
        self._running[batch.lane] -= 1
        if batch.wide:
            self._wide = False
            self._contended = self.rows > 0
        elif not any(self._running.values()) and not self.rows:
            self._contended = False

    def _load(self) -> EngineLoad:
        return EngineLoad(self._threads, self._running, self._wide, self._contended)
