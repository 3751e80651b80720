"""ONNX Runtime sessions: providers, threads, memory, and errors translated into ours.

When requests are queued, N callers of a session with one thread are faster than one session with N
threads; a single text is fastest on all threads (measured on MiniLM with two cores, see
`predictor/docs/decisions.md`). An engine therefore has two sessions, narrow and wide. They share
one memory mapping of the embedding tables and one arena for working memory.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_native

from predictor.bundle.manifest import MappedTensor
from predictor.errors import BadModel, BadSetting, EngineError, EngineOutOfMemory, NoMemory
from predictor.extras import install
from predictor.wall import ENDINGS, load_error

Device = Literal["auto", "cpu", "cuda"]
Arrays = Mapping[str, npt.NDArray[Any]]

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
# On the CPU the fused kernel is about six times slower than Add + LayerNormalization.
SLOWER_FUSIONS = ["SkipLayerNormFusion"]
# How long idle threads of a wide run busy-wait, µs: long enough for a single client to send its
# next request, whose first operator then finds the threads awake, but too short to waste a core.
SPIN_US = 1000
# First chunk of the shared arena, bytes; the arena then grows by powers of two.
ARENA_FIRST_CHUNK = 1 << 20


def resolve_device(device: Device) -> Literal["cpu", "cuda"]:
    """Choose the device to run on.

    Raises:
        BadSetting: CUDA is requested and this ONNX Runtime has no CUDA provider.
    """
    has_cuda = CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise BadSetting(
            "--device cuda: this onnxruntime has no CUDA provider; use --device cpu, or replace "
            f"onnxruntime: {install('gpu')}"
        )
    return "cuda" if has_cuda and device != "cpu" else "cpu"


@cache
def _share_arena() -> None:
    """Register one CPU arena for all sessions of the process (possible only once)."""
    info = ort_native.OrtMemoryInfo(
        "Cpu",
        ort_native.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        ort_native.OrtMemType.DEFAULT,
    )
    growth = {
        "max_mem": 0,
        "arena_extend_strategy": 0,
        "initial_chunk_size_bytes": ARENA_FIRST_CHUNK,
        "max_dead_bytes_per_chunk": -1,
    }
    ort_native.create_and_register_allocator(info, ort_native.OrtArenaCfg(growth))


class SharedWeights:
    """Embedding tables of one model file, mapped once and shared by the model's sessions."""

    def __init__(self, folder: Path, tensors: Sequence[MappedTensor]) -> None:
        self._arrays = {tensor.name: self._map(folder, tensor) for tensor in tensors}
        self.values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array)
            for name, array in self._arrays.items()
        }

    @staticmethod
    def _map(folder: Path, tensor: MappedTensor) -> npt.NDArray[np.float32]:
        path = folder / tensor.file
        try:
            return np.memmap(
                path, dtype=np.float32, mode="r", offset=tensor.offset, shape=tensor.shape
            )
        except (OSError, ValueError, OverflowError) as error:
            raise BadModel(f"{path}: table {tensor.name!r} cannot be mapped: {error}") from error


class Session:
    """One `InferenceSession`; `run` may be called from several threads at once."""

    def __init__(
        self,
        graph: Path,
        *,
        threads: int,
        spin: bool,
        device: Literal["cpu", "cuda"] = "cpu",
        shared: SharedWeights | None = None,
    ) -> None:
        """Load the graph.

        Args:
            threads: threads of one `run`, including the calling thread.
            spin: whether idle threads of a run busy-wait for the next operator.

        Raises:
            BadModel: the graph cannot be loaded, or ONNX Runtime fell back to another provider.
            NoMemory: there is not enough memory for it.
        """
        _share_arena()
        if device == "cuda":
            # The CUDA libraries of the nvidia-* wheels are on no search path of the loader.
            onnxruntime.preload_dlls()
        self._shared = shared  # the session reads this memory as long as it lives
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph),
                self._options(threads, spin, shared),
                providers=[CUDA, CPU] if device == "cuda" else [CPU],
                disabled_optimizers=SLOWER_FUSIONS if device == "cpu" else None,
            )
        except BaseException as error:  # ONNX Runtime's exceptions share no base class
            if _is_out_of_memory(str(error)):
                raise NoMemory(f"{graph}: not enough memory to load it") from error
            raise load_error(f"{graph}: ONNX Runtime cannot load it", error) from error
        self._check_provider(graph, CUDA if device == "cuda" else CPU)
        self.inputs: dict[str, str] = {i.name: i.type for i in self._session.get_inputs()}
        self.outputs: dict[str, list[Any]] = {
            o.name: list(o.shape) for o in self._session.get_outputs()
        }

    def _check_provider(self, graph: Path, expected: str) -> None:
        provider = self._session.get_providers()[0]
        if provider != expected:
            raise BadModel(
                f"{graph}: wanted {expected}, but ONNX Runtime fell back to {provider} (are the "
                "CUDA libraries installed, and is there a GPU?)"
            )

    @staticmethod
    def _options(threads: int, spin: bool, shared: SharedWeights | None) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A memory pattern would be kept for every input shape: a leak with packed batches.
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
        if shared is not None:
            for name, value in shared.values.items():
                options.add_initializer(name, value)
        return options

    def run(self, output: str, feed: Arrays) -> npt.NDArray[np.float32]:
        """Compute one output of the graph.

        Raises:
            EngineOutOfMemory: there is not enough memory for inputs of this shape.
            EngineError: the run failed for another reason, which is chained as the cause.
        """
        return self.run_all([output], feed)[output]

    def run_all(self, outputs: Sequence[str], feed: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Compute several outputs of the graph, by name. Raises the same errors as `run`."""
        try:
            values = self._session.run(list(outputs), feed)
        except MemoryError as error:
            raise EngineOutOfMemory("not enough memory for this batch") from error
        except ENDINGS:
            raise
        except BaseException as error:  # ONNX Runtime's exceptions share no base class
            if _is_out_of_memory(str(error)):
                raise EngineOutOfMemory("not enough memory for this batch") from error
            raise EngineError("the engine failed on this batch") from error
        return {
            name: np.asarray(value, dtype=np.float32)
            for name, value in zip(outputs, values, strict=True)
        }


def _is_out_of_memory(message: str) -> bool:
    lowered = message.lower()
    return any(
        sign in lowered
        for sign in ("failed to allocate", "bad_alloc", "bad alloc", "out of memory")
    )
