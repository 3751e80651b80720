"""BERT (MiniLM, BGE, E5, GTE, arctic-embed …) and its kin: RoBERTa, MPNet, DistilBERT.

Q, K and V are three products rather than one: splitting the joint one costs more than it saves.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from predictor.bundle.lengths import position_offset
from predictor.export.attention import Attention
from predictor.export.config import ModelConfig
from predictor.export.families.encoder import Encoder, PostNorm
from predictor.export.graph import Graph
from predictor.export.layers import layer_norm, lookup
from predictor.export.weights import FloatArray, Weights

WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class _Stack:
    """Embeddings and post-norm layers, with the numbers of one checkpoint."""

    layer: PostNorm
    layers: int
    layer_prefix: str
    vocabulary: int
    positions: int
    types: int = 0

    def build(
        self, graph: Graph, weights: Weights, attention: Attention, bias: str | None = None
    ) -> str:
        x = self._embed(graph, weights)
        for index in range(self.layers):
            prefix = self.layer_prefix.format(index)
            x = self.layer.add(graph, weights, attention, x, prefix, bias)
        return x

    def _embed(self, graph: Graph, weights: Weights) -> str:
        hidden = self.layer.hidden
        words = weights.tensor(WORDS, self.vocabulary, hidden)
        positions = weights.tensor("embeddings.position_embeddings.weight", self.positions, hidden)
        if self.types:
            # Every token is of type 0 in an embedding model: its vector is part of the position's.
            types = "embeddings.token_type_embeddings.weight"
            positions = positions + weights.tensor(types, self.types, hidden)[0]
        word = lookup(graph, "word_embeddings", words, graph.input("input_ids"))
        position = lookup(graph, "position_embeddings", positions, graph.input("position_ids"))
        total = graph.op("Add", [word, position])
        return layer_norm(graph, weights, total, "embeddings.LayerNorm", self.layer.epsilon)


def _stack(config: ModelConfig, layer: PostNorm, layers: int, prefix: str, types: int) -> _Stack:
    return _Stack(
        layer=layer,
        layers=layers,
        layer_prefix=prefix,
        vocabulary=config.integer("vocab_size"),
        positions=config.integer("max_position_embeddings"),
        types=types,
    )


def _bert_layer(config: ModelConfig, attention: tuple[str, str, str, str], norm: str) -> PostNorm:
    query, key, value, context = attention
    return PostNorm(
        hidden=config.integer("hidden_size"),
        intermediate=config.integer("intermediate_size"),
        epsilon=config.number("layer_norm_eps", default=1e-12),
        activation=config.text("hidden_act", default="gelu"),
        query=query,
        key=key,
        value=value,
        context=context,
        context_norm=norm,
        up="intermediate.dense",
        down="output.dense",
        output_norm="output.LayerNorm",
    )


def _encoder(config: ModelConfig, stack: _Stack, offset: int, heads: str) -> Encoder:
    return Encoder(
        hidden=stack.layer.hidden,
        heads=config.heads(stack.layer.hidden, heads),
        vocabulary=stack.vocabulary,
        max_tokens=stack.positions - offset,
        probe=WORDS,
        build=stack.build,
        position_offset=offset,
    )


def _like_bert(config: ModelConfig, offset: int) -> Encoder:
    attention = "attention.self."
    names = (attention + "query", attention + "key", attention + "value", "attention.output.dense")
    layer = _bert_layer(config, names, "attention.output.LayerNorm")
    layers = config.integer("num_hidden_layers")
    types = config.integer("type_vocab_size", default=2)
    stack = _stack(config, layer, layers, "encoder.layer.{}.", types)
    return _encoder(config, stack, offset, "num_attention_heads")


def bert(config: ModelConfig) -> Encoder:
    return _like_bert(config, 0)


def roberta(config: ModelConfig) -> Encoder:
    """RoBERTa, XLM-RoBERTa, CamemBERT: positions begin behind the padding index."""
    return _like_bert(config, position_offset(config.values))


def distilbert(config: ModelConfig) -> Encoder:
    """No token types; other names."""
    layer = PostNorm(
        hidden=config.integer("dim"),
        intermediate=config.integer("hidden_dim"),
        epsilon=1e-12,  # DistilBERT's code fixes it
        activation=config.text("activation", default="gelu"),
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        context="attention.out_lin",
        context_norm="sa_layer_norm",
        up="ffn.lin1",
        down="ffn.lin2",
        output_norm="output_layer_norm",
    )
    stack = _stack(config, layer, config.integer("n_layers"), "transformer.layer.{}.", 0)
    return _encoder(config, stack, 0, "n_heads")


def mpnet(config: ModelConfig) -> Encoder:
    """No token types; a bias by distance, shared by all layers, is added to the scores."""
    names = ("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o")
    layer = _bert_layer(config, names, "attention.LayerNorm")
    stack = _stack(config, layer, config.integer("num_hidden_layers"), "encoder.layer.{}.", 0)
    encoder = _encoder(config, stack, position_offset(config.values), "num_attention_heads")
    # transformers' code fixes it.
    buckets = 32

    def build(graph: Graph, weights: Weights, attention: Attention) -> str:
        table = weights.tensor("encoder.relative_attention_bias.weight", buckets, encoder.heads)
        bias = _distance_bias(graph, table, encoder.max_tokens)
        return stack.build(graph, weights, attention, bias)

    return replace(encoder, build=build)


def _distance_bias(graph: Graph, table: FloatArray, longest: int) -> str:
    """`[1, heads, S, S]`: what MPNet adds to the score of a query and a key so far apart."""
    distances = np.arange(-longest + 1, longest)
    by_distance = np.ascontiguousarray(table[distance_buckets(distances, len(table))].T)
    name = graph.weight("distance_bias", by_distance)
    span = graph.op("Shape", [graph.input("token_index")], start=0, end=1)
    zero = graph.constant("zero", 0)
    step = graph.constant("step", 1)
    places = graph.op("Range", [zero, graph.op("Squeeze", [span]), step])
    query = graph.op("Unsqueeze", [places, graph.constant("axis1", [1])])
    distance = graph.op("Sub", [places, query])
    index = graph.op("Add", [distance, graph.constant("longest_distance", longest - 1)])
    bias = graph.op("Gather", [name, index], axis=1)
    return graph.op("Unsqueeze", [bias, graph.constant("axis0", [0])])


def distance_buckets(distance: npt.NDArray[np.int64], buckets: int) -> npt.NDArray[np.int64]:
    """T5's bucket of a distance key - query (transformers, `relative_position_bucket`).

    Half of the buckets are for keys behind the query; the first half of each side is exact, the
    rest is logarithmic up to a distance of 128.
    """
    side = buckets // 2
    exact = side // 2
    far = np.abs(distance)
    ratio = np.log(np.maximum(far, 1).astype(np.float32) / exact) / math.log(128 / exact)
    logarithmic = exact + (ratio * (side - exact)).astype(np.int64)
    bucket = np.where(far < exact, far, np.minimum(logarithmic, side - 1))
    result: npt.NDArray[np.int64] = bucket + np.where(distance > 0, side, 0)
    return result
