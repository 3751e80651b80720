"""Weights in 8 bits and everything else in float32: for little memory, not for speed.

Matrices and word table lie in blocks of 32 values with a scale each (MatMulNBits and
GatherBlockQuantized of ONNX Runtime). Nothing is calibrated; the error is that of rounding alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper

from predictor.export.graph import MICROSOFT, DataFile
from predictor.export.onnx_file import Linear, OnnxFile
from predictor.export.weights import FloatArray

BLOCK = 32
LARGEST = 127
ZERO = 128  # of unsigned 8 bits
# Tables smaller than this stay as they are: the positions' are not worth a kernel.
TABLE_BYTES = 4 << 20


def blocks(rows: FloatArray) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Integers `[n, k / 32, 32]` and scales `[n, k / 32]` of rows `[n, k]`, k padded with 0."""
    padding = -rows.shape[1] % BLOCK
    parts = np.pad(rows, ((0, 0), (0, padding))).reshape(len(rows), -1, BLOCK)
    scales = np.abs(parts).max(axis=2) / LARGEST
    steps = np.where(scales == 0, 1, scales)[:, :, None]
    integers = (np.rint(parts / steps) + ZERO).astype(np.uint8)
    return integers, scales.astype(np.float32)


def write_weight_only(file: OnnxFile, path: Path, advance: Callable[[], object]) -> None:
    """Write the graph at `path`, its weights beside it."""
    linears = {linear.node.name: linear for linear in file.linears()}
    nodes: list[Any] = []
    added: list[Any] = []
    dropped: set[str] = set()
    with DataFile(path.with_name(path.name + ".data")) as data:

        def weight(name: str, value: Any) -> str:
            added.append(data.tensor(name, value)[0])
            return name

        for node in file.nodes:
            if node.name in linears:
                nodes.append(_product(file, linears[node.name], weight))
                dropped.add(linears[node.name].weight)
                advance()
            elif node.op_type == "Gather" and file.bytes_of(node.input[0]) >= TABLE_BYTES:
                nodes.append(_lookup(file, node, weight))
                dropped.add(node.input[0])
            else:
                nodes.append(node)
    file.rewritten(nodes, dropped, added, path)


def _product(file: OnnxFile, linear: Linear, weight: Callable[[str, Any], str]) -> Any:
    matrix = file.array(linear.weight)
    integers, scales = blocks(np.ascontiguousarray(matrix.T))
    inputs = [
        linear.x,
        weight(f"{linear.weight}.blocks", integers),
        weight(f"{linear.weight}.scales", scales.reshape(-1)),
    ]
    if linear.bias:
        inputs += ["", "", linear.bias]
    return helper.make_node(
        "MatMulNBits",
        inputs,
        [linear.output],
        name=linear.node.name,
        domain=MICROSOFT,
        K=matrix.shape[0],
        N=matrix.shape[1],
        bits=8,
        block_size=BLOCK,
    )


def _lookup(file: OnnxFile, node: Any, weight: Callable[[str, Any], str]) -> Any:
    table = file.array(node.input[0])
    integers, scales = blocks(table)
    flat = integers.reshape(len(table), -1)[:, : table.shape[1]]
    name = node.input[0]
    return helper.make_node(
        "GatherBlockQuantized",
        [
            weight(f"{name}.blocks", flat),
            node.input[1],
            weight(f"{name}.scales", scales),
            weight(f"{name}.zeros", np.full_like(scales, ZERO, dtype=np.uint8)),
        ],
        list(node.output),
        name=node.name,
        domain=MICROSOFT,
        bits=8,
        block_size=BLOCK,
        gather_axis=0,
        quantize_axis=1,
    )
