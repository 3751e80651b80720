"""The engine's threads: how they start and end, and what follows when one fails.

A thread that dies is replaced after a new one has proven that the engine still runs. A thread that
hangs cannot be ended, so the whole process gives up and is replaced.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from predictor.batcher.dispatch import Dispatch
from predictor.batcher.submission import Batch
from predictor.batcher.worker import EngineRun, RunOutcome, Worker, call_on_loop, can_run
from predictor.types import Lane
from predictor.version_metrics import ModelMetrics

logger = logging.getLogger(__name__)

# Time between two checks for an engine that hangs, seconds.
HANG_CHECK_S = 0.05
# A check that is later than this, seconds, finds that the whole process stood still.
LATE_S = 0.5
# Engine threads replaced in one process before it gives up and is replaced itself.
MAX_RESTARTS = 5
# Longest wait for one engine thread at the end, seconds.
STOP_S = 5.0


@dataclass(frozen=True)
class ThreadEvents:
    """What the owner of the threads does about their events, on the event loop."""

    # A batch ran, with its vectors or error.
    on_done: Callable[[Batch, RunOutcome], None]
    # The thread of this batch died.
    on_lost: Callable[[Batch], None]
    # A dead thread was replaced by an idle one.
    on_replaced: Callable[[], None]
    # The engine cannot be brought back, for this reason; called once.
    on_given_up: Callable[[str], None]


class EngineThreads:
    """Threads by lane. Call `start` and `close` on one event loop."""

    def __init__(
        self,
        run: EngineRun,
        metrics: ModelMetrics,
        dispatch: Dispatch,
        *,
        threads: int,
        engine_timeout_s: float,
        events: ThreadEvents,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            dispatch: gives the threads their batches.
            threads: threads of each lane.
            engine_timeout_s: longest run of one batch, and of the proof of a new thread.
        """
        self._run = run
        self._metrics = metrics
        self._threads = threads
        self._engine_timeout_s = engine_timeout_s
        self._events = events
        self._dispatch = dispatch
        self._workers: set[Worker] = set()
        # Batches that ran, of which the loop does not know yet; from any thread.
        self._ended: deque[tuple[Batch, RunOutcome]] = deque()
        self._is_reported = False
        self._restarts = 0
        self._replacing = 0
        self._is_closed = True
        self._hang_check: asyncio.TimerHandle | None = None
        # When the next check is due, on the event loop's clock, seconds.
        self._next_check = 0.0

    @property
    def healthy(self) -> bool:
        """Whether every thread lives and answers."""
        return not self._is_closed and not self._replacing

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        for lane in Lane:
            for _ in range(self._threads):
                self._add(lane)
        self._schedule_hang_check()

    def _schedule_hang_check(self) -> None:
        self._next_check = self._loop.time() + HANG_CHECK_S
        self._hang_check = self._loop.call_at(self._next_check, self._check_for_hang)

    def _add(self, lane: Lane) -> None:
        worker = Worker(
            lane,
            self._run,
            next_batch=self._dispatch.next_batch,
            on_done=self._report,
            on_died=self._died,
            loop=self._loop,
        )
        self._workers.add(worker)
        self._dispatch.add(worker)

    def _report(self, batch: Batch, outcome: RunOutcome) -> None:
        """Tell the loop of a batch that ran; called in its thread.

        Batches that end while the loop is busy wake it once.
        """
        self._ended.append((batch, outcome))
        if not self._is_reported:
            self._is_reported = True
            call_on_loop(self._loop, self._conclude)

    def _conclude(self) -> None:
        self._is_reported = False  # first: what ends from now on is reported again
        try:
            while self._ended:
                batch, outcome = self._ended.popleft()
                if not self._is_closed:  # else it was given up as hung
                    self._events.on_done(batch, outcome)
        finally:
            if self._ended:  # an error must not keep the others waiting
                self._loop.call_soon(self._conclude)
        self._metrics.add_thread_seconds(*self._dispatch.thread_seconds())

    def _died(self, worker: Worker) -> None:
        """A thread ended by itself: its batch is lost, and it is replaced if it may be."""
        self._workers.discard(worker)
        batch = self._dispatch.remove(worker)
        if batch is not None:
            self._events.on_lost(batch)
        if self._is_closed:
            return
        self._restarts += 1
        self._metrics.engine_restarts.inc()
        logger.error("an engine thread died (%d of %d)", self._restarts, MAX_RESTARTS)
        if self._restarts > MAX_RESTARTS:
            self._give_up("engine threads keep dying")
            return
        self._replacing += 1
        self._loop.create_task(self._replace(worker.lane))

    async def _replace(self, lane: Lane) -> None:
        """Unhealthy until a new thread has answered once."""
        is_alive = await can_run(self._run, lane, self._engine_timeout_s)
        self._replacing -= 1
        if not is_alive:
            self._give_up("the engine does not come back")
        elif not self._is_closed:
            self._add(lane)
            self._events.on_replaced()

    def _check_for_hang(self) -> None:
        """Give up a batch that runs for too long. What the process stood still does not count."""
        now = self._loop.time()
        limit = self._engine_timeout_s
        late_s = now - self._next_check
        running = self._dispatch.running()
        if late_s > LATE_S:
            for batch in running:
                batch.started += late_s
        if any(now - batch.started > limit for batch in running):
            self._give_up(f"a batch has run for more than {limit:.0f} s")
        if not self._is_closed:
            self._schedule_hang_check()

    def _give_up(self, reason: str) -> None:
        if self._is_closed:
            return
        logger.critical("giving up: %s", reason)
        self.close()
        self._events.on_given_up(reason)

    def close(self) -> list[Worker]:
        """Tell all threads to end; they are returned, to be joined with `join`."""
        self._is_closed = True
        if self._hang_check is not None:
            self._hang_check.cancel()
        self._dispatch.close()
        for worker in self._workers:
            worker.stop()
        return list(self._workers)


async def join(workers: list[Worker]) -> None:
    """Wait for threads that were told to end, each at most `STOP_S` seconds."""
    for worker in workers:
        if not await asyncio.to_thread(worker.join, STOP_S):
            logger.warning("an engine thread did not end within %.0f s", STOP_S)
