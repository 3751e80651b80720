"""What a family's builder gives, and the layer that normalises after its residual sums."""

from collections.abc import Callable
from dataclasses import dataclass

from predictor.export.attention import Attention
from predictor.export.graph import Graph
from predictor.export.layers import activation, layer_norm, stored_linear
from predictor.export.weights import Weights


@dataclass(frozen=True)
class Encoder:
    """An encoder as its config.json describes it."""

    hidden: int

    heads: int

    vocabulary: int
    """Rows of the word table."""

    max_tokens: int
    """The longest text that its positions allow, special tokens included."""

    probe: str
    """A tensor that every checkpoint of the family has, to find the prefix of its names."""

    build: Callable[[Graph, Weights, Attention], str]
    """Adds the nodes and returns the token vectors `[T, hidden]`."""

    position_offset: int = 0
    """Row of the position table that a text's first token has."""


@dataclass(frozen=True)
class PostNorm:
    """Names and numbers of a layer that normalises after each residual sum, as BERT's does."""

    hidden: int
    intermediate: int
    epsilon: float
    activation: str
    query: str
    key: str
    value: str
    context: str
    context_norm: str
    up: str
    down: str
    output_norm: str

    def add(
        self,
        graph: Graph,
        weights: Weights,
        attention: Attention,
        x: str,
        prefix: str,
        bias: str | None = None,
    ) -> str:
        """One layer on `[T, hidden]`; `bias` is added to the attention's scores."""
        square = (self.hidden, self.hidden)
        q, k, v = (
            stored_linear(graph, weights, x, prefix + name, square)
            for name in (self.query, self.key, self.value)
        )
        mixed = attention(graph, q, k, v, bias)
        mixed = stored_linear(graph, weights, mixed, prefix + self.context, square)
        x = layer_norm(
            graph, weights, graph.op("Add", [x, mixed]), prefix + self.context_norm, self.epsilon
        )
        size = (self.hidden, self.intermediate)
        inner = stored_linear(graph, weights, x, prefix + self.up, size)
        inner = activation(graph, self.activation, inner)
        outer = stored_linear(graph, weights, inner, prefix + self.down, size[::-1])
        total = graph.op("Add", [x, outer])
        return layer_norm(graph, weights, total, prefix + self.output_norm, self.epsilon)
