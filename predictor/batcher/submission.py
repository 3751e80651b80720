"""The rows of one request in the batcher, and the batches that they are put into."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from predictor.timeline import CURRENT
from predictor.types import FloatRows, Lane


class Submission:
    """Collects the rows of one request, in any order, from any number of batches."""

    __slots__ = (
        "_left",
        "_rows",
        "_size",
        "entered",
        "future",
        "lane",
        "not_finite",
        "numbers",
        "outside",
        "queued_tokens",
        "started",
        "submitted",
        "timeline",
        "timer",
    )

    def __init__(
        self,
        size: int,
        lane: Lane,
        now: float,
        future: asyncio.Future[FloatRows],
    ) -> None:
        """Args:
        size: rows of the request.
        now: seconds on the event loop's clock.
        future: completed with the vectors `[size, dim]`, or failed.
        """
        self.lane = lane
        # Time of admission on the event loop's clock, seconds.
        self.submitted = now
        # The same on `time.perf_counter`, which is finer than the loop's milliseconds: measured.
        self.entered = perf_counter()
        # `time.perf_counter` when the first batch with a row of this request began; 0.0: none has.
        self.started = 0.0
        self.future = future
        # Where the times of the request are recorded, if they are.
        self.timeline = CURRENT.get()
        # Numbers of its rows in the queue.
        self.numbers: list[int] = []
        # Rows of a request larger than its lane that are not in the queue yet, in order.
        self.outside: deque[Row] = deque()
        # Tokens of those of its rows that are in the queue, while others are outside.
        self.queued_tokens = 0
        # Indices of its rows that the engine gave no finite numbers for.
        self.not_finite: tuple[int, ...] = ()
        # Fires at the deadline, if the request has one.
        self.timer: asyncio.TimerHandle | None = None
        self._size = size
        self._left = size
        self._rows: FloatRows | None = None

    @property
    def has_rows(self) -> bool:
        """Whether all rows were computed."""
        future = self.future
        return future.done() and not future.cancelled() and future.exception() is None

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
        """Fail the request, unless it is done."""
        if not self.future.done():
            self.future.set_exception(error)
            # The client may have left; asyncio would warn of an exception that is never retrieved.
            self.future.exception()

    def record_times(self, now: float) -> None:
        """Add how long the rows waited and ran; `now` is on `time.perf_counter`."""
        if self.timeline is not None:
            started = self.started or now
            self.timeline.queue += started - self.entered
            self.timeline.run += now - started


@dataclass(slots=True)
class Row:
    """One text of one request."""

    # Token ids.
    ids: Sequence[int]
    submission: Submission
    # Place of the row in its request.
    index: int


@dataclass(slots=True)
class Batch:
    """Rows that run together."""

    # Shortest first.
    rows: list[Row]
    # Tokens of all rows.
    tokens: int
    lane: Lane
    # Whether it runs alone on all threads.
    wide: bool
    # Start on the event loop's clock, seconds.
    started: float = 0.0
    # Start on `time.perf_counter`, seconds.
    began: float = 0.0
    # Duration of the run, seconds.
    ran_s: float = 0.0
    # Places of the rows whose output is not finite.
    not_finite: Sequence[int] = ()

    def start(self, now: float, began: float) -> None:
        """Set when it starts, for itself and for the requests that it is the first batch of.

        Args:
            now: on the event loop's clock, seconds.
            began: on `time.perf_counter`, seconds.
        """
        self.started = now
        self.began = began
        for row in self.rows:
            row.submission.started = row.submission.started or began
