"""A thread that runs batches, one at a time, and always says how it went.

Whatever the engine raises is the batch's outcome. Should the thread itself die, its last act is to
tell the owner, so that no row waits for an answer that cannot come.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from predictor.batcher.submission import Batch
from predictor.errors import EngineOutOfMemory
from predictor.types import FloatRows


class Run(Protocol):
    """What the batcher asks of an engine: vectors `[len(rows), dim]` for rows of token ids."""

    def __call__(self, rows: Sequence[Sequence[int]], *, wide: bool = False) -> FloatRows: ...


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


class Worker:
    """Owned by the event loop: `give` and `stop` are called there, `done` and `died` run there."""

    def __init__(
        self, number: int, run: Run, done: Done, died: Died, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.batch: Batch | None = None
        self._run, self._done, self._died, self._loop = run, done, died, loop
        self._inbox: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._main, name=f"engine-{number}", daemon=True)
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
            while (batch := self._inbox.get()) is not None:
                outcome = self._attempt(batch)
                self._tell(self._done, self, batch, outcome)
        except BaseException:
            self._tell(self._died, self)
            raise

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
