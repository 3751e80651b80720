"""A driver that works, fails, hangs and comes back, and a process that does not wait for it."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from predictor.server.watch.gpu import GpuWatch
from predictor.server.watch.nvml import GpuReading, GpuSnapshot, NoGpu, Nvml, visible_uuids
from tests.deadlines import DEADLINE_S

# Between two looks and until one is late, seconds.
FAST_S, LATE_S = 0.001, 0.01
GIB = 1 << 30
GAUGES = ("utilization_ratio", "memory_used_bytes", "memory_total_bytes")


class Failure(Exception):
    """Stands for NVMLError."""


class NotSupported(Failure): ...


class NoPermission(Failure): ...


class NotFound(Failure): ...


class NoLibrary(Failure): ...


class NoDriver(Failure): ...


class Lost(Failure): ...


class FakeGpu:
    """instances: by place; None: nobody's place, NoPermission: another container's."""

    def __init__(self, uuid: str, *, busy: int | None = 50) -> None:
        self.uuid, self.busy, self.used = uuid, busy, 3 * GIB
        self.instances: list[FakeGpu | Failure | None] | None = None
        self.error: Failure | None = None


class FakeNvml:
    """The library, as far as it is used; `gate` closed: the driver hangs."""

    NVMLError, NVMLError_NotSupported, NVMLError_NotFound = Failure, NotSupported, NotFound
    NVMLError_NoPermission, NVMLError_FunctionNotFound = NoPermission, NotSupported
    NVMLError_LibraryNotFound, NVMLError_DriverNotLoaded = NoLibrary, NoDriver

    def __init__(self, *gpus: FakeGpu) -> None:
        self.gpus = list(gpus)
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.opened = self.closed = self.counted = self.inside = self.most_inside = 0
        self.threads: set[threading.Thread] = set()

    def nvmlInit(self) -> None:
        if self.error is not None:
            raise self.error
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.closed += 1

    def nvmlDeviceGetCount(self) -> int:
        self.counted += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.threads.add(threading.current_thread())
        self.gate.wait(DEADLINE_S)
        self.inside -= 1
        if self.error is not None:
            raise self.error
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        gpu = self.gpus[index]
        if gpu.error is not None:
            raise gpu.error
        return gpu

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> tuple[int, int]:
        if gpu.instances is None:
            raise NotSupported
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        return len(gpu.instances or ())

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:
        place = (gpu.instances or ())[index]
        if isinstance(place, FakeGpu):
            return place
        raise place or NotFound

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> Any:
        return SimpleNamespace(used=gpu.used, total=8 * GIB)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> Any:
        if gpu.busy is None:
            raise NotSupported
        return SimpleNamespace(gpu=gpu.busy)


@pytest.fixture
def nvml() -> Iterator[FakeNvml]:
    fake = FakeNvml(FakeGpu("GPU-a"), FakeGpu("GPU-b", busy=100))
    yield fake
    fake.gate.set()  # no thread stays behind


def shown(gauge: str, gpu: str) -> float | None:
    return REGISTRY.get_sample_value(f"predictor_gpu_{gauge}", {"gpu": gpu})


def series() -> set[str]:
    """GPUs that any of the gauges names."""
    return {
        sample.labels["gpu"]
        for family in REGISTRY.collect()
        if family.name.removeprefix("predictor_gpu_") in GAUGES
        for sample in family.samples
    }


def checks(outcome: str) -> float:
    return REGISTRY.get_sample_value("predictor_gpu_checks_total", {"outcome": outcome}) or 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for are counters
            await asyncio.sleep(0.001)


async def more(outcome: str, count: int = 1) -> None:
    least = checks(outcome) + count
    await until(lambda: checks(outcome) >= least)


def source_of(nvml: FakeNvml, visible: str | None = None) -> Nvml:
    return Nvml(visible, library=lambda: nvml)


@pytest.fixture
def watch(nvml: FakeNvml) -> GpuWatch:
    return GpuWatch(source_of(nvml), interval_s=FAST_S, timeout_s=LATE_S)


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "predictor")


# The watch


async def test_gpus_are_shown_and_forgotten_at_the_end(watch: GpuWatch, nvml: FakeNvml) -> None:
    watch.start()
    await more("ok", 2)
    assert [shown(gauge, "GPU-a") for gauge in GAUGES] == [0.5, 3 * GIB, 8 * GIB]
    assert shown("utilization_ratio", "GPU-b") == 1.0
    nvml.gpus[0].used = 5 * GIB
    await more("ok", 2)
    assert shown("memory_used_bytes", "GPU-a") == 5 * GIB
    await watch.stop()
    assert not series()
    await until(lambda: nvml.closed == nvml.opened == 1)
    assert threading.main_thread() not in nvml.threads


async def test_a_driver_that_hangs_is_asked_once_and_delays_nobody(
    watch: GpuWatch, nvml: FakeNvml, caplog: pytest.LogCaptureFixture
) -> None:
    watch.start()
    await more("ok")
    nvml.gate.clear()
    loop, longest, reads = asyncio.get_running_loop(), 0.0, nvml.counted
    end = checks("late") + 5
    while checks("late") < end:
        before = loop.time()
        await asyncio.sleep(0)
        longest = max(longest, loop.time() - before)
    assert longest < DEADLINE_S / 2  # the gate would keep it to the deadline
    assert nvml.counted <= reads + 1
    assert not series()  # what it said before is not true any more
    assert caplog.text.count("GPUs cannot be read: the driver does not answer") == 1
    before = time.monotonic()
    await watch.stop()
    assert time.monotonic() - before < DEADLINE_S / 2


async def test_a_driver_that_answers_again_is_read_again(
    watch: GpuWatch, nvml: FakeNvml, caplog: pytest.LogCaptureFixture
) -> None:
    watch.start()
    nvml.gate.clear()
    await more("late", 2)
    nvml.gate.set()
    await more("ok", 2)
    assert series() == {"GPU-a", "GPU-b"}
    assert nvml.most_inside == 1
    assert caplog.text.count("the GPUs can be read again") == 1
    await watch.stop()


async def test_a_late_reading_is_not_shown() -> None:
    class Slow:
        reads = 0

        def read(self) -> GpuSnapshot:
            self.reads += 1
            gate.wait(DEADLINE_S)
            name = "GPU-old" if self.reads == 1 else "GPU-new"
            return GpuSnapshot((GpuReading(name, 1, 2, 0.5),))

        def close(self) -> None: ...

    gate, shown = threading.Event(), set[str]()
    watch = GpuWatch(Slow(), interval_s=FAST_S, timeout_s=LATE_S)
    watch.start()
    await more("late")
    gate.set()
    while "GPU-new" not in shown:
        await asyncio.sleep(0)
        shown |= series()
    assert "GPU-old" not in shown
    await watch.stop()


@pytest.mark.parametrize(
    "error", [Failure("Unknown Error"), OSError("not the library")], ids=["driver", "ctypes"]
)
async def test_an_error_is_counted_logged_once_and_outlived(
    watch: GpuWatch, nvml: FakeNvml, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    watch.start()
    await more("ok")
    nvml.error = error
    await more("failed", 5)
    assert not series()
    nvml.error = None
    await more("ok")
    assert series() == {"GPU-a", "GPU-b"}
    assert nvml.opened > 1  # a new driver wants a new beginning
    assert caplog.text.count(f"GPUs cannot be read: {type(error).__name__}: {error}") == 1
    assert caplog.text.count("read again") == 1
    await watch.stop()


async def test_a_gpu_that_is_lost_hides_no_other(
    watch: GpuWatch, nvml: FakeNvml, caplog: pytest.LogCaptureFixture
) -> None:
    watch.start()
    await more("ok")
    nvml.gpus[0].error = Lost("GPU is lost")
    await more("failed", 3)
    assert series() == {"GPU-b"}
    assert caplog.text.count("GPUs cannot be read: GPU 0: Lost: GPU is lost") == 1
    nvml.gpus[0].error = None
    await more("ok", 2)
    assert series() == {"GPU-a", "GPU-b"}
    await watch.stop()


async def test_a_mistake_in_the_source_ends_nothing() -> None:
    class Wrong:
        def read(self) -> GpuSnapshot:
            raise KeyError("gpu")

        def close(self) -> None: ...

    watch = GpuWatch(Wrong(), interval_s=FAST_S, timeout_s=LATE_S)
    watch.start()
    await more("failed", 3)
    await watch.stop()


@pytest.mark.parametrize("error", [NoLibrary("no library"), NoDriver("no driver")])
async def test_without_a_driver_it_ends_with_one_line(
    watch: GpuWatch, nvml: FakeNvml, caplog: pytest.LogCaptureFixture, error: Failure
) -> None:
    nvml.error = error
    await ends_quietly(watch, caplog)
    assert str(error) in caplog.text


async def test_without_a_gpu_it_ends_with_one_line(
    watch: GpuWatch, nvml: FakeNvml, caplog: pytest.LogCaptureFixture
) -> None:
    nvml.gpus.clear()
    await ends_quietly(watch, caplog)
    assert "no GPU is visible to this process" in caplog.text


async def test_without_the_library_it_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed
    await ends_quietly(GpuWatch(interval_s=FAST_S, timeout_s=10.0), caplog)
    assert "nvidia-ml-py is not installed" in caplog.text


async def ends_quietly(watch: GpuWatch, caplog: pytest.LogCaptureFixture) -> None:
    """It ends by itself, with one info line, nothing counted, no thread left."""
    before = [checks(outcome) for outcome in ("ok", "failed", "late")]
    watch.start()
    assert watch._task is not None
    async with asyncio.timeout(DEADLINE_S):
        await watch._task
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert [checks(outcome) for outcome in ("ok", "failed", "late")] == before
    await until(lambda: "gpus" not in {thread.name for thread in threading.enumerate()})
    await watch.stop()


async def test_a_driver_that_is_unloaded_later_is_a_fault_and_not_the_end(
    watch: GpuWatch, nvml: FakeNvml, caplog: pytest.LogCaptureFixture
) -> None:
    watch.start()
    await more("ok")
    nvml.error = NoDriver("Driver Not Loaded")
    await more("failed", 3)
    nvml.error = None
    await more("ok")
    assert "GPUs cannot be read" in caplog.text
    await watch.stop()


async def test_stopping_what_was_never_started(watch: GpuWatch) -> None:
    await watch.stop()
    assert not series()


def test_a_process_ends_while_the_driver_hangs() -> None:
    script = (
        "import asyncio, time\n"
        "from predictor.server.watch.gpu import GpuWatch\n"
        "class Hangs:\n"
        "    def read(self):\n"
        "        print('asked', flush=True)\n"
        "        time.sleep(60.0)\n"
        "    def close(self):\n"
        "        pass\n"
        "async def main():\n"
        "    watch = GpuWatch(Hangs())\n"
        "    watch.start()\n"
        "    await asyncio.to_thread(input)\n"
        "    await watch.stop()\n"
        "    print('stopped', flush=True)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
            assert process.communicate("\n", timeout=DEADLINE_S)[0] == "stopped\n"
            assert process.returncode == 0
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


# The library


def names(read: GpuSnapshot) -> list[str]:
    return [reading.gpu for reading in read.readings]


def test_a_divided_gpu_is_shown_by_its_instances(nvml: FakeNvml) -> None:
    nvml.gpus[0].instances = [None, FakeGpu("MIG-1", busy=None), NoPermission()]
    read = source_of(nvml).read()
    assert names(read) == ["MIG-1", "GPU-b"]
    assert read.readings[0] == GpuReading("MIG-1", 3 * GIB, 8 * GIB, None)
    assert not read.problem


async def test_an_instance_has_no_rate(watch: GpuWatch, nvml: FakeNvml) -> None:
    watch.start()
    await more("ok")
    nvml.gpus[0].busy = None  # as a GPU would be whose figures are withheld
    await more("ok", 2)
    assert [shown(gauge, "GPU-a") for gauge in GAUGES] == [None, 3 * GIB, 8 * GIB]
    await watch.stop()


def test_a_gpu_of_another_container_is_none_of_ours(nvml: FakeNvml) -> None:
    nvml.gpus[0].error = NoPermission()
    assert source_of(nvml).read() == GpuSnapshot((GpuReading("GPU-b", 3 * GIB, 8 * GIB, 1.0),))


def test_only_what_cuda_may_use_is_shown(nvml: FakeNvml) -> None:
    assert names(source_of(nvml, "1").read()) == ["GPU-b"]
    with pytest.raises(NoGpu):
        source_of(nvml, "").read()


def test_a_lost_gpu_does_not_move_the_indices(nvml: FakeNvml) -> None:
    nvml.gpus[0].error = Lost("GPU is lost")
    read = source_of(nvml, "0,1").read()
    assert names(read) == ["GPU-b"]
    assert read.problem


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (None, {"GPU-a1", "GPU-b2", "MIG-c3", "MIG-d4"}),
        ("", set()),
        ("0", {"GPU-a1"}),
        (" 1 , 0 ", {"GPU-a1", "GPU-b2"}),
        ("0,-1,1", {"GPU-a1"}),  # what CUDA does not know ends its list
        ("NoDevFiles", set()),
        ("7", set()),
        ("²", set()),
        ("GPU-b", {"GPU-b2"}),
        ("MIG-d4", {"MIG-d4"}),
        ("MIG-GPU-b2/1/0", {"GPU-b2"}),
    ],
)
def test_cuda_visible_devices_selects_the_gpus(visible: str | None, uuids: set[str]) -> None:
    assert visible_uuids(["GPU-a1", "GPU-b2"], ["", "MIG-c3", "MIG-d4"], visible) == uuids


def test_closing_what_is_gone(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Failure("Uninitialized")

    source = source_of(nvml)
    source.read()
    monkeypatch.setattr(nvml, "nvmlShutdown", fail)
    source.close()
    assert names(source.read()) == ["GPU-a", "GPU-b"]
    assert nvml.opened == 2
