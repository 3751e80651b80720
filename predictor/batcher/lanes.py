"""The queue and the engine's load, as state: what waits, what runs, and the next batch of it.

No loop and no threads here; the time is passed in. The choices are `scheduling`'s.
"""

from collections.abc import Sequence

from predictor import scheduling
from predictor.batcher.submission import Batch, Row, Submission
from predictor.scheduling import Fairness, Load, WaitingRows
from predictor.settings import BatchingSettings
from predictor.types import Lane


class Lanes:
    """Rows by lane, and the batches that run."""

    def __init__(self, settings: BatchingSettings, threads: int) -> None:
        self._settings, self._threads = settings, threads
        self._waiting: dict[Lane, WaitingRows[Row]] = {lane: WaitingRows() for lane in Lane}
        self._running = dict.fromkeys(Lane, 0)
        self._wide = self._contended = False
        self._fairness = Fairness(settings.ingest_share)

    @property
    def tokens(self) -> int:
        query, ingest = self._waiting.values()
        return query.tokens + ingest.tokens

    @property
    def rows(self) -> int:
        query, ingest = self._waiting.values()
        return len(query) + len(ingest)

    def oldest(self) -> float | None:
        """When the row that waits longest was queued; None: nothing waits."""
        times = [waiting.oldest() for waiting in self._waiting.values()]
        return min((time for time in times if time is not None), default=None)

    def add(self, submission: Submission, rows: Sequence[Sequence[int]]) -> None:
        """Queue all rows of a request."""
        waiting = self._waiting[submission.lane]
        submission.numbers = [
            waiting.add(len(ids), submission.submitted, Row(ids, submission, index))
            for index, ids in enumerate(rows)
        ]

    def discard(self, submission: Submission) -> None:
        """Remove what still waits of a request."""
        waiting = self._waiting[submission.lane]
        for number in submission.numbers:
            waiting.discard(number)

    def next_lane(self) -> Lane | None:
        """The lane whose batch may start now."""
        if not self.rows:
            return None
        waiting = {lane: len(rows) for lane, rows in self._waiting.items()}
        budget = self._settings.max_batch_tokens
        return scheduling.next_lane(self._load(), waiting, self._fairness.owed, budget)

    def hold_s(self, lane: Lane, now: float) -> float:
        """How long the window (`max_queue_delay_ms`) says to wait for a fuller batch, seconds."""
        settings, waiting = self._settings, self._waiting[lane]
        delay = settings.max_queue_delay_ms / 1000
        waited = now - (waiting.oldest() or 0.0)
        held = scheduling.holds_back(
            waited,
            delay,
            rows_full=0 < settings.max_batch_rows <= len(waiting),
            tokens_full=waiting.tokens >= settings.max_batch_tokens,
        )
        return delay - waited if held else 0.0

    def take(self, lane: Lane) -> Batch:
        """Remove the next batch of a lane from the queue and put it on the books as running."""
        budget, max_rows = self._settings.max_batch_tokens, self._settings.max_batch_rows
        load, waiting = self._load(), self._waiting[lane]
        others = self.rows - len(waiting)
        fits = not others and (not max_rows or len(waiting) <= max_rows)
        wide = fits and scheduling.runs_alone(load, waiting.tokens, budget)
        if wide:
            rows = waiting.take_all()
        else:
            rows = waiting.take(scheduling.fair_budget(load, waiting.tokens, budget), max_rows)
        tokens = sum(len(row.ids) for row in rows)
        self._fairness.ran(lane, tokens, other_waits=others > 0)
        self._running[lane] += 1
        self._wide = wide
        return Batch(rows, tokens, lane, wide)

    def settle(self, batch: Batch) -> None:
        """Take a batch off the books, whatever became of it."""
        self._running[batch.lane] -= 1
        if batch.wide:
            self._wide = False
            self._contended = self.rows > 0
        elif not any(self._running.values()) and not self.rows:
            self._contended = False

    def _load(self) -> Load:
        return Load(self._threads, self._running, self._wide, self._contended)
