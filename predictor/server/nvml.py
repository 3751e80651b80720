"""NVIDIA's management library: the only place that imports it, and only when it is asked.

NVML sees every GPU of the container, whatever CUDA_VISIBLE_DEVICES says, so that is applied here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """One GPU, or one MIG instance of it. used, total: bytes; busy: 0 to 1, None: not known.

    gpu: its UUID, not its index. An index is another GPU in every container and after every
    restart; the UUID is the one that nvidia-smi and DCGM's exporter name.
    """

    gpu: str
    used: int
    total: int
    busy: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """What one look gave. problem: why something is missing, for the log; empty: nothing is."""

    readings: tuple[Reading, ...] = ()
    problem: str = ""


class NoGpu(Exception):
    """There is nothing to look at, and there will not be: no library, no driver, or no GPU."""


@dataclass(frozen=True, slots=True)
class _Device:
    """instance: UUID of the MIG instance; empty: the whole GPU."""

    handle: Any
    gpu: str
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
        """visible: as CUDA_VISIBLE_DEVICES has it; None: all."""
        self._import, self._visible = library, visible
        self._nvml: Any = None

    def look(self) -> Look:
        """Read all GPUs that this process may use; what fails is tried anew at the next look.

        Raises:
            NoGpu: there is none, and it need not be tried again.
        """
        try:
            if self._nvml is None:
                self._nvml = self._open()
            return self._read()
        except NoGpu:
            raise
        except Exception as error:  # the library's, or of ctypes where the driver is another
            self.close()
            return Look(problem=_words(error))

    def close(self) -> None:
        """Let go of the library; a look opens it again."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError:  # it is gone already
                return

    def _open(self) -> Any:
        try:
            nvml = self._import()
        except ImportError as error:
            raise NoGpu("nvidia-ml-py is not installed; pip install '.[gpu]'") from error
        try:
            nvml.nvmlInit()
        except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded) as error:
            raise NoGpu(_words(error)) from error
        return nvml

    def _read(self) -> Look:
        problems: list[str] = []
        devices = self._devices(problems)
        if not devices and not problems:
            raise NoGpu("no GPU is visible to this process")
        readings = []
        for device in devices:
            try:
                readings.append(self._reading(device))
            except self._nvml.NVMLError as error:
                problems.append(f"{device.name}: {_words(error)}")
        return Look(tuple(readings), "; ".join(problems))

    def _devices(self, problems: list[str]) -> list[_Device]:
        """What this process may use; what cannot be told is added to `problems`."""
        found: list[_Device] = []
        # Each keeps its place, also one that is lost: the others' indices must not move.
        gpus = [""] * self._nvml.nvmlDeviceGetCount()
        for index in range(len(gpus)):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                gpus[index] = _text(self._nvml.nvmlDeviceGetUUID(handle))
                found += self._parts(_Device(handle, gpus[index]))
            except self._nvml.NVMLError_NoPermission:  # another container's
                continue
            except self._nvml.NVMLError as error:
                problems.append(f"GPU {index}: {_words(error)}")
        wanted = chosen(gpus, [device.instance for device in found], self._visible)
        return [device for device in found if wanted & {device.gpu, device.instance}]

    def _parts(self, gpu: _Device) -> Iterator[_Device]:
        """The MIG instances of a GPU that is divided, else the GPU itself."""
        nvml = self._nvml
        try:
            is_divided, _ = nvml.nvmlDeviceGetMigMode(gpu.handle)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
            is_divided = False
        if not is_divided:
            yield gpu
            return
        for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu.handle)):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, index)
            except (nvml.NVMLError_NotFound, nvml.NVMLError_NoPermission):
                continue  # places without an instance, or with another container's
            yield _Device(handle, gpu.gpu, _text(nvml.nvmlDeviceGetUUID(handle)))

    def _reading(self, device: _Device) -> Reading:
        nvml = self._nvml
        memory = nvml.nvmlDeviceGetMemoryInfo(device.handle)
        try:
            busy = nvml.nvmlDeviceGetUtilizationRates(device.handle).gpu / 100
        except nvml.NVMLError_NotSupported:  # instances have no rate of their own
            busy = None
        return Reading(device.name, memory.used, memory.total, busy)


def chosen(gpus: Sequence[str], instances: Sequence[str], visible: str | None) -> set[str]:
    """UUIDs of the GPUs and MIG instances that CUDA shows a process; it stops where it sees none.

    Args:
        gpus: UUIDs by index; empty for one that cannot be read.
        instances: UUIDs; empty for a GPU that is not divided.
        visible: as CUDA_VISIBLE_DEVICES has it: indices, UUIDs or beginnings of them; None: all.

    Indices are taken in the order of the bus. CUDA counts so where the GPUs are of one kind, or
    with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    found: set[str] = set()
    for entry in [entry.strip() for entry in visible.split(",")] if visible is not None else []:
        if entry.isascii() and entry.isdigit():
            matches = [gpus[int(entry)]] if int(entry) < len(gpus) else []
        else:
            # `MIG-GPU-<UUID>/1/0` is how older drivers call an instance: by its GPU.
            start = entry.partition("/")[0].removeprefix("MIG-") if "/" in entry else entry
            matches = [uuid for uuid in (*gpus, *instances) if start and uuid.startswith(start)]
        if not matches:
            break
        found.update(matches)
    return (set(gpus) | set(instances) if visible is None else found) - {""}


def _text(uuid: Any) -> str:
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
