"""Encoders with rotary positions and a gated MLP, post-norm: what nomic-bert and GTE share.

Each comes in two layouts of names: as it was published with its own code, and as transformers
saves it. Q, K and V lie in one matrix in the first, which is cut into three.
"""

from dataclasses import dataclass

import numpy as np

from predictor.errors import BadModel
from predictor.export.attention import Attention
from predictor.export.config import ModelConfig
from predictor.export.families.encoder import Encoder
from predictor.export.graph import Graph
from predictor.export.layers import activation, layer_norm, linear, lookup, rotate
from predictor.export.weights import FloatArray, Weights

WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"


@dataclass(frozen=True)
class RotaryNames:
    """Alternatives for each tensor, the published name first; `{}` is the layer."""

    layer: tuple[str, str]
    embedding_norm: tuple[str, ...]
    joint: str
    context: tuple[str, str]
    context_norm: tuple[str, str]
    up: tuple[str, ...]
    gate: tuple[str, ...]
    down: tuple[str, str]
    output_norm: tuple[str, str]
    up_and_gate: str = ""


@dataclass(frozen=True)
class RotaryStack:
    names: RotaryNames
    hidden: int
    heads: int
    intermediate: int
    layers: int
    vocabulary: int
    types: int
    epsilon: float
    activation: str
    tables: tuple[FloatArray, FloatArray]

    def build(self, graph: Graph, weights: Weights, attention: Attention) -> str:
        x = self._embed(graph, weights)
        layer = self.names.layer
        probe = [f"{name.format(0)}{self.names.context[i]}.weight" for i, name in enumerate(layer)]
        chosen = layer[probe.index(weights.first(*probe))]
        for index in range(self.layers):
            x = self._layer(graph, weights, attention, x, chosen.format(index))
        return x

    def _embed(self, graph: Graph, weights: Weights) -> str:
        words = weights.tensor(WORDS, self.vocabulary, self.hidden)
        if self.types:
            # In place: every token of an embedding model is of type 0.
            words = words + weights.tensor(TYPES, self.types, self.hidden)[0]
        x = lookup(graph, "word_embeddings", words, graph.input("input_ids"))
        names = [f"{name}.weight" for name in self.names.embedding_norm]
        name = weights.first(*names).removesuffix(".weight")
        return layer_norm(graph, weights, x, name, self.epsilon)

    def _layer(
        self, graph: Graph, weights: Weights, attention: Attention, x: str, prefix: str
    ) -> str:
        q, k, v = (
            linear(graph, x, f"{prefix}{name}", *matrix)
            for name, matrix in zip("qkv", self._attention_matrices(weights, prefix), strict=True)
        )
        q = rotate(graph, q, "rotation", self.tables)
        k = rotate(graph, k, "rotation", self.tables)
        mixed = attention(graph, q, k, v)
        mixed = self._linear(graph, weights, mixed, prefix, self.names.context)
        x = self._norm(graph, weights, graph.op("Add", [x, mixed]), prefix, "context_norm")
        up, gate = (
            linear(graph, x, f"{prefix}{name}", *matrix)
            for name, matrix in zip(
                ("up", "gate"), self._mlp_matrices(weights, prefix), strict=True
            )
        )
        inner = graph.op("Mul", [up, activation(graph, self.activation, gate)])
        outer = self._linear(graph, weights, inner, prefix, self.names.down)
        return self._norm(graph, weights, graph.op("Add", [x, outer]), prefix, "output_norm")

    def _attention_matrices(
        self, weights: Weights, prefix: str
    ) -> list[tuple[FloatArray, FloatArray | None]]:
        joint = prefix + self.names.joint
        if weights.has(f"{joint}.weight"):
            return _cut(weights, joint, 3, self.hidden, self.hidden)
        return [
            _matrix(weights, f"{prefix}self_attn.{name}_proj", self.hidden, self.hidden)
            for name in "qkv"
        ]

    def _mlp_matrices(
        self, weights: Weights, prefix: str
    ) -> list[tuple[FloatArray, FloatArray | None]]:
        joint = prefix + self.names.up_and_gate
        if self.names.up_and_gate and weights.has(f"{joint}.weight"):
            return _cut(weights, joint, 2, self.hidden, self.intermediate)
        return [
            _matrix(weights, _name(weights, prefix, names), self.hidden, self.intermediate)
            for names in (self.names.up, self.names.gate)
        ]

    def _linear(
        self, graph: Graph, weights: Weights, x: str, prefix: str, names: tuple[str, ...]
    ) -> str:
        name = _name(weights, prefix, names)
        weight = weights.tensor(f"{name}.weight", self.hidden, None)
        bias = weights.optional(f"{name}.bias", self.hidden)
        return linear(graph, x, name, weight.T, bias)

    def _norm(self, graph: Graph, weights: Weights, x: str, prefix: str, which: str) -> str:
        name = _name(weights, prefix, getattr(self.names, which))
        return layer_norm(graph, weights, x, name, self.epsilon)


def _name(weights: Weights, prefix: str, names: tuple[str, ...]) -> str:
    return weights.first(*(f"{prefix}{name}.weight" for name in names)).removesuffix(".weight")


def _matrix(
    weights: Weights, name: str, inward: int, outward: int
) -> tuple[FloatArray, FloatArray | None]:
    weight = weights.tensor(f"{name}.weight", outward, inward).T
    return weight, weights.optional(f"{name}.bias", outward)


def _cut(
    weights: Weights, name: str, parts: int, inward: int, outward: int
) -> list[tuple[FloatArray, FloatArray | None]]:
    """Several matrices of one size that lie in one, one below the other."""
    weight, bias = _matrix(weights, name, inward, parts * outward)
    biases: list[FloatArray | None] = [None] * parts
    if bias is not None:
        biases = list(np.split(bias, parts))
    return list(zip(np.split(weight, parts, axis=1), biases, strict=True))


def rotary_encoder(stack: RotaryStack, max_tokens: int) -> Encoder:
    """What a family of this kind gives `build`."""
    return Encoder(
        hidden=stack.hidden,
        heads=stack.heads,
        vocabulary=stack.vocabulary,
        max_tokens=max_tokens,
        probe=WORDS,
        build=stack.build,
    )


def only_plain_rope(config: ModelConfig) -> None:
    """Refuse rotary positions that are scaled.

    Raises:
        BadModel: config.json asks for a scaling.
    """
    parameters = config.mapping("rope_parameters") or config.mapping("rope_scaling")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise BadModel(f"config.json: rotary scaling {kind!r} is not supported")
