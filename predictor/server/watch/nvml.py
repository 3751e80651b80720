"""NVIDIA's management library: the only module that imports it, and only when GPUs are read.

NVML sees every GPU of the container whatever CUDA_VISIBLE_DEVICES says, so it is applied here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from predictor.extras import install


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU, or one MIG instance of it."""

    # Its UUID, not its index: an index is another GPU in every container and after every restart,
    # and nvidia-smi and DCGM's exporter use the UUID.
    gpu: str
    used_bytes: int
    total_bytes: int
    # Share of the time, 0 to 1; None: not known.
    busy: float | None


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """The result of one read of all GPUs."""

    readings: tuple[GpuReading, ...] = ()
    # Why a reading is missing, for the log; empty: none is.
    problem: str = ""


class NoGpu(Exception):
    """There is nothing to read, now and later: no library, no driver, or no GPU."""


@dataclass(frozen=True, slots=True)
class _Device:
    """A GPU or a MIG instance of it."""

    handle: Any
    # UUID of the GPU.
    gpu: str
    # UUID of the MIG instance; empty: the whole GPU.
    instance: str = ""

    @property
    def name(self) -> str:
        return self.instance or self.gpu


def _library() -> Any:
    """Raises ImportError."""
    import pynvml

    return pynvml


class Nvml:
    """One user of the library. All calls may hang with the driver: use it on one spare thread."""

    def __init__(self, visible: str | None, library: Callable[[], Any] = _library) -> None:
        """visible: the value of CUDA_VISIBLE_DEVICES; None: all GPUs."""
        self._import = library
        self._visible = visible
        self._nvml: Any = None

    def read(self) -> GpuSnapshot:
        """Read all GPUs that this process may use; failures are retried at the next read.

        Raises:
            NoGpu: there is none, and reading again is of no use.
        """
        try:
            if self._nvml is None:
                self._nvml = self._open()
            return self._read()
        except NoGpu:
            raise
        except Exception as error:  # of the library, or of ctypes if the driver does not match
            self.close()
            return GpuSnapshot(problem=_describe(error))

    def close(self) -> None:
        """Close the library; the next read opens it again."""
        nvml = self._nvml
        self._nvml = None
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError:  # it is closed already
                return

    def _open(self) -> Any:
        try:
            nvml = self._import()
        except ImportError as error:
            raise NoGpu(f"nvidia-ml-py is not installed; {install('gpu')}") from error
        try:
            nvml.nvmlInit()
        except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded) as error:
            raise NoGpu(_describe(error)) from error
        return nvml

    def _read(self) -> GpuSnapshot:
        problems: list[str] = []
        devices = self._devices(problems)
        if not devices and not problems:
            raise NoGpu("no GPU is visible to this process")
        readings = []
        for device in devices:
            try:
                readings.append(self._reading(device))
            except self._nvml.NVMLError as error:
                problems.append(f"{device.name}: {_describe(error)}")
        return GpuSnapshot(tuple(readings), "; ".join(problems))

    def _devices(self, problems: list[str]) -> list[_Device]:
        """What this process may use; failures are added to `problems`."""
        devices: list[_Device] = []
        # A GPU that is lost keeps its place: the indices of the others must not change.
        gpus = [""] * self._nvml.nvmlDeviceGetCount()
        for index in range(len(gpus)):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                gpus[index] = _text(self._nvml.nvmlDeviceGetUUID(handle))
                devices += self._parts(_Device(handle, gpus[index]))
            except self._nvml.NVMLError_NoPermission:  # another container's
                continue
            except self._nvml.NVMLError as error:
                problems.append(f"GPU {index}: {_describe(error)}")
        visible = visible_uuids(gpus, [device.instance for device in devices], self._visible)
        return [device for device in devices if visible & {device.gpu, device.instance}]

    def _parts(self, gpu: _Device) -> Iterator[_Device]:
        """The MIG instances of a partitioned GPU, else the GPU itself."""
        nvml = self._nvml
        try:
            is_partitioned, _ = nvml.nvmlDeviceGetMigMode(gpu.handle)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
            is_partitioned = False
        if not is_partitioned:
            yield gpu
            return
        for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu.handle)):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, index)
            except (nvml.NVMLError_NotFound, nvml.NVMLError_NoPermission):
                continue  # no instance, or another container's
            yield _Device(handle, gpu.gpu, _text(nvml.nvmlDeviceGetUUID(handle)))

    def _reading(self, device: _Device) -> GpuReading:
        nvml = self._nvml
        memory = nvml.nvmlDeviceGetMemoryInfo(device.handle)
        try:
            busy = nvml.nvmlDeviceGetUtilizationRates(device.handle).gpu / 100
        except nvml.NVMLError_NotSupported:  # MIG instances have no utilization
            busy = None
        return GpuReading(device.name, memory.used, memory.total, busy)


def visible_uuids(gpus: Sequence[str], instances: Sequence[str], visible: str | None) -> set[str]:
    """UUIDs of the GPUs and MIG instances that CUDA shows to a process.

    Like CUDA it ignores all entries after the first one that names no GPU.

    Args:
        gpus: UUIDs by index; empty for one that cannot be read.
        instances: UUIDs; empty for a GPU that is not partitioned.
        visible: the value of CUDA_VISIBLE_DEVICES: indices, UUIDs or prefixes of UUIDs; None: all.

    Indices follow the order of the bus. CUDA does so if all GPUs are of one kind, or with
    CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    uuids: set[str] = set()
    for entry in [entry.strip() for entry in visible.split(",")] if visible is not None else []:
        if entry.isascii() and entry.isdigit():
            matches = [gpus[int(entry)]] if int(entry) < len(gpus) else []
        else:
            # Older drivers name an instance by its GPU: `MIG-GPU-<UUID>/1/0`.
            start = entry.partition("/")[0].removeprefix("MIG-") if "/" in entry else entry
            matches = [uuid for uuid in (*gpus, *instances) if start and uuid.startswith(start)]
        if not matches:
            break
        uuids.update(matches)
    return (set(gpus) | set(instances) if visible is None else uuids) - {""}


def _text(uuid: Any) -> str:
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
