"""A thread that runs batches, one at a time, and always says how it went.

Whatever the engine raises is the batch's outcome. Should the thread itself die, its last act is to
tell the owner, so that no row waits for an answer that cannot come.
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

from predictor.batcher.submission import Batch, Row, Submission
from predictor.errors import EngineOutOfMemory
from predictor.types import FloatRows, Lane


class Run(Protocol):
    """What the batcher asks of an engine: vectors `[len(rows), dim]` for rows of token ids."""

    def __call__(self, rows: Sequence[Sequence[int]], *, wide: bool = False) -> FloatRows: ...


logger = logging.getLogger(__name__)

# A query's thread then weighs three times as much in the kernel's scheduler: ingest keeps a quarter
# of a core that both want, which is the default of --ingest-share.
INGEST_NICE = 5

Outcome = FloatRows | BaseException
Done = Callable[["Worker", Batch, Outcome], None]
Died = Callable[["Worker"], None]


def run_splitting(run: Run, rows: Sequence[Sequence[int]], *, wide: bool = False) -> FloatRows:
    """Run the rows; where memory does not suffice, in halves, down to single rows.

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
    """Make the calling thread yield; on Linux a priority is a thread's own."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), INGEST_NICE)


class Worker:
    """Runs the batches of one lane; ingest on a thread that yields the CPU to the rest.

    Owned by the event loop: `give` and `stop` are called there, `done` and `died` run there.
    """

    def __init__(
        self, lane: Lane, run: Run, done: Done, died: Died, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.lane = lane
        self.batch: Batch | None = None
        self._run, self._done, self._died, self._loop = run, done, died, loop
        self._inbox: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._main, name=f"engine-{lane.name.lower()}", daemon=True
        )
        self._thread.start()

    def give(self, batch: Batch) -> None:
        self.batch = batch
        self._inbox.put(batch)

    def stop(self) -> None:
        self._inbox.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            if self.lane is Lane.INGEST:
                _lower_priority()
            while (batch := self._inbox.get()) is not None:
                outcome = self._attempt(batch)
                self._tell(self._done, self, batch, outcome)
        except BaseException:  # whatever ends the thread, the owner must know
            logger.critical("an engine thread died", exc_info=True)
            self._tell(self._died, self)

    def _attempt(self, batch: Batch) -> Outcome:
        started = time.perf_counter()
        try:
            outcome: Outcome = run_splitting(
                self._run, [row.ids for row in batch.rows], wide=batch.wide
            )
        except Exception as error:
            outcome = error
        batch.ran_s = time.perf_counter() - started
        return outcome

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        # The loop is closed only when the process ends and nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)


async def answers(run: Run, lane: Lane, timeout_s: float) -> bool:
    """Whether a new thread runs one row of one token within the time."""
    loop = asyncio.get_running_loop()
    proven: asyncio.Future[bool] = loop.create_future()

    def settle(alive: bool) -> None:
        if not proven.done():
            proven.set_result(alive)

    worker = Worker(
        lane,
        run,
        lambda worker, batch, outcome: settle(not isinstance(outcome, BaseException)),
        lambda worker: settle(False),
        loop,
    )
    nobody = Submission(1, lane, loop.time(), loop.create_future())
    worker.give(Batch([Row((0,), nobody, 0)], 1, lane, wide=False))
    try:
        return await asyncio.wait_for(proven, timeout_s)
    except TimeoutError:
        return False
    finally:
        worker.stop()
