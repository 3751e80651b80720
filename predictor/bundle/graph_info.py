"""What a graph's file says without being run: which data files it uses, what it multiplies by."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import onnx

from predictor.bundle.manifest import Bundle, VariantName
from predictor.errors import BadModel
from predictor.wall import load_error

# Products of values and weights, with the places where a weight may stand among the inputs.
PRODUCTS: dict[str, tuple[int, ...]] = {
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    "FusedMatMul": (0, 1),
    "FusedGemm": (0, 1),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "DynamicQuantizeMatMul": (1,),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3),
    "MatMulNBits": (1,),
    "Attention": (1,),
}
# What may stand between a stored weight and its product without changing how many numbers it has.
CARRIERS = ("DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity")
# The modules after pooling multiply once a text, not once a token.
HEAD_PREFIX = "head."


def read_graph(path: Path) -> Any:
    """The model without the weights that lie in files beside it.

    Raises:
        BadModel: the file cannot be read.
    """
    try:
        return onnx.load(str(path), load_external_data=False)
    except BaseException as error:  # protobuf's own, or the system's
        raise load_error(f"{path}: not a readable ONNX file", error) from error


def data_files(graph: Any) -> set[str]:
    """Names of the files beside the graph that hold weights of it."""
    return {
        entry.value
        for tensor in graph.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }


def files_used(folder: Path, bundle: Bundle) -> dict[VariantName, dict[str, int]]:
    """Of each variant, the graph and the data files it uses, with their sizes in bytes.

    Raises:
        BadModel: a graph cannot be read, or a file that it names is missing.
    """
    used: dict[VariantName, dict[str, int]] = {}
    for name, variant in bundle.variants.items():
        names = data_files(read_graph(folder / variant.graph))
        names |= {variant.graph, *(tensor.file for tensor in variant.mapped)}
        used[name] = {file: _size(folder / file) for file in sorted(names)}
    return used


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise BadModel(f"{path}: missing, though a graph names it") from error


def flops_a_token(graph: Any) -> int:
    """Twice the numbers in all weights that a token's values are multiplied by.

    The products inside attention, of values with values, are not in it: they grow with the length
    of a text and are a few per cent of the whole.
    """
    return 2 * sum(int(prod(tensor.dims)) for tensor in _multiplied(graph.graph))


def _multiplied(graph: Any) -> Iterator[Any]:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        for place in PRODUCTS.get(node.op_type, ()):
            if place >= len(node.input):
                continue
            name = node.input[place]
            while name in makers and makers[name].op_type in CARRIERS:
                name = makers[name].input[0]
            if name in tensors and not name.startswith(HEAD_PREFIX):
                yield tensors[name]
