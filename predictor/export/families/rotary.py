"""nomic-bert and GTE v1.5 (Alibaba's `NewModel`): rotary positions and a gated MLP, post-norm.

Each comes in two layouts of names: as it was published with its own code, and as transformers
saves it. Q, K and V lie in one matrix in the first, which is cut into three.
"""

from dataclasses import dataclass

import numpy as np

from predictor.errors import BadModel
from predictor.export.attention import Attention
from predictor.export.config import Config
from predictor.export.families.encoder import Encoder
from predictor.export.graph import Graph
from predictor.export.layers import (
    activation,
    inverse_frequencies,
    layer_norm,
    linear,
    lookup,
    rotate,
    rotation_tables,
)
from predictor.export.weights import FloatArray, Weights

WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"


@dataclass(frozen=True)
class _Names:
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


NOMIC = _Names(
    layer=("encoder.layers.{}.", "layers.{}."),
    embedding_norm=("emb_ln", "embeddings.LayerNorm"),
    joint="attn.Wqkv",
    context=("attn.out_proj", "self_attn.o_proj"),
    context_norm=("norm1", "post_attention_layernorm"),
    up=("mlp.fc11", "mlp.up_proj"),
    gate=("mlp.fc12", "mlp.gate_proj"),
    down=("mlp.fc2", "mlp.down_proj"),
    output_norm=("norm2", "post_mlp_layernorm"),
)
GTE = _Names(
    layer=("encoder.layer.{}.", "layers.{}."),
    embedding_norm=("embeddings.LayerNorm",),
    joint="attention.qkv_proj",
    context=("attention.o_proj", "self_attn.o_proj"),
    context_norm=("attn_ln", "post_attention_layernorm"),
    up=("mlp.up_proj",),
    gate=("mlp.gate_proj",),
    down=("mlp.down_proj", "mlp.down_proj"),
    output_norm=("mlp_ln", "post_mlp_layernorm"),
    up_and_gate="mlp.up_gate_proj",
)


@dataclass(frozen=True)
class _Rotary:
    names: _Names
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


def _encoder(rotary: _Rotary, max_tokens: int) -> Encoder:
    return Encoder(
        hidden=rotary.hidden,
        heads=rotary.heads,
        vocabulary=rotary.vocabulary,
        max_tokens=max_tokens,
        probe=WORDS,
        build=rotary.build,
    )


def nomic(config: Config) -> Encoder:
    """nomic-embed-text: longer texts than it was trained on would need dynamic scaling (refused:
    the length is limited instead).
    """
    for key in ("prenorm", "use_rms_norm", "rotary_emb_interleaved", "parallel_block"):
        config.only(key, False)
    config.only("rotary_emb_fraction", 1.0, 1)
    config.only("activation_function", "swiglu")
    config.only("moe_every_n_layers", 0, -1)
    _only_plain_rope(config)
    hidden = config.integer("hidden_size", "n_embd")
    heads = config.heads(hidden, "num_attention_heads", "n_head")
    longest = config.integer("max_trained_positions", "max_position_embeddings", "n_positions")
    theta = config.mapping("rope_parameters").get("rope_theta")
    base = float(theta) if theta else config.number("rotary_emb_base", default=1000.0)
    rotary = _Rotary(
        names=NOMIC,
        hidden=hidden,
        heads=heads,
        intermediate=config.integer("intermediate_size", "n_inner"),
        layers=config.integer("num_hidden_layers", "n_layer"),
        vocabulary=config.integer("vocab_size"),
        types=config.integer("type_vocab_size", default=0),
        epsilon=config.number("layer_norm_eps", "layer_norm_epsilon", default=1e-12),
        activation=config.text("hidden_act", default="silu"),
        tables=rotation_tables(inverse_frequencies(base, hidden // heads), longest),
    )
    return _encoder(rotary, longest)


def gte(config: Config) -> Encoder:
    """gte-v1.5 and gte-multilingual, with their fixed NTK scaling."""
    config.only("position_embedding_type", "rope")
    config.only("layer_norm_type", "layer_norm")
    config.only("logn_attention_scale", False)
    hidden = config.integer("hidden_size")
    heads = config.heads(hidden, "num_attention_heads")
    longest = config.integer("max_position_embeddings")
    rotary = _Rotary(
        names=GTE,
        hidden=hidden,
        heads=heads,
        intermediate=config.integer("intermediate_size"),
        layers=config.integer("num_hidden_layers"),
        vocabulary=config.integer("vocab_size"),
        types=config.integer("type_vocab_size", default=0),
        epsilon=config.number("layer_norm_eps", default=1e-12),
        activation=config.text("hidden_act", default="gelu"),
        tables=rotation_tables(_gte_frequencies(config, hidden // heads), longest),
    )
    return _encoder(rotary, longest)


def _gte_frequencies(config: Config, head_size: int) -> FloatArray:
    """Fixed NTK scaling as vLLM has it for this family (`ntk_scaling_rope.py`):
    base times factor, frequencies by factor ** (2 / head_size).
    """
    new = config.mapping("rope_parameters")
    theta = float(new.get("rope_theta") or config.number("rope_theta", default=160000.0))
    scaling = config.mapping("rope_scaling")
    if not scaling:
        _only_plain_rope(config)
        return inverse_frequencies(theta, head_size)
    kind = scaling.get("type", scaling.get("rope_type"))
    if kind != "ntk" or scaling.get("mixed_b") is not None:
        raise BadModel(f"config.json: rope_scaling {scaling!r} is not supported, only type 'ntk'")
    factor = float(scaling["factor"])
    scaled = inverse_frequencies(theta * factor, head_size) / factor ** (2 / head_size)
    return np.asarray(scaled, dtype=np.float32)


def _only_plain_rope(config: Config) -> None:
    parameters = config.mapping("rope_parameters") or config.mapping("rope_scaling")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise BadModel(f"config.json: rotary scaling {kind!r} is not supported")
