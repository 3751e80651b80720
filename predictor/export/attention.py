"""Attention over packed tokens, in the two ways there are kernels for.

Both take q, k and v `[T, heads * head_size]` and give `[T, heads * head_size]`. A family does not
know which of them it is built with.
"""

from typing import Protocol

import numpy as np

from predictor.export.graph import INT32, MICROSOFT, Graph

# Score added at padded places. exp(-30) is 1e-13: nothing beside a real token in float32. A larger
# number would give the same result slower: exponentials below 1e-38 are denormal, and the softmax
# of a batch then takes three times as long (424 against 144 us for 256 tokens of MiniLM).
PADDING = -30.0
# At places that a local window hides there are real tokens, whose scores may be anything.
HIDDEN = -10000.0


class Attention(Protocol):
    """Softmax(q k' / sqrt(head_size) + bias) v for each head, within each text."""

    def __call__(self, graph: Graph, q: str, k: str, v: str, bias: str | None = None) -> str:
        """Add the nodes; `bias` is `[1, heads or 1, S, S]`, added to the scores."""


class PaddedAttention:
    """For any execution provider: a padded view with time first, `[S, B * heads, head_size]`.

    In that order the two products need no transposing: ONNX Runtime's FusedMatMul walks the batch
    in the second dimension. One gather brings the result back to packed tokens.
    """

    def __init__(self, heads: int, head_size: int) -> None:
        self._heads = heads
        self._size = head_size

    def __call__(self, graph: Graph, q: str, k: str, v: str, bias: str | None = None) -> str:
        q, k, v = (self._view(graph, x) for x in (q, k, v))
        scores = graph.op(
            "FusedMatMul",
            [q, k],
            domain=MICROSOFT,
            transBatchA=1,
            transBatchB=1,
            transB=1,
            alpha=self._size**-0.5,
        )
        shape = graph.once("scores_shape", "Concat", self._scores_shape(graph), axis=0)
        by_text = graph.op("Reshape", [scores, shape])
        masked = graph.op("Add", [by_text, self._mask(graph, bias)])
        weights = graph.op("Softmax", [masked], axis=-1)
        flat = graph.once("flat_shape", "Shape", [scores])
        mixed = graph.op(
            "FusedMatMul",
            [graph.op("Reshape", [weights, flat]), v],
            domain=MICROSOFT,
            transBatchB=1,
        )
        rows = graph.op("Reshape", [mixed, graph.constant("head_rows", [-1, self._size])])
        packed = graph.op("Gather", [rows, self._context_index(graph)])
        width = self._heads * self._size
        return graph.op("Reshape", [packed, graph.constant("token_rows", [-1, width])])

    def _view(self, graph: Graph, x: str) -> str:
        padded = graph.op("Gather", [x, graph.input("token_index")])
        return graph.op("Reshape", [padded, graph.constant("view", [0, -1, self._size])])

    def _scores_shape(self, graph: Graph) -> list[str]:
        texts = graph.once("texts", "Shape", [graph.input("attention_mask")], start=0, end=1)
        longest = self._longest(graph)
        return [texts, graph.constant("heads", [self._heads]), longest, longest]

    @staticmethod
    def _longest(graph: Graph) -> str:
        return graph.once("longest", "Shape", [graph.input("attention_mask")], start=1, end=2)

    @staticmethod
    def _mask(graph: Graph, bias: str | None) -> str:
        """`[B, 1 or heads, 1 or S, S]`: what is added to the scores; made once a batch."""
        mask = graph.input("attention_mask")
        padding = graph.once("padding", "Sub", [mask, graph.constant("one", 1.0, np.float32)])
        size = graph.constant("padding_score", -PADDING, np.float32)
        scores = graph.cast(
            "padding_score_16", graph.once("padding_scores", "Mul", [padding, size])
        )
        wide = graph.once("mask", "Unsqueeze", [scores, graph.constant("axes12", [1, 2])])
        return graph.once(f"mask+{bias}", "Add", [wide, bias]) if bias else wide

    def _context_index(self, graph: Graph) -> str:
        """`[T, heads]`: where the result of each token and head lies in `[B * heads * S]`."""
        column = graph.constant("axis1", [1])
        heads = graph.constant("heads32", [self._heads], np.int32)
        first = graph.once("first_head", "Mul", [graph.input("sequence_ids"), heads])
        wide = graph.once("first_head_column", "Unsqueeze", [first, column])
        numbers = graph.constant("head_numbers", list(range(self._heads)), np.int32)
        head = graph.once("head_of_token", "Add", [wide, numbers])
        longest = graph.once("longest32", "Cast", [self._longest(graph)], to=INT32)
        start = graph.once("head_start", "Mul", [head, longest])
        place = graph.once("place_column", "Unsqueeze", [graph.input("places"), column])
        return graph.once("context_index", "Add", [start, place])


class PackedAttention:
    """For CUDA: com.microsoft.PackedMultiHeadAttention, which needs no padded view.

    `cumulative_sequence_length` is made on the host: RemovePadding would make it on the device and
    wait for it in every run.
    """

    def __init__(self, heads: int) -> None:
        self._heads = heads

    def __call__(self, graph: Graph, q: str, k: str, v: str, bias: str | None = None) -> str:
        inputs = [
            q,
            k,
            v,
            "",
            graph.input("token_offset"),
            graph.input("cumulative_sequence_length"),
        ]
        return graph.op(
            "PackedMultiHeadAttention",
            [*inputs, bias] if bias else inputs,
            domain=MICROSOFT,
            num_heads=self._heads,
        )
