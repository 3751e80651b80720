"""One request's rows on their way through the batcher."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from predictor.timeline import CURRENT
from predictor.types import FloatRows, Lane


class Submission:
    """Collects the rows of one request, in any order, from any number of batches.

    submitted is on the event loop's clock, entered and started on `time.perf_counter`; seconds.
    """

    __slots__ = (
        *("_left", "_rows", "_size", "future", "lane", "numbers", "submitted", "timer"),
        *("entered", "started", "timeline"),
    )

    def __init__(
        self,
        size: int,
        lane: Lane,
        now: float,
        future: asyncio.Future[FloatRows],
    ) -> None:
        self.lane = lane
        self.submitted = now
        # On a finer clock than the loop's, which counts milliseconds: for those who measure.
        self.entered = perf_counter()
        self.started = 0.0  # when the first batch with a row of it began
        self.future = future
        self.timeline = CURRENT.get()
        self.numbers: list[int] = []
        self.timer: asyncio.TimerHandle | None = None
        self._size = size
        self._left = size
        self._rows: FloatRows | None = None

    def fill(self, index: int, row: FloatRows) -> None:
        """Take row `index` (`[1, dim]`); the last one completes the future."""
        if self.future.done():
            return
        if self._size == 1:
            self.future.set_result(row)
            return
        if self._rows is None:
            self._rows = np.empty((self._size, row.shape[1]), dtype=np.float32)
        self._rows[index] = row[0]
        self._left -= 1
        if not self._left:
            self.future.set_result(self._rows)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            # Whoever waits may be gone already; an unread error is not worth a warning.
            self.future.exception()


@dataclass(slots=True)
class Row:
    """One text of one request, as token ids."""

    ids: Sequence[int]
    submission: Submission
    index: int


@dataclass(slots=True)
class Batch:
    """Rows that run together.

    started is on the event loop's clock, began on `time.perf_counter`; seconds.
    """

    rows: list[Row]
    tokens: int
    lane: Lane
    wide: bool
    started: float = 0.0
    began: float = 0.0
    ran_s: float = 0.0
