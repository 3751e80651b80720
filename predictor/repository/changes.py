"""One change of the repository at a time, each to its end even if its client goes away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from predictor.errors import NotReady

# Longest that one change waits for those before it, seconds.
CHANGE_S = 600.0
# Longest that the end of the process waits for changes that it cancelled, seconds.
CANCEL_S = 15.0


class Changes:
    """The changes that run or wait. One event loop."""

    def __init__(self) -> None:
        self._running = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Be the only change. Raises NotReady if those before take too long."""
        try:
            async with asyncio.timeout(CHANGE_S):
                await self._running.acquire()
        except TimeoutError:
            raise NotReady("another change of the repository takes too long") from None
        try:
            yield
        finally:
            self._running.release()

    async def run(self, change: Coroutine[Any, Any, None]) -> None:
        """Run a change to its end, even if this call is cancelled meanwhile."""
        task = asyncio.get_running_loop().create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        await asyncio.shield(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marked as read: the versions' states show it too

    async def cancel(self) -> None:
        """Cancel all changes and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)
