"""How busy and how full the GPUs are: background, beside the requests and never in their way.

A driver may hang in a call, so it is asked aside (`aside.py`).
"""

import asyncio
import logging
import os
from typing import Protocol

from predictor.metrics import GPU_LOOKS, GPU_MEMORY_TOTAL, GPU_MEMORY_USED, GPU_UTILIZATION
from predictor.server.aside import Aside
from predictor.server.nvml import Look, NoGpu, Nvml, Reading

logger = logging.getLogger(__name__)

# Between two looks, seconds: the driver averages over up to one, Prometheus comes every 15 or 30.
EVERY_S = 5.0
# After that a look is late, seconds; it takes milliseconds.
LIMIT_S = 2.0

Answer = Look | NoGpu


class Source(Protocol):
    """What is asked, on one thread."""

    def look(self) -> Look:
        """Raises NoGpu: there is nothing to look at."""

    def close(self) -> None: ...


def _looked(source: Source) -> Answer:
    """One look; never raises."""
    try:
        return source.look()
    except NoGpu as none:
        return none
    except Exception as error:  # a mistake of ours costs the figures and no more
        return Look(problem=f"{type(error).__name__}: {error}"[:200])


class GpuWatch:
    """Fills the metrics of the GPUs; `start` and `stop` on the loop that serves."""

    def __init__(
        self, source: Source | None = None, *, every_s: float = EVERY_S, limit_s: float = LIMIT_S
    ) -> None:
        self._source, self._every_s, self._limit_s = source, every_s, limit_s
        self._shown: set[str] = set()
        self._has_read, self._outcome = False, "ok"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on; where there is no GPU it ends with one line."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_ended)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        source = self._source or Nvml(os.environ.get("CUDA_VISIBLE_DEVICES"))
        thread = Aside("gpus", _looked, source.close)
        try:
            await self._ask_on(thread, source)
        finally:
            thread.end()
            self._show(())

    async def _ask_on(self, thread: Aside[Source, Answer], source: Source) -> None:
        """Ask again and again, one question at a time; return when there is no GPU."""
        while True:
            pending = thread.ask(source)
            await asyncio.wait({pending}, timeout=self._limit_s)
            if not pending.done():
                await self._wait_long(pending)
                continue  # what comes late is of another time
            answer = pending.result()
            if isinstance(answer, NoGpu):
                if not self._has_read:
                    logger.info("no metrics of GPUs: %s", answer)
                    return
                answer = Look(problem=str(answer))  # there were some
            self._conclude("failed" if answer.problem else "ok", answer)
            await asyncio.sleep(self._every_s)

    async def _wait_long(self, pending: asyncio.Future[Answer]) -> None:
        """Until a driver that hangs has answered; each look that would have been is late."""
        while not pending.done():
            self._conclude("late", Look(problem="the driver does not answer"))
            await asyncio.wait({pending}, timeout=self._every_s)

    def _conclude(self, outcome: str, look: Look) -> None:
        """Count and show one look; a line only when it is another outcome than before."""
        GPU_LOOKS.labels(outcome).inc()
        self._has_read = self._has_read or bool(look.readings)
        self._show(look.readings)
        before, self._outcome = self._outcome, outcome
        if outcome == before:
            return
        if outcome == "ok":
            logger.info("the GPUs are read again")
        else:
            logger.warning("GPUs cannot be read: %s", look.problem)

    def _show(self, readings: tuple[Reading, ...]) -> None:
        """What is not known now is not shown: an old figure would look like a new one."""
        for reading in readings:
            GPU_MEMORY_USED.labels(reading.gpu).set(reading.used)
            GPU_MEMORY_TOTAL.labels(reading.gpu).set(reading.total)
            if reading.busy is not None:
                GPU_UTILIZATION.labels(reading.gpu).set(reading.busy)
        rated = {reading.gpu for reading in readings if reading.busy is not None}
        read = {reading.gpu for reading in readings}
        for gpu in self._shown - read:
            for metric in (GPU_MEMORY_USED, GPU_MEMORY_TOTAL):
                metric.remove_by_labels({"gpu": gpu})
        for gpu in self._shown - rated:
            GPU_UTILIZATION.remove_by_labels({"gpu": gpu})
        self._shown = read


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the GPUs are not looked at any more", exc_info=error)
