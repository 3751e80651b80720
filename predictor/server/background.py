"""A task that should never end by itself, and what is done if it does."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

logger = logging.getLogger(__name__)


class Background:
    """One task on the running loop; its end is fatal unless `stop` was called."""

    def __init__(self, what: str) -> None:
        """what: is done by it, as a sentence goes on after "nobody"."""
        self._what = what
        self._task: asyncio.Task[None] | None = None

    def start(self, run: Coroutine[None, None, None], on_fatal: Callable[[str], None]) -> None:
        """on_fatal: called if it ends by itself."""
        self._task = asyncio.get_running_loop().create_task(run)
        self._task.add_done_callback(lambda task: self._ended(task, on_fatal))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _ended(self, task: asyncio.Task[None], on_fatal: Callable[[str], None]) -> None:
        if not task.cancelled():
            logger.critical("nobody %s any more", self._what, exc_info=task.exception())
            on_fatal(f"nobody {self._what} any more")
