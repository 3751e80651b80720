"""ModernBERT: norms before the sub-layers, rotary positions, most layers see a local window only.

A local layer's window is `local_attention / 2` tokens to each side, the ends included.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.errors import BadModel
from predictor.export.attention import HIDDEN, Attention
from predictor.export.config import ModelConfig
from predictor.export.families.encoder import Encoder
from predictor.export.graph import FLOAT16, FLOAT32, Graph
from predictor.export.layers import (
    activation,
    inverse_frequencies,
    layer_norm,
    linear,
    lookup,
    rotate,
    rotation_tables,
    stored_linear,
)
from predictor.export.weights import FloatArray, Weights

WORDS = "embeddings.tok_embeddings.weight"
GLOBAL = "full_attention"
LOCAL = "sliding_attention"


@dataclass(frozen=True)
class _ModernBert:
    hidden: int
    intermediate: int
    vocabulary: int
    epsilon: float
    activation: str
    layer_types: tuple[str, ...]
    window: int
    tables: dict[str, tuple[FloatArray, FloatArray]]

    def build(self, graph: Graph, weights: Weights, attention: Attention) -> str:
        words = weights.tensor(WORDS, self.vocabulary, self.hidden)
        x = lookup(graph, "word_embeddings", words, graph.input("input_ids"))
        x = layer_norm(graph, weights, x, "embeddings.norm", self.epsilon)
        for index, kind in enumerate(self.layer_types):
            x = self._attend(graph, weights, attention, x, index, kind)
            x = self._mlp(graph, weights, x, f"layers.{index}.")
        return layer_norm(graph, weights, x, "final_norm", self.epsilon)

    def _attend(
        self, graph: Graph, weights: Weights, attention: Attention, x: str, index: int, kind: str
    ) -> str:
        prefix = f"layers.{index}."
        normed = x
        if index:  # the first layer's input is normalised already
            normed = layer_norm(graph, weights, x, f"{prefix}attn_norm", self.epsilon)
        joint = weights.tensor(f"{prefix}attn.Wqkv.weight", 3 * self.hidden, self.hidden)
        bias = weights.optional(f"{prefix}attn.Wqkv.bias", 3 * self.hidden)
        biases = np.split(bias, 3) if bias is not None else [None] * 3
        q, k, v = (
            linear(graph, normed, f"{prefix}{name}", weight.T, part)
            for name, weight, part in zip("qkv", np.split(joint, 3), biases, strict=True)
        )
        q = rotate(graph, q, kind, self.tables[kind])
        k = rotate(graph, k, kind, self.tables[kind])
        mask = self._window_mask(graph) if kind == LOCAL else None
        mixed = attention(graph, q, k, v, mask)
        square = (self.hidden, self.hidden)
        return graph.op(
            "Add", [x, stored_linear(graph, weights, mixed, f"{prefix}attn.Wo", square)]
        )

    def _mlp(self, graph: Graph, weights: Weights, x: str, prefix: str) -> str:
        normed = layer_norm(graph, weights, x, f"{prefix}mlp_norm", self.epsilon)
        size = 2 * self.intermediate
        joint = weights.tensor(f"{prefix}mlp.Wi.weight", size, self.hidden)
        bias = weights.optional(f"{prefix}mlp.Wi.bias", size)
        biases = np.split(bias, 2) if bias is not None else [None] * 2
        up, gate = (
            linear(graph, normed, f"{prefix}{name}", weight.T, part)
            for name, weight, part in zip(("up", "gate"), np.split(joint, 2), biases, strict=True)
        )
        inner = graph.op("Mul", [activation(graph, self.activation, up), gate])
        shape = (self.intermediate, self.hidden)
        return graph.op("Add", [x, stored_linear(graph, weights, inner, f"{prefix}mlp.Wo", shape)])

    def _window_mask(self, graph: Graph) -> str:
        """`[1, 1, S, S]`: 0 where a key is near enough to be seen; made once a batch."""
        span = graph.once("span", "Shape", [graph.input("token_index")], start=0, end=1)
        zero = graph.constant("zero", 0)
        step = graph.constant("step", 1)
        end = graph.once("span_end", "Squeeze", [span])
        places = graph.once("span_places", "Range", [zero, end, step])
        query = graph.once("span_query", "Unsqueeze", [places, graph.constant("axis1", [1])])
        distance = graph.once("span_distance", "Abs", [graph.once("apart", "Sub", [places, query])])
        window = graph.constant("window", self.window)
        far = graph.once("far", "Greater", [distance, window])
        kind = FLOAT32 if graph.dtype is np.float32 else FLOAT16
        size = graph.constant("hidden_score", HIDDEN, graph.dtype)
        mask = graph.once("far_score", "Mul", [graph.once("far_f", "Cast", [far], to=kind), size])
        return graph.once("window_mask", "Unsqueeze", [mask, graph.constant("axes01", [0, 1])])


def modernbert(config: ModelConfig) -> Encoder:
    hidden = config.integer("hidden_size")
    heads = config.heads(hidden, "num_attention_heads")
    longest = config.integer("max_position_embeddings")
    thetas = _thetas(config)
    model = _ModernBert(
        hidden=hidden,
        intermediate=config.integer("intermediate_size"),
        vocabulary=config.integer("vocab_size"),
        epsilon=config.number("norm_eps", default=1e-5),
        activation=config.text("hidden_activation", default="gelu"),
        layer_types=_layer_types(config),
        window=config.integer("local_attention", default=128) // 2,
        tables={
            kind: rotation_tables(inverse_frequencies(theta, hidden // heads), longest)
            for kind, theta in thetas.items()
        },
    )
    return Encoder(
        hidden=hidden,
        heads=heads,
        vocabulary=model.vocabulary,
        max_tokens=longest,
        probe=WORDS,
        build=model.build,
    )


def _layer_types(config: ModelConfig) -> tuple[str, ...]:
    """Which layers are local: listed, or all but every n-th from the first."""
    layers = config.integer("num_hidden_layers")
    listed: Any = config.values.get("layer_types")
    if listed is None:
        every = config.integer("global_attn_every_n_layers", default=3)
        return tuple(LOCAL if index % every else GLOBAL for index in range(layers))
    if len(listed) != layers or not set(listed) <= {GLOBAL, LOCAL}:
        raise BadModel(f"config.json: layer_types {listed!r} is not supported")
    return tuple(listed)


def _thetas(config: ModelConfig) -> dict[str, float]:
    """The base of the rotation for global and local layers, in either form of config.json."""
    by_kind = config.mapping("rope_parameters")
    for kind, parameters in by_kind.items():
        rope = parameters.get("rope_type", "default") if isinstance(parameters, dict) else None
        if kind not in (GLOBAL, LOCAL) or rope != "default":
            raise BadModel(f"config.json: rope_parameters {by_kind!r} is not supported")
    if by_kind:
        return {kind: float(parameters["rope_theta"]) for kind, parameters in by_kind.items()}
    theta = config.number("global_rope_theta", default=160000.0)
    # null means: as in the global layers; missing means: what the family's first code fixed.
    fallback = theta if "local_rope_theta" in config.values else 10000.0
    return {GLOBAL: theta, LOCAL: config.number("local_rope_theta", default=fallback)}
