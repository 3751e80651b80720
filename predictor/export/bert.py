"""BERT (MiniLM, BGE, E5, GTE, arctic-embed …) as a packed graph.

The tokens of all texts lie end to end; only attention sees a padded view (see `engine/packing.py`).
Q, K and V are three products rather than one: splitting the joint one costs more than it saves.
Pooling is in the graph, over the padded view, so that a row's sum never depends on its batch mates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from predictor.engine.bundle import MappedTensor
from predictor.errors import BadModel
from predictor.export.graph import MICROSOFT, Graph
from predictor.export.weights import Weights
from predictor.types import Pooling

PACKED_INPUTS: dict[str, Sequence[str]] = {
    "input_ids": ("T",),
    "position_ids": ("T",),
    "token_index": ("B", "S"),
    "padded_index": ("T",),
    "attention_mask": ("B", "S"),
}


class BertConfig:
    """The part of config.json that shapes the graph.

    Raises:
        BadModel: a key is missing, or asks for something the builder does not do.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        try:
            self.hidden = int(config["hidden_size"])
            self.layers = int(config["num_hidden_layers"])
            self.heads = int(config["num_attention_heads"])
            self.intermediate = int(config["intermediate_size"])
            self.vocabulary = int(config["vocab_size"])
            self.positions = int(config["max_position_embeddings"])
            self.types = int(config["type_vocab_size"])
            self.epsilon = float(config.get("layer_norm_eps", 1e-12))
        except (KeyError, TypeError, ValueError) as error:
            raise BadModel(f"config.json: missing or not a number: {error}") from error
        for key, only in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if config.get(key, only) != only:
                raise BadModel(
                    f"config.json: {key} {config[key]!r} is not supported, only {only!r}"
                )
        if self.heads <= 0 or self.hidden % self.heads:
            raise BadModel(
                f"config.json: {self.hidden} hidden do not split into {self.heads} heads"
            )


def build_bert(
    config: dict[str, Any], weights: Weights, pooling: Pooling, graph_path: Path
) -> tuple[MappedTensor, ...]:
    """Write `graph_path` and its data file from a BERT checkpoint.

    Returns:
        The look-up tables that sessions may share.

    Raises:
        BadModel: the checkpoint does not fit its config, or needs what the builder does not do.
    """
    shape = BertConfig(config)
    with Graph(graph_path.with_name(graph_path.name + ".data")) as graph:
        x = _embed(graph, shape, weights)
        for layer in range(shape.layers):
            x = _layer(graph, shape, weights, x, f"encoder.layer.{layer}.")
        return graph.save(
            graph_path,
            inputs=PACKED_INPUTS,
            output=_pool(graph, x, pooling),
            output_name="embedding",
            dimensions=shape.hidden,
        )


def _embed(graph: Graph, shape: BertConfig, weights: Weights) -> str:
    words = weights.tensor("embeddings.word_embeddings.weight", shape.vocabulary, shape.hidden)
    positions = weights.tensor(
        "embeddings.position_embeddings.weight", shape.positions, shape.hidden
    )
    types = weights.tensor("embeddings.token_type_embeddings.weight", shape.types, shape.hidden)
    # Every token is of type 0 in an embedding model, so its vector is part of the position's.
    word = graph.op("Gather", [graph.weight("word_embeddings", words, table=True), "input_ids"])
    position = graph.op(
        "Gather",
        [graph.weight("position_embeddings", positions + types[0], table=True), "position_ids"],
    )
    return _add_norm(graph, shape, weights, (word, position), "embeddings.LayerNorm")


def _add_norm(
    graph: Graph, shape: BertConfig, weights: Weights, summands: tuple[str, str], name: str
) -> str:
    gain = graph.weight(f"{name}.gain", weights.tensor(f"{name}.weight", shape.hidden))
    bias = graph.weight(f"{name}.bias", weights.tensor(f"{name}.bias", shape.hidden))
    total = graph.op("Add", summands)
    return graph.op("LayerNormalization", [total, gain, bias], axis=-1, epsilon=shape.epsilon)


def _linear(graph: Graph, weights: Weights, x: str, name: str, size: tuple[int, int]) -> str:
    inward, outward = size
    weight = weights.tensor(f"{name}.weight", outward, inward).T
    return graph.linear(x, name, weight, weights.tensor(f"{name}.bias", outward))


def _attend(graph: Graph, shape: BertConfig, weights: Weights, x: str, prefix: str) -> str:
    square = (shape.hidden, shape.hidden)
    q, k, v = (
        graph.op(
            "Gather",
            [_linear(graph, weights, x, f"{prefix}attention.self.{name}", square), "token_index"],
        )
        for name in ("query", "key", "value")
    )
    padded = graph.op(
        "MultiHeadAttention",
        [q, k, v, "", "attention_mask"],
        domain=MICROSOFT,
        num_heads=shape.heads,
    )
    flat = graph.weight("flat_shape", np.array([-1, shape.hidden], dtype=np.int64))
    packed = graph.op("Gather", [graph.op("Reshape", [padded, flat]), "padded_index"])
    return _linear(graph, weights, packed, f"{prefix}attention.output.dense", square)


def _layer(graph: Graph, shape: BertConfig, weights: Weights, x: str, prefix: str) -> str:
    attended = _attend(graph, shape, weights, x, prefix)
    x = _add_norm(graph, shape, weights, (x, attended), f"{prefix}attention.output.LayerNorm")
    name = f"{prefix}intermediate.dense"
    weight = weights.tensor(f"{name}.weight", shape.intermediate, shape.hidden).T
    bias = weights.tensor(f"{name}.bias", shape.intermediate)
    inner = graph.op(
        "BiasGelu",
        [
            graph.op("MatMul", [x, graph.weight(f"{name}.weight", weight)]),
            graph.weight(f"{name}.bias", bias),
        ],
        domain=MICROSOFT,
    )
    size = (shape.intermediate, shape.hidden)
    outer = _linear(graph, weights, inner, f"{prefix}output.dense", size)
    return _add_norm(graph, shape, weights, (x, outer), f"{prefix}output.LayerNorm")


def _pool(graph: Graph, x: str, pooling: Pooling) -> str:
    """Token vectors `[T, H]` to one a text `[B, H]`."""
    if pooling is Pooling.CLS:
        zero = graph.weight("first", np.array(0, dtype=np.int64))
        return graph.op("Gather", [x, graph.op("Gather", ["token_index", zero], axis=1)])
    mask = graph.op("Cast", ["attention_mask"], to=1)
    columns = graph.op("Unsqueeze", [mask, graph.weight("axis2", np.array([2], dtype=np.int64))])
    axis1 = graph.weight("axis1", np.array([1], dtype=np.int64))
    padded = graph.op("Mul", [graph.op("Gather", [x, "token_index"]), columns])
    total = graph.op("ReduceSum", [padded, axis1], keepdims=0)
    return graph.op("Div", [total, graph.op("ReduceSum", [mask, axis1], keepdims=1)])
