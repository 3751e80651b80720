"""A background task that must not end by itself: it is started again, or its owner is told.

A task that dies unnoticed leaves a server that looks healthy and does half of its work.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine

from predictor.metrics import TASK_RESTARTS

logger = logging.getLogger(__name__)

# Longest wait in `stop` for a cancelled task to end, seconds.
STOP_S = 15.0
# Ends of one task within a minute that are followed by another start.
MAX_RESTARTS = 3
# Seconds before it is started again.
PAUSE_S = 0.1


class RestartBudget:
    """How often something may be started again within a minute. Times are monotonic seconds."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._ends: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Count an end; return whether another start is within the budget."""
        while self._ends and self._ends[0] <= now - 60.0:
            self._ends.popleft()
        self._ends.append(now)
        return len(self._ends) <= self._per_minute

    @property
    def recent(self) -> int:
        """The ends within the minute before the last one."""
        return len(self._ends)


class SupervisedTask:
    """At most one task on the running loop; it may be started again after its end."""

    def __init__(self, name: str, restarts_per_minute: int = MAX_RESTARTS) -> None:
        """Prepare.

        Args:
            name: a noun phrase for the log and the report, such as "the drift watch".
            restarts_per_minute: how often it is started again before its owner is told.
        """
        self._name = name
        self._budget = RestartBudget(restarts_per_minute)
        self._restarts = TASK_RESTARTS.labels(name)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None

    def start(
        self, run: Callable[[], Coroutine[None, None, None]], on_end: Callable[[str], None]
    ) -> None:
        """Start the task.

        Args:
            run: makes the coroutine; called again for each restart.
            on_end: called with a sentence when the task has ended by itself, by an error or a
                return, more often than it may be restarted.
        """
        self._begin(run(), run, on_end)

    def _begin(
        self,
        coroutine: Coroutine[None, None, None],
        run: Callable[[], Coroutine[None, None, None]],
        on_end: Callable[[str], None],
    ) -> None:
        self._task = asyncio.get_running_loop().create_task(coroutine)
        self._task.add_done_callback(lambda task: self._ended(task, run, on_end))

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """Cancel the task and wait for it; `on_end` is not called any more."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        _, late = await asyncio.wait({task}, timeout=timeout_s)
        if late:
            logger.warning("%s did not stop within %.0f s", self._name, timeout_s)

    def _ended(
        self,
        task: asyncio.Task[None],
        run: Callable[[], Coroutine[None, None, None]],
        on_end: Callable[[str], None],
    ) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if task is not self._task:
            if error is not None:
                logger.warning("%s failed while it was stopped", self._name, exc_info=error)
            return
        if self._budget.take(asyncio.get_running_loop().time()):
            self._restarts.inc()
            logger.error("%s ended unexpectedly and is restarted", self._name, exc_info=error)
            self._begin(_later(run), run, on_end)
            return
        self._task = None
        logger.critical("%s ended unexpectedly", self._name, exc_info=error)
        on_end(f"{self._name} ended unexpectedly")


async def _later(run: Callable[[], Coroutine[None, None, None]]) -> None:
    await asyncio.sleep(PAUSE_S)
    await run()
