"""Which batch runs on which thread, behind one lock.

An engine's thread that is done takes its next batch here, without the event loop. When the loop
chose it, the thread stood idle for 3 ms between two batches (two cores, 64 clients): its result
waited for the next turn of the loop, and the thread, once woken, for Python's lock. So two sides
change the queue: the loop admits and drops requests, and the threads take batches. Each method
takes the lock once; what runs next is decided in `scheduling`.
"""

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from predictor.batcher.lanes import Lanes
from predictor.batcher.submission import Batch, Submission
from predictor.types import Lane


class Assignable(Protocol):
    """A thread that runs batches of one lane."""

    lane: Lane

    def assign(self, batch: Batch) -> None:
        """Run a batch next; the thread is idle."""


class Dispatch:
    """The queue, the idle threads and the running batches; from any thread."""

    def __init__(self, lanes: Lanes, threads: int) -> None:
        """threads: batches that may run at once."""
        self._lock = threading.Lock()
        self._lanes = lanes
        self._threads = threads
        self._idle: dict[Lane, list[Assignable]] = {lane: [] for lane in Lane}
        self._running: dict[Assignable, Batch] = {}
        self._is_closed = False
        # Seconds of the engine's threads, and when (on `time.perf_counter`) they were added up.
        self._busy_s = 0.0
        self._idle_s = 0.0
        self._added_up = time.perf_counter()

    # The queue

    def admit(self, submission: Submission, rows: Sequence[Sequence[int]], tokens: int) -> bool:
        """Queue the rows of a request, which have so many tokens; False: its lane has no room."""
        with self._lock:
            if not self._lanes.has_room(submission.lane, rows, tokens):
                return False
            self._add_up()
            self._lanes.add(submission, rows)
            return True

    def discard(self, submission: Submission) -> None:
        """Drop the rows of a request that still wait."""
        with self._lock:
            self._add_up()
            self._lanes.discard(submission)

    # The threads

    def add(self, worker: Assignable) -> None:
        """Count a new thread as idle."""
        with self._lock:
            self._idle[worker.lane].append(worker)

    def remove(self, worker: Assignable) -> Batch | None:
        """Forget a thread that has ended; returns the batch that is lost with it."""
        with self._lock:
            if worker in self._idle[worker.lane]:
                self._idle[worker.lane].remove(worker)
            return self._release(worker)

    def fill(self) -> float:
        """Start every batch that may start.

        Returns:
            Seconds after which the batching window closes that keeps a batch waiting; 0.0: no
            window is open.
        """
        with self._lock:
            _, wait_s = self._fill(None)
            return wait_s

    def next_batch(self, worker: Assignable) -> Batch | None:
        """Count the batch of a thread as done and start every batch that may start.

        Returns:
            The one that this thread is to run now; None: it is idle.
        """
        with self._lock:
            self._release(worker)
            self._idle[worker.lane].append(worker)
            batch, _ = self._fill(worker)
            return batch

    def running(self) -> list[Batch]:
        """The batches that run now."""
        with self._lock:
            return list(self._running.values())

    def close(self) -> None:
        """Start no batch any more."""
        with self._lock:
            self._is_closed = True

    def thread_seconds(self) -> tuple[float, float]:
        """Seconds since the last call that threads ran batches, and stood idle while rows waited.

        A batch on all threads counts for each of them; one of queries that runs beside ingest, on
        a thread more than there are, does not count.
        """
        with self._lock:
            self._add_up()
            busy_s, idle_s = self._busy_s, self._idle_s
            self._busy_s = self._idle_s = 0.0
            return busy_s, idle_s

    # With the lock held

    def _fill(self, caller: Assignable | None) -> tuple[Batch | None, float]:
        """The batch for the caller, and the seconds for which a window is open."""
        lanes = self._lanes
        mine: Batch | None = None
        while not self._is_closed and (lane := lanes.next_lane()) is not None:
            idle = self._idle[lane]
            if not idle:
                break
            now = time.monotonic()
            wait_s = lanes.window_left_s(lane, now)
            if wait_s > 0:
                return mine, wait_s
            self._add_up()
            worker = idle.pop()  # the caller, if it is there: it was added last
            batch = self._running[worker] = lanes.take(lane)
            batch.start(now, self._added_up)
            if worker is caller:
                mine = batch
            else:
                worker.assign(batch)
        return mine, 0.0

    def _release(self, worker: Assignable) -> Batch | None:
        batch = self._running.get(worker)
        if batch is not None:
            self._add_up()
            del self._running[worker]
            self._lanes.remove(batch)
        return batch

    def _add_up(self) -> None:
        """Add the time since the last change; to be called before each change."""
        now = time.perf_counter()
        elapsed_s = now - self._added_up
        self._added_up = now
        busy = self._threads if self._lanes.is_wide else min(len(self._running), self._threads)
        self._busy_s += elapsed_s * busy
        if self._lanes.rows:
            self._idle_s += elapsed_s * (self._threads - busy)
