"""A source's float graph, built from its weights: embeddings, layers, pooling, head."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.bundle.folder_keys import CONFIG, not_built
from predictor.bundle.manifest import MappedTensor
from predictor.bundle.source import ModelSource
from predictor.bundle.tensor_names import check_types, tensor_heads
from predictor.errors import BadModel
from predictor.export.attention import Attention, PackedAttention, PaddedAttention
from predictor.export.config import ModelConfig
from predictor.export.families import FAMILIES, Encoder
from predictor.export.graph import DataFile, FloatType, Graph
from predictor.export.head import add_head, pool
from predictor.export.weights import Weights


@dataclass(frozen=True)
class Built:
    """A graph that was written, and what the manifest needs to know of it."""

    encoder: Encoder

    dimensions: int
    """Of the vectors that the graph gives."""

    mapped: tuple[MappedTensor, ...]
    """Tables that sessions may share."""


def build(
    source: ModelSource,
    path: Path,
    *,
    dtype: FloatType = np.float32,
    packed_attention: bool = False,
) -> Built:
    """Write `path` and its data file.

    Args:
        dtype: of the encoder's weights and activations; pooling and what follows are float32.
        packed_attention: CUDA's kernel instead of the one for any execution provider.

    Raises:
        BadModel: the family has no builder, or the checkpoint does not fit its config.
    """
    encoder = describe(source)
    weights = Weights(source.weights, encoder.probe)
    size = encoder.hidden // encoder.heads
    attention: Attention = PaddedAttention(encoder.heads, size)
    if packed_attention:
        attention = PackedAttention(encoder.heads)
    with DataFile(path.with_name(path.name + ".data")) as data:
        graph = Graph(data, dtype)
        tokens = graph.to_float32(encoder.build(graph, weights, attention))
        vectors = pool(graph, tokens, source.pooling)
        vectors, dimensions = add_head(graph, vectors, source.head, source.folder, encoder.hidden)
        return Built(encoder, dimensions, graph.save(path, vectors, dimensions))


def describe(source: ModelSource) -> Encoder:
    """The encoder that config.json describes.

    Raises:
        BadModel: there is no builder for its family, or a key asks for what it does not do.
    """
    if source.family not in FAMILIES:
        raise BadModel(
            f"{source.folder}: model type {source.family!r} has no builder; there are "
            f"{', '.join(FAMILIES)}"
        )
    if not source.weights:
        raise BadModel(f"{source.transformer}: has no model.safetensors")
    check_types(tensor_heads(source.weights), source.transformer)
    why_not = not_built(source.family, source.config)
    if why_not is not None:
        raise BadModel(f"{source.transformer / CONFIG}: {why_not}")
    encoder = FAMILIES[source.family](ModelConfig(source.config))
    if source.max_length > encoder.max_tokens:
        raise BadModel(
            f"{source.folder}: says {source.max_length} tokens, its positions allow "
            f"{encoder.max_tokens}"
        )
    return encoder
