"""The pieces that all encoder families are made of, on packed tokens `[T, width]`.

`Add` and `LayerNormalization` stay apart, and a linear layer is one `Gemm` (or `MatMul` without a
bias): the variants (`int8.py`, `weight_only.py`) find and replace exactly these.
"""

from collections.abc import Callable

import numpy as np

from predictor.errors import BadModel
from predictor.export.graph import INT64, MICROSOFT, Graph
from predictor.export.weights import FloatArray, Weights


def lookup(graph: Graph, name: str, table: FloatArray, index: str) -> str:
    """Rows of a table `[V, H]`."""
    return graph.op("Gather", [graph.weight(name, table, table=True), index])


def linear(graph: Graph, x: str, name: str, weight: FloatArray, bias: FloatArray | None) -> str:
    """`x @ weight + bias` for weight `[in, out]`."""
    inputs = [x, graph.weight(f"{name}.weight", weight)]
    if bias is None:
        return graph.op("MatMul", inputs)
    return graph.op("Gemm", [*inputs, graph.weight(f"{name}.bias", bias)])


def stored_linear(graph: Graph, weights: Weights, x: str, name: str, size: tuple[int, int]) -> str:
    """A linear layer of the checkpoint, in to out; its bias is used if it has one."""
    inward, outward = size
    weight = weights.tensor(f"{name}.weight", outward, inward).T
    return linear(graph, x, name, weight, weights.optional(f"{name}.bias", outward))


def layer_norm(graph: Graph, weights: Weights, x: str, name: str, epsilon: float) -> str:
    """LayerNorm with the checkpoint's gain and, if it has one, bias."""
    gain = weights.tensor(f"{name}.weight", None)
    inputs = [x, graph.weight(f"{name}.gain", gain)]
    bias = weights.optional(f"{name}.bias", len(gain))
    if bias is not None:
        inputs.append(graph.weight(f"{name}.bias", bias))
    return graph.op("LayerNormalization", inputs, axis=-1, epsilon=epsilon)


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "gelu": lambda graph, x: graph.op("Gelu", [x]),
    "gelu_new": lambda graph, x: graph.op("Gelu", [x], approximate="tanh"),
    "gelu_pytorch_tanh": lambda graph, x: graph.op("Gelu", [x], approximate="tanh"),
    "relu": lambda graph, x: graph.op("Relu", [x]),
    "silu": lambda graph, x: graph.op("QuickGelu", [x], domain=MICROSOFT, alpha=1.0),
    "swish": lambda graph, x: graph.op("QuickGelu", [x], domain=MICROSOFT, alpha=1.0),
    "tanh": lambda graph, x: graph.op("Tanh", [x]),
    "sigmoid": lambda graph, x: graph.op("Sigmoid", [x]),
    "identity": lambda graph, x: x,
}
"""By transformers' names (`ACT2FN`)."""


def activation(graph: Graph, name: str, x: str) -> str:
    """Apply an activation.

    Raises:
        BadModel: there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise BadModel(f"activation {name!r} is not supported; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](graph, x)


def rotation_tables(
    inverse_frequencies: FloatArray, positions: int
) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines `[positions, head_size / 2]` of rotary embedding."""
    angles = np.outer(np.arange(positions, dtype=np.float32), inverse_frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def inverse_frequencies(theta: float, head_size: int) -> FloatArray:
    """Of plain rotary embedding: `theta ** (-2 i / head_size)`, float32 `[head_size / 2]`."""
    exponents = np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size)
    return (1.0 / np.float32(theta) ** exponents).astype(np.float32)


def rotate(graph: Graph, x: str, name: str, tables: tuple[FloatArray, FloatArray]) -> str:
    """Rotary embedding of `[T, heads * head_size]` by `position_ids`, halves not interleaved."""
    axis = graph.constant("axis0", [0])
    batched = graph.op("Unsqueeze", [x, axis])
    rotated = graph.op(
        "RotaryEmbedding",
        [
            batched,
            graph.op("Unsqueeze", [position_ids64(graph), axis]),
            graph.weight(f"{name}.cos", tables[0]),
            graph.weight(f"{name}.sin", tables[1]),
        ],
        domain=MICROSOFT,
        # The texts of a batch lie in one row, which may be longer than the tables.
        is_packed_batching=1,
    )
    return graph.op("Squeeze", [rotated, axis])


def position_ids64(graph: Graph) -> str:
    """The kernel of RotaryEmbedding wants its positions as int64."""
    return graph.once("position_ids64", "Cast", [graph.input("position_ids")], to=INT64)
