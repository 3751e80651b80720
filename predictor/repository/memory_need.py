"""How much memory loading a version takes, from what will be loaded and not from what lies there.

A snapshot of a hub has the same weights in many formats, of which one is loaded. The factors were
measured (ONNX Runtime 1.31, one and two sessions, 90 to 470 MB of weights): a session keeps its
own copy of what lies beside a graph, the tables that sessions share are there once, and weights
inside a graph are there once more while it is loaded.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import msgspec

from predictor.bundle.external_data import external_bytes
from predictor.bundle.manifest import MANIFEST, Bundle, Variant, is_bundle
from predictor.bundle.source import ModelSource, read_source
from predictor.bundle.tensor_names import tensor_heads
from predictor.bundle.weight_files import SAFETENSORS
from predictor.engine import cpu
from predictor.engine.session import resolve_device
from predictor.errors import BadModel, BadSetting
from predictor.export.convertible import served_file
from predictor.repository.load import Device, candidate_variants
from predictor.repository.memory import MIB
from predictor.settings import ModelSettings
from predictor.types import Pooling

# Arena, tokenizer, and what running the canonical texts takes.
FIXED_BYTES = 32 * MIB
# What building and proving a graph takes beside the graph.
CONVERSION_BYTES = 32 * MIB
FLOAT_BYTES = 4


@dataclass(frozen=True)
class WeightBytes:
    """Where the weights of a graph lie, in bytes."""

    inside: int
    """In the file of the graph itself."""

    external: int
    """In files beside it, read by each session."""

    shared: int = 0
    """Tables that are mapped once for all sessions."""

    def needed(self, sessions: int) -> int:
        """Memory that loading the graph takes."""
        kept = sessions * self.external + self.shared + (sessions + 1) * self.inside
        return kept + FIXED_BYTES


def needed_bytes(version: Path, settings: ModelSettings) -> int:
    """An estimate of what loading this version takes; small if it cannot be loaded at all."""
    try:
        device = resolve_device(settings.device)
        threads = settings.threads or cpu.available_cpus()
        sessions = 1 if threads == 1 or device == "cuda" else 2
        if is_bundle(version):
            return _of_bundle(version, settings, device, sessions)
        pooling = None if settings.pooling == "auto" else Pooling(settings.pooling)
        return needed_by_source(read_source(version, pooling), settings, sessions)
    except (BadModel, BadSetting, OSError, msgspec.MsgspecError, RecursionError):
        # Loading it says what is wrong.
        return FIXED_BYTES


def needed_by_source(source: ModelSource, settings: ModelSettings, sessions: int) -> int:
    """What loading a directory takes that is no bundle.

    Raises:
        BadModel: there is nothing to load, or it cannot be read.
        BadSetting: the ONNX file that the settings name is missing.
    """
    served = served_file(source, settings.onnx_file, no_convert=settings.no_convert)
    if served.onnx is not None:
        return _of_graph(source.folder / served.onnx).needed(sessions)
    return _of_weights(source).needed(sessions) + CONVERSION_BYTES


def _of_bundle(version: Path, settings: ModelSettings, device: Device, sessions: int) -> int:
    bundle = msgspec.json.decode((version / MANIFEST).read_bytes(), type=Bundle)
    names = candidate_variants(bundle, settings.variant, device)
    graphs = [_of_variant(version, bundle.variant(name)) for name in names]
    return max(graph.needed(sessions) for graph in graphs)


def _of_variant(version: Path, variant: Variant) -> WeightBytes:
    graph = _of_graph(version / variant.graph)
    shared = sum(FLOAT_BYTES * prod(tensor.shape) for tensor in variant.mapped)
    return WeightBytes(graph.inside, max(0, graph.external - shared), shared)


def _of_graph(path: Path) -> WeightBytes:
    """Raises BadModel, OSError."""
    return WeightBytes(inside=path.stat().st_size, external=external_bytes(path))


def _of_weights(source: ModelSource) -> WeightBytes:
    """What the float32 graph of a checkpoint will have; its embedding tables are shared."""
    files = source.weights
    heads = tensor_heads(files)
    total = FLOAT_BYTES * sum(head.count for head in heads.values())
    shared = FLOAT_BYTES * sum(
        head.count for name, head in heads.items() if name.endswith("_embeddings.weight")
    )
    pickles = sum(path.stat().st_size for path in files if path.suffix != SAFETENSORS)
    return WeightBytes(inside=pickles, external=total - shared, shared=shared)
