"""A thread that runs batches, one at a time, and always reports their outcome.

Whatever the engine raises is the batch's outcome. If the thread itself dies, it reports that last,
so that no row waits for vectors that cannot come.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from predictor.batcher.finite import not_finite
from predictor.batcher.submission import Batch, Row, Submission
from predictor.errors import EngineOutOfMemory
from predictor.types import FloatRows, Lane


class EngineRun(Protocol):
    """The engine as the batcher calls it: vectors `[len(rows), dim]` for rows of token ids."""

    def __call__(self, rows: Sequence[Sequence[int]], *, wide: bool = False) -> FloatRows: ...


logger = logging.getLogger(__name__)

# A query's thread then weighs three times as much in the kernel's scheduler: ingest keeps a quarter
# of a core that both want, which is the default of --ingest-share.
INGEST_NICE = 5

RunOutcome = FloatRows | BaseException
NextBatch = Callable[["Worker"], Batch | None]
OnDone = Callable[[Batch, RunOutcome], None]
OnDied = Callable[["Worker"], None]


def run_splitting(
    run: EngineRun, rows: Sequence[Sequence[int]], *, wide: bool = False
) -> FloatRows:
    """Run the rows; if memory does not suffice, run them in halves, down to single rows.

    Raises:
        EngineOutOfMemory: one row alone does not fit.
    """
    try:
        return run(rows, wide=wide)
    except EngineOutOfMemory:
        if len(rows) == 1:
            raise
    middle = len(rows) // 2
    return np.concatenate([run_splitting(run, rows[:middle]), run_splitting(run, rows[middle:])])


def _lower_priority() -> None:
    """Lower the priority of the calling thread; on Linux each thread has its own."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), INGEST_NICE)


class Worker:
    """Runs the batches of one lane; an ingest thread yields the CPU to the others."""

    def __init__(
        self,
        lane: Lane,
        run: EngineRun,
        *,
        next_batch: NextBatch,
        on_done: OnDone,
        on_died: OnDied,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Start the thread.

        Args:
            next_batch: called in the thread after each batch, for the one to run now; None: it
                waits for one to be assigned.
            on_done: called in the thread with each batch that ran.
            on_died: called on the loop when the thread ended by itself.
        """
        self.lane = lane
        self._run = run
        self._next_batch = next_batch
        self._on_done = on_done
        self._on_died = on_died
        self._loop = loop
        self._inbox: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._main, name=f"engine-{lane.name.lower()}", daemon=True
        )
        self._thread.start()

    def assign(self, batch: Batch) -> None:
        """Run a batch next; the worker must be idle."""
        self._inbox.put(batch)

    def stop(self) -> None:
        """Have the thread end once its batch is done."""
        self._inbox.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; False: it still runs."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            if self.lane is Lane.INGEST:
                _lower_priority()
            batch = self._inbox.get()
            while batch is not None:
                batch = self._finish(batch) or self._inbox.get()
        except BaseException:  # whatever ends the thread, its owner must learn of it
            logger.critical("an engine thread died", exc_info=True)
            call_on_loop(self._loop, self._on_died, self)

    def _finish(self, batch: Batch) -> Batch | None:
        """Run a batch and report it; returns the next one, so that nothing stands still between."""
        outcome = self._attempt(batch)
        try:
            return self._next_batch(self)
        finally:
            self._on_done(batch, outcome)

    def _attempt(self, batch: Batch) -> RunOutcome:
        started = time.perf_counter()
        try:
            vectors = run_splitting(self._run, [row.ids for row in batch.rows], wide=batch.wide)
            batch.not_finite = not_finite(vectors)
        except Exception as error:
            return error
        else:
            return vectors
        finally:
            batch.ran_s = time.perf_counter() - started


def call_on_loop(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object
) -> None:
    """Call something on the loop, from a thread; a loop that has ended does not call it."""
    # It ends only at the end of the process, when no request waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)


async def can_run(run: EngineRun, lane: Lane, timeout_s: float) -> bool:
    """Whether a new thread runs one row of one token within the time."""
    loop = asyncio.get_running_loop()
    proof: asyncio.Future[bool] = loop.create_future()

    def conclude(is_alive: bool) -> None:
        if not proof.done():
            proof.set_result(is_alive)

    worker = Worker(
        lane,
        run,
        next_batch=lambda worker: None,
        on_done=lambda batch, outcome: call_on_loop(
            loop, conclude, not isinstance(outcome, BaseException)
        ),
        on_died=lambda worker: conclude(False),
        loop=loop,
    )
    submission = Submission(1, lane, loop.time(), loop.create_future())
    worker.assign(Batch([Row((0,), submission, 0)], 1, lane, wide=False))
    try:
        return await asyncio.wait_for(proof, timeout_s)
    except TimeoutError:
        return False
    finally:
        worker.stop()
