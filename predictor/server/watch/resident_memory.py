"""Returns the memory that large requests have left behind to the kernel.

glibc keeps what was freed for later: after one text of 1.6 MB the process stayed 400 MiB larger,
and a version that came later was refused for want of memory. Objects that refer to each other wait
for the garbage collector, which counts objects and not their bytes.

This is done at fixed times, because the size of a process does not tell how much of it is free.
"""

import asyncio
from collections.abc import Callable

from predictor.repository import memory
from predictor.supervised_task import SupervisedTask

# Seconds between two times. Each takes about 1 ms, because the objects of the start are frozen and
# the garbage collector does not look at them.
INTERVAL_S = 10.0


class ResidentMemoryWatch:
    """Gives memory back until it is stopped."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._background = SupervisedTask("the watch of the memory")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        self._background.start(self._run, on_fatal)

    async def stop(self) -> None:
        await self._background.stop()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await asyncio.to_thread(memory.give_back)
