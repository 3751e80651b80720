"""What a family's builder has to say, and the layer that all families but one share."""

from collections.abc import Callable
from dataclasses import dataclass

from predictor.export.attention import Attention
from predictor.export.graph import Graph
from predictor.export.layers import activation, layer_norm, stored_linear
from predictor.export.weights import Weights


@dataclass(frozen=True)
class Encoder:
    """An encoder as its config.json describes it.

    max_tokens: the longest text that its positions allow, special tokens included.
    position_offset: index of the first token in the position table.
    probe: a tensor that every checkpoint of the family has, to find the prefix of its names.
    build: adds the nodes, returns the token vectors `[T, hidden]`.
    """

    hidden: int
    heads: int
    vocabulary: int
    max_tokens: int
    probe: str
    build: Callable[[Graph, Weights, Attention], str]
    position_offset: int = 0


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
