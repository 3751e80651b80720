"""Admission and completion on the event loop; `dispatch` gives the engine's threads their batches.

A batch starts as soon as a thread is free. Rows that arrive while it runs are queued, and the next
batch takes those that fit. The pure functions of `scheduling` decide which batch starts.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import perf_counter

from predictor.batcher import scheduling
from predictor.batcher.dispatch import Dispatch
from predictor.batcher.engine_threads import EngineThreads, ThreadEvents, join
from predictor.batcher.lanes import Lanes
from predictor.batcher.recorder import BatchRecorder
from predictor.batcher.submission import Batch, Submission
from predictor.batcher.worker import EngineRun, RunOutcome
from predictor.errors import (
    DeadlineExceeded,
    EngineError,
    NotFinite,
    NotReady,
    Overloaded,
    PredictorError,
)
from predictor.settings import BatchingSettings
from predictor.tracing import Tracer
from predictor.types import FloatRows, Lane
from predictor.version_metrics import ModelMetrics

logger = logging.getLogger(__name__)


class Batcher:
    """Owns the queue and the engine's threads. Everything runs on one event loop."""

    def __init__(
        self,
        run: EngineRun,
        settings: BatchingSettings,
        metrics: ModelMetrics,
        *,
        threads: int,
        on_fatal: Callable[[str], None],
        tracer: Tracer | None = None,
        padded: bool = False,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            threads: batches that may run at once; one more may run for queries while ingest
                occupies all of them.
            on_fatal: called on the loop, once, when the engine cannot be brought back.
            tracer: records a span for each finished batch.
            padded: whether the graph pads rows to the longest of a batch.
        """
        self._settings = settings
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._lanes = Lanes(settings, threads, padded=padded)
        self._dispatch = Dispatch(self._lanes, threads)
        self._recorder = BatchRecorder(metrics, tracer, threads=threads)
        self._threads = EngineThreads(
            run,
            metrics,
            self._dispatch,
            threads=threads,
            engine_timeout_s=settings.engine_timeout_s,
            events=ThreadEvents(
                on_done=self._finish,
                on_lost=self._lose,
                on_replaced=self._fill_threads,
                on_given_up=self._give_up,
            ),
        )
        # Requests with rows that wait or run.
        self._pending: set[Submission] = set()
        # Whether `_fill_threads` is scheduled for the end of this turn of the loop.
        self._is_fill_scheduled = False
        self._is_stopped = True
        # Set while the batching window is open.
        self._window: asyncio.TimerHandle | None = None

    @property
    def healthy(self) -> bool:
        """Whether every engine thread is alive and answers in time."""
        return self._threads.healthy

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_stopped = False
        # The gauges are read at a scrape instead of being set at every change.
        self._metrics.queue_tokens.set_function(lambda: self._lanes.accepted_tokens)
        self._metrics.queue_rows.set_function(lambda: self._lanes.accepted_rows)
        self._metrics.queue_age.set_function(self._oldest_age_s)
        self._threads.start()

    def _oldest_age_s(self) -> float:
        """Seconds that the oldest row in the queue has waited; called in the thread of a scrape."""
        try:
            oldest = self._lanes.oldest()
        except (RuntimeError, StopIteration):  # the queue was changed meanwhile
            return 0.0
        return 0.0 if oldest is None else max(0.0, self._loop.time() - oldest)

    # Admission

    def submit(
        self, rows: Sequence[Sequence[int]], lane: Lane, deadline: float | None
    ) -> Submission:
        """Accept all rows of a request, or none of them.

        Args:
            deadline: on the event loop's clock, seconds.

        Raises:
            Overloaded: the lane has no room for all rows, or for the first of a request that is
                larger than the lane.
            DeadlineExceeded: the deadline has already passed.
            NotReady: the engine is down or stopping.
        """
        if self._is_stopped:
            raise NotReady("the engine is down")
        now = self._loop.time()
        if deadline is not None and now >= deadline:
            raise DeadlineExceeded("the deadline passed before the request was queued")
        tokens = sum(map(len, rows))
        queued = self._lanes.tokens_of(lane)
        submission = Submission(len(rows), lane, now, self._loop.create_future())
        if not self._dispatch.admit(submission, rows, tokens):
            raise Overloaded(
                f"the queue holds {queued} {lane.name.lower()} tokens and this request has "
                f"{tokens}; the limit is {self._settings.max_queue_tokens}",
                scheduling.retry_after_s(queued, self._recorder.tokens_per_second),
            )
        if deadline is not None:
            submission.timer = self._loop.call_at(deadline, self._expire, submission)
        self._pending.add(submission)
        if not self._is_fill_scheduled:
            # Requests that arrive in the same event loop iteration are batched together.
            self._is_fill_scheduled = True
            self._loop.call_soon(self._fill_threads)
        return submission

    def cancel(self, submission: Submission) -> None:
        """Drop a request: remove its waiting rows from the queue and ignore its running rows."""
        self._dispatch.discard(submission)
        submission.future.cancel()
        self._remove(submission)

    def _remove(self, submission: Submission) -> None:
        self._pending.discard(submission)
        if submission.timer is not None:
            submission.timer.cancel()

    def _expire(self, submission: Submission) -> None:
        waited_s = self._loop.time() - submission.submitted
        submission.fail(DeadlineExceeded(f"not computed within {waited_s:.3f} s"))
        self.cancel(submission)

    async def embed(
        self, rows: Sequence[Sequence[int]], lane: Lane, deadline: float | None
    ) -> FloatRows:
        """Return vectors `[len(rows), dim]`, not normalised; cancelling the call drops the rows.

        Raises:
            Overloaded, NotReady: the rows were not admitted.
            DeadlineExceeded: the rows were not computed in time.
            NotFinite: the engine gave no finite numbers for some rows; it has them all.
            EngineError: the engine failed on a row.
        """
        submission = self.submit(rows, lane, deadline)
        try:
            vectors = await submission.future
            if submission.not_finite:
                raise NotFinite(sorted(submission.not_finite), vectors)
            return vectors
        finally:
            submission.record_times(perf_counter())
            if submission.has_rows:
                self._remove(submission)
            else:  # its other rows need not be computed any more
                self.cancel(submission)

    # Starting batches

    def _fill_threads(self) -> None:
        """Start every batch that may start."""
        self._is_fill_scheduled = False
        wait_s = self._dispatch.fill()
        if wait_s and self._window is None and not self._is_stopped:
            self._window = self._loop.call_later(wait_s, self._close_window)

    def _close_window(self) -> None:
        self._window = None
        self._fill_threads()

    # Finishing batches

    def _finish(self, batch: Batch, outcome: RunOutcome) -> None:
        """Pass the output of a batch to its requests."""
        self._recorder.trace(batch, failed=isinstance(outcome, BaseException))
        if isinstance(outcome, BaseException):
            _fail(batch, outcome)
        else:
            for place in batch.not_finite:
                row = batch.rows[place]
                row.submission.not_finite += (row.index,)
            for place, row in enumerate(batch.rows):
                row.submission.fill(row.index, outcome[place : place + 1])
            self._recorder.record(batch)
        if self._settings.max_queue_delay_ms:
            self._fill_threads()  # the thread may have found a window open

    def _lose(self, batch: Batch) -> None:
        """Fail the requests of a batch whose thread died."""
        _fail(batch, EngineError("the engine failed on this batch"))

    # The end

    def _give_up(self, reason: str) -> None:
        self._close(NotReady("the engine is down"))
        self._on_fatal(reason)

    def _close(self, error: PredictorError) -> None:
        self._is_stopped = True
        if self._window is not None:
            self._window.cancel()
        for submission in list(self._pending):
            submission.fail(error)
            self.cancel(submission)

    async def stop(self) -> None:
        """Stop the threads and fail the waiting requests; call it when no request can arrive."""
        if self._is_stopped:
            return
        workers = self._threads.close()
        self._close(NotReady("the server is shutting down"))
        await join(workers)


def _fail(batch: Batch, error: BaseException) -> None:
    """Fail all requests of a batch; only the text of a `PredictorError` reaches them."""
    if not isinstance(error, PredictorError):
        logger.error("engine failed on a batch", exc_info=error)
        error = EngineError("the engine failed on this batch")
    elif error.__cause__ is not None:
        logger.error("engine failed on a batch: %s", error, exc_info=error.__cause__)
    for row in batch.rows:
        row.submission.fail(error)
