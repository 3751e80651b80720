"""Reads utilization and memory of the GPUs in the background, without delaying requests.

A driver may hang in a call, so a thread of its own makes the calls (`daemon_caller.py`).
"""

import asyncio
import logging
import os
from typing import Protocol

from predictor.metrics import GPU_CHECKS, GPU_MEMORY_TOTAL, GPU_MEMORY_USED, GPU_UTILIZATION
from predictor.server.watch.daemon_caller import DaemonCaller
from predictor.server.watch.nvml import GpuReading, GpuSnapshot, NoGpu, Nvml

logger = logging.getLogger(__name__)

# Between two reads, seconds: the driver averages over up to one, Prometheus scrapes every 15 or 30.
INTERVAL_S = 5.0
# After that a read is late, seconds; it takes milliseconds.
TIMEOUT_S = 2.0

ReadResult = GpuSnapshot | NoGpu


class GpuSource(Protocol):
    """What reads the GPUs, on one thread."""

    def read(self) -> GpuSnapshot:
        """Raises NoGpu: there is no GPU to read."""

    def close(self) -> None: ...


def _read_gpus(source: GpuSource) -> ReadResult:
    """One read; never raises."""
    try:
        return source.read()
    except NoGpu as error:
        return error
    except Exception as error:  # a fault of ours costs the metrics and nothing else
        return GpuSnapshot(problem=f"{type(error).__name__}: {error}"[:200])


class GpuWatch:
    """Fills the metrics of the GPUs; `start` and `stop` on the loop that serves."""

    def __init__(
        self,
        source: GpuSource | None = None,
        *,
        interval_s: float = INTERVAL_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._source = source
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._shown: set[str] = set()
        self._has_read = False
        self._outcome = "ok"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read from now on; without a GPU the task ends with one log line."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_ended)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        source = self._source or Nvml(os.environ.get("CUDA_VISIBLE_DEVICES"))
        thread = DaemonCaller("gpus", _read_gpus, source.close)
        try:
            await self._read_on(thread, source)
        finally:
            thread.end()
            self._show(())

    async def _read_on(
        self, thread: DaemonCaller[GpuSource, ReadResult], source: GpuSource
    ) -> None:
        """Read again and again, one call at a time; return when there is no GPU."""
        while True:
            pending = thread.call(source)
            await asyncio.wait({pending}, timeout=self._timeout_s)
            if not pending.done():
                await self._wait_long(pending)
                continue  # a late result is out of date
            answer = pending.result()
            if isinstance(answer, NoGpu):
                if not self._has_read:
                    logger.info("no metrics of GPUs: %s", answer)
                    return
                answer = GpuSnapshot(problem=str(answer))  # there was one before
            self._record("failed" if answer.problem else "ok", answer)
            await asyncio.sleep(self._interval_s)

    async def _wait_long(self, pending: asyncio.Future[ReadResult]) -> None:
        """Wait until a hanging driver answers; each read that is due meanwhile counts as late."""
        while not pending.done():
            self._record("late", GpuSnapshot(problem="the driver does not answer"))
            await asyncio.wait({pending}, timeout=self._interval_s)

    def _record(self, outcome: str, snapshot: GpuSnapshot) -> None:
        """Count and show one read; log only a change of the outcome."""
        GPU_CHECKS.labels(outcome).inc()
        self._has_read = self._has_read or bool(snapshot.readings)
        self._show(snapshot.readings)
        previous = self._outcome
        self._outcome = outcome
        if outcome == previous:
            return
        if outcome == "ok":
            logger.info("the GPUs can be read again")
        else:
            logger.warning("GPUs cannot be read: %s", snapshot.problem)

    def _show(self, readings: tuple[GpuReading, ...]) -> None:
        """Unknown values are removed: an old value would be taken for a new one."""
        for reading in readings:
            GPU_MEMORY_USED.labels(reading.gpu).set(reading.used_bytes)
            GPU_MEMORY_TOTAL.labels(reading.gpu).set(reading.total_bytes)
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
        logger.error("the task that reads the GPUs ended unexpectedly", exc_info=error)
