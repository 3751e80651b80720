"""Admission, batching and completion, all on the event loop; only `run` happens in threads.

No locks: the queue is touched by the loop alone. A batch starts the moment a worker is free; while
it runs, arrivals queue, and the next batch takes what fits. What to start is decided by the pure
functions of `scheduling`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import perf_counter

from predictor import scheduling
from predictor.batcher.lanes import Lanes
from predictor.batcher.submission import Batch, Submission
from predictor.batcher.worker import Outcome, Run, Worker, answers
from predictor.errors import DeadlineExceeded, EngineError, NotReady, Overloaded, PredictorError
from predictor.metrics import ModelMetrics
from predictor.settings import BatchingSettings
from predictor.tracing import BatchFacts, Tracer
from predictor.types import FloatRows, Lane

logger = logging.getLogger(__name__)

# How often an engine that hangs is looked for, seconds.
WATCH_S = 0.05
# Engine threads replaced in one process before it gives up and is replaced itself.
MAX_RESTARTS = 5
# Weight of the newest batch in the running estimate of tokens a second.
SPEED_WEIGHT = 0.1
# Time to wait for engine threads when stopping, seconds.
STOP_S = 5.0


class Batcher:
    """Owns the engine's threads. Create, `start`, `submit` and `stop` on one event loop."""

    def __init__(
        self,
        run: Run,
        settings: BatchingSettings,
        metrics: ModelMetrics,
        *,
        threads: int,
        on_fatal: Callable[[str], None],
        tracer: Tracer | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            threads: batches that may run at once; one more runs for queries beside ingest.
            on_fatal: called on the loop, once, when the engine cannot be brought back.
            tracer: told of every batch that is done.
        """
        self._tracer = tracer
        self._run, self._settings, self._metrics = run, settings, metrics
        self._threads = threads
        self._on_fatal = on_fatal
        self._lanes = Lanes(settings, threads)
        self._live: set[Submission] = set()
        self._idle: dict[Lane, list[Worker]] = {lane: [] for lane in Lane}
        self._busy: set[Worker] = set()
        self._filling = False
        self._speed = 0.0
        self._restarts = 0
        self._recovering = 0
        self._stopped = True
        self._held: asyncio.TimerHandle | None = None
        self._watcher: asyncio.TimerHandle | None = None

    @property
    def healthy(self) -> bool:
        """Whether every engine thread lives and answers."""
        return not self._stopped and not self._recovering

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        # Read when somebody scrapes, instead of written at every change.
        self._metrics.queue_tokens.set_function(lambda: self._lanes.tokens)
        self._metrics.queue_rows.set_function(lambda: self._lanes.rows)
        self._metrics.queue_age.set_function(self._oldest_age)
        for lane, idle in self._idle.items():
            idle.extend(self._worker(lane) for _ in range(self._threads))
        self._watcher = self._loop.call_later(WATCH_S, self._watch)

    def _oldest_age(self) -> float:
        """Seconds that the oldest waiting row has waited; asked by the thread of a scrape."""
        try:
            oldest = self._lanes.oldest()
        except (RuntimeError, StopIteration):  # the loop changed the queue meanwhile
            return 0.0
        return 0.0 if oldest is None else max(0.0, self._loop.time() - oldest)

    def _worker(self, lane: Lane) -> Worker:
        return Worker(lane, self._run, self._finished, self._died, self._loop)

    # Admission

    def submit(
        self, rows: Sequence[Sequence[int]], lane: Lane, deadline: float | None
    ) -> Submission:
        """Queue all rows of a request, or none.

        Args:
            deadline: on the event loop's clock, seconds.

        Raises:
            Overloaded: the queue has no room for all of them.
            DeadlineExceeded: it is too late already.
            NotReady: the engine is down or stopping.
        """
        if self._stopped:
            raise NotReady("the engine is down")
        tokens = sum(map(len, rows))
        queued = self._lanes.tokens
        # An empty queue takes any request: one larger than the queue must be able to run at all.
        if queued and queued + tokens > self._settings.max_queue_tokens:
            raise Overloaded(
                f"the queue holds {queued} tokens and this request has {tokens}; the limit is "
                f"{self._settings.max_queue_tokens}",
                scheduling.retry_after_s(queued, self._speed),
            )
        now = self._loop.time()
        if deadline is not None and now >= deadline:
            raise DeadlineExceeded("the deadline passed before the request was queued")
        submission = Submission(len(rows), lane, now, self._loop.create_future())
        if deadline is not None:
            submission.timer = self._loop.call_at(deadline, self._expire, submission)
        self._lanes.add(submission, rows)
        self._live.add(submission)
        if not self._filling:
            # Requests that arrive in the same turn of the loop share a batch: one hop, not many.
            self._filling = True
            self._loop.call_soon(self._fill_workers)
        return submission

    def cancel(self, submission: Submission) -> None:
        """Forget a request: its waiting rows leave the queue, its running ones are ignored."""
        self._lanes.discard(submission)
        submission.future.cancel()
        self._forget(submission)

    def _forget(self, submission: Submission) -> None:
        self._live.discard(submission)
        if submission.timer is not None:
            submission.timer.cancel()

    def _expire(self, submission: Submission) -> None:
        waited = self._loop.time() - submission.submitted
        submission.fail(DeadlineExceeded(f"not computed within {waited:.3f} s"))
        self.cancel(submission)

    async def embed(
        self, rows: Sequence[Sequence[int]], lane: Lane, deadline: float | None
    ) -> FloatRows:
        """Vectors `[len(rows), dim]`, not normalised; cancelling the caller cancels the rows.

        Raises:
            Overloaded, NotReady: not admitted.
            DeadlineExceeded: not computed in time.
            EngineError: the engine failed on a row.
        """
        submission = self.submit(rows, lane, deadline)
        try:
            return await submission.future
        finally:
            self._account(submission)
            if submission.future.cancelled():
                self.cancel(submission)
            else:
                self._forget(submission)

    def _account(self, submission: Submission) -> None:
        """Tell the request how long its rows waited and ran."""
        if submission.timeline is not None:
            now = perf_counter()
            started = submission.started or now
            submission.timeline.queue += started - submission.entered
            submission.timeline.run += now - started

    @property
    def queued_rows(self) -> int:
        return self._lanes.rows

    # Starting batches

    def _fill_workers(self) -> None:
        """Start every batch that may start."""
        self._filling = False
        while not self._stopped and (lane := self._lanes.next_lane()) is not None:
            if not self._idle[lane] or self._holds(lane):
                break
            self._start(self._idle[lane].pop(), self._lanes.take(lane))

    def _start(self, worker: Worker, batch: Batch) -> None:
        batch.started = self._loop.time()
        batch.began = now = perf_counter()
        for row in batch.rows:
            row.submission.started = row.submission.started or now
        self._metrics.queue_seconds.observe(now - min(r.submission.entered for r in batch.rows))
        self._busy.add(worker)
        worker.give(batch)

    def _holds(self, lane: Lane) -> bool:
        """Whether the window is open; if so, it is looked at again when it closes."""
        hold_s = self._lanes.hold_s(lane, self._loop.time())
        if hold_s and self._held is None:
            self._held = self._loop.call_later(hold_s, self._release)
        return hold_s > 0

    def _release(self) -> None:
        self._held = None
        self._fill_workers()

    # Finishing batches

    def _finished(self, worker: Worker, batch: Batch, outcome: Outcome) -> None:
        if worker not in self._busy:  # it was given up as hung
            return
        self._settle(worker, batch)
        self._idle[worker.lane].append(worker)
        if self._tracer is not None:
            self._trace(self._tracer, batch, failed=isinstance(outcome, BaseException))
        if isinstance(outcome, BaseException):
            self._fail(batch, outcome)
        else:
            for place, row in enumerate(batch.rows):
                row.submission.fill(row.index, outcome[place : place + 1])
            self._observe(batch)
        self._fill_workers()

    def _settle(self, worker: Worker, batch: Batch) -> None:
        self._busy.discard(worker)
        worker.batch = None
        self._lanes.settle(batch)

    def _fail(self, batch: Batch, error: BaseException) -> None:
        if not isinstance(error, PredictorError):
            logger.error("engine failed on a batch", exc_info=error)
            error = EngineError("the engine failed on this batch")
        elif error.__cause__ is not None:
            logger.error("engine failed on a batch: %s", error, exc_info=error.__cause__)
        for row in batch.rows:
            row.submission.fail(error)

    def _observe(self, batch: Batch) -> None:
        metrics, count = self._metrics, len(batch.rows)
        metrics.run_seconds.observe(batch.ran_s)
        metrics.batch_tokens.observe(batch.tokens)
        metrics.batch_rows.observe(count)
        view = count * len(batch.rows[-1].ids)
        metrics.padding_ratio.observe(1.0 - batch.tokens / view)
        (metrics.wide if batch.wide else metrics.narrow).inc()
        metrics.inputs[batch.lane].inc(count)
        metrics.tokens[batch.lane].inc(batch.tokens)
        speed = batch.tokens / max(batch.ran_s, 1e-6) * (1 if batch.wide else self._threads)
        self._speed += SPEED_WEIGHT * (speed - self._speed) if self._speed else speed

    def _trace(self, tracer: Tracer, batch: Batch, *, failed: bool) -> None:
        """Before its requests go on: they link to it."""
        timelines = (row.submission.timeline for row in batch.rows)
        spans = dict.fromkeys(t.span for t in timelines if t is not None and t.span is not None)
        if spans:
            size, metrics = len(batch.rows), self._metrics
            facts = BatchFacts(
                metrics.model, metrics.version, size, batch.tokens, batch.wide, failed
            )
            tracer.batch(list(spans), batch.began, batch.ran_s, facts)

    # Faults

    def _died(self, worker: Worker) -> None:
        """A thread ended on its own: fail what it had, replace it, prove the replacement."""
        batch = worker.batch
        if worker in self._busy and batch is not None:
            self._settle(worker, batch)
            self._fail(batch, EngineError("the engine failed on this batch"))
        elif worker in self._idle[worker.lane]:
            self._idle[worker.lane].remove(worker)
        if self._stopped:
            return
        self._restarts += 1
        self._metrics.engine_restarts.inc()
        logger.error("an engine thread died (%d of %d)", self._restarts, MAX_RESTARTS)
        if self._restarts > MAX_RESTARTS:
            self._give_up("engine threads keep dying")
            return
        self._recovering += 1
        self._loop.create_task(self._recover(worker.lane))

    async def _recover(self, lane: Lane) -> None:
        """Unready until a new thread has answered once."""
        alive = await answers(self._run, lane, self._settings.engine_timeout_s)
        self._recovering -= 1
        if not alive:
            self._give_up("the engine does not come back")
        elif not self._stopped:
            self._idle[lane].append(self._worker(lane))
            self._fill_workers()

    def _give_up(self, why: str) -> None:
        if self._stopped:
            return
        logger.critical("giving up: %s", why)
        self._close(NotReady("the engine is down"))
        self._on_fatal(why)

    def _watch(self) -> None:
        now = self._loop.time()
        limit = self._settings.engine_timeout_s
        if any(worker.batch and now - worker.batch.started > limit for worker in self._busy):
            self._give_up(f"a batch has run for more than {limit:.0f} s")
        if not self._stopped:
            self._watcher = self._loop.call_later(WATCH_S, self._watch)

    # The end

    def _workers(self) -> list[Worker]:
        return [*self._busy, *(worker for idle in self._idle.values() for worker in idle)]

    def _close(self, error: PredictorError) -> None:
        self._stopped = True
        for handle in (self._watcher, self._held):
            if handle is not None:
                handle.cancel()
        for worker in self._workers():
            worker.stop()
        for submission in list(self._live):
            submission.fail(error)
            self.cancel(submission)

    async def stop(self) -> None:
        """Stop the threads; whoever still waits is told. Call when nothing is accepted any more."""
        if self._stopped:
            return
        workers = self._workers()
        self._close(NotReady("the server is shutting down"))
        for worker in workers:
            if not await asyncio.to_thread(worker.join, STOP_S):
                logger.warning("an engine thread did not end within %.0f s", STOP_S)
