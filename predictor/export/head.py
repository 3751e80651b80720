"""From token vectors to one vector a text, in the graph: pooling and the modules after it.

Sums run over the padded view, in the order of the tokens: a text's sum never depends on its
neighbours.
"""

from pathlib import Path

import numpy as np

from predictor.bundle.folder_keys import DENSE, check_keys
from predictor.bundle.graph_info import HEAD_PREFIX
from predictor.bundle.json_file import read_json
from predictor.bundle.modules import HeadModule
from predictor.bundle.weight_files import weight_files
from predictor.errors import BadModel
from predictor.export.graph import BOOL, INT32, Graph
from predictor.export.layers import activation
from predictor.export.weights import Weights
from predictor.types import Pooling

# Names of torch's classes in a Dense module's config.json.
DENSE_ACTIVATIONS = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}
# What sentence-transformers puts at padded places before a maximum.
LOWEST = -1e9


def pool(graph: Graph, x: str, pooling: Pooling) -> str:
    """Token vectors `[T, H]` to one a text `[B, H]`."""
    if pooling is Pooling.CLS:
        return graph.op("Gather", [x, _first(graph)])
    if pooling is Pooling.LAST_TOKEN:
        return graph.op("Gather", [x, _last(graph)])
    padded = graph.op("Gather", [x, graph.input("token_index")])  # [S, B, H]
    mask = graph.op("Transpose", [graph.input("attention_mask")], perm=[1, 0])
    weights = mask
    if pooling is Pooling.WEIGHTED_MEAN:
        place = graph.op("CumSum", [mask, graph.constant("time", 0)])
        weights = graph.op("Mul", [mask, place])
    column = graph.op("Unsqueeze", [weights, graph.constant("axis2", [2])])
    time = graph.constant("axis0", [0])
    if pooling is Pooling.MAX:
        real = graph.op("Cast", [column], to=BOOL)
        lowest = graph.constant("lowest", LOWEST, np.float32)
        kept = graph.op("Where", [real, padded, lowest])
        return graph.op("ReduceMax", [kept, time], keepdims=0)
    total = graph.op("ReduceSum", [graph.op("Mul", [padded, column]), time], keepdims=0)
    count = graph.op("ReduceSum", [column, time], keepdims=0)
    if pooling is Pooling.MEAN_SQRT_LEN:
        count = graph.op("Sqrt", [count])
    return graph.op("Div", [total, count])


def _first(graph: Graph) -> str:
    first = graph.constant("first", 0)
    return graph.op("Gather", [graph.input("token_index"), first], axis=0)


def _last(graph: Graph) -> str:
    axis = graph.constant("axis1", [1])
    lengths = graph.op("ReduceSum", [graph.input("attention_mask"), axis], keepdims=0)
    after = graph.op("Add", [_first(graph), graph.op("Cast", [lengths], to=INT32)])
    return graph.op("Sub", [after, graph.constant("one32", 1, np.int32)])


def add_head(
    graph: Graph, x: str, modules: tuple[HeadModule, ...], folder: Path, width: int
) -> tuple[str, int]:
    """The modules after pooling; returns the vectors `[B, dimensions]` and their dimensions.

    Raises:
        BadModel: a module's weights are missing or it has a setting that is not supported.
    """
    for number, module in enumerate(modules):
        place = folder / module.folder
        name = f"{HEAD_PREFIX}{number}"
        if module.kind == "Normalize":
            x = graph.op("LpNormalization", [x], axis=-1, p=2)
        elif module.kind == "LayerNorm":
            x = _layer_norm(graph, x, place, name, width)
        else:
            x, width = _dense(graph, x, place, name, width)
    return x, width


def _module_weights(place: Path, probe: str) -> Weights:
    files = weight_files(place)
    if not files:
        raise BadModel(f"{place}: has no weights")
    return Weights(files, probe)


def _layer_norm(graph: Graph, x: str, place: Path, name: str, width: int) -> str:
    weights = _module_weights(place, "norm.weight")
    gain = graph.weight(f"{name}.gain", weights.tensor("norm.weight", width))
    bias = graph.weight(f"{name}.bias", weights.tensor("norm.bias", width))
    return graph.op("LayerNormalization", [x, gain, bias], axis=-1, epsilon=1e-5)


def _dense(graph: Graph, x: str, place: Path, name: str, width: int) -> tuple[str, int]:
    config = read_json(place / "config.json")
    check_keys(DENSE, str(place), config)
    kind = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if kind not in DENSE_ACTIVATIONS:
        raise BadModel(
            f"{place}: activation {kind!r} is not supported; known are "
            f"{', '.join(DENSE_ACTIVATIONS)}"
        )
    weights = _module_weights(place, "linear.weight")
    matrix = weights.tensor("linear.weight", None, width)
    bias = weights.optional("linear.bias", len(matrix))
    inputs = [x, graph.weight(f"{name}.weight", matrix)]
    if bias is not None:
        inputs.append(graph.weight(f"{name}.bias", bias))
    y = graph.op("Gemm", inputs, transB=1)
    return activation(graph, DENSE_ACTIVATIONS[kind], y), len(matrix)
