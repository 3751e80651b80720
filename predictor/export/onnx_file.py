"""Reading and rewriting our own float32 graph: what the variants are made from.

A variant's graph goes beside the float32 one and keeps pointing at its data file for everything
that stays float32 (look-up tables, norms): they are on disk once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from predictor.bundle.graph_info import HEAD_PREFIX, read_graph
from predictor.export.weights import FloatArray


@dataclass(frozen=True)
class Linear:
    """A node `Gemm(x, weight, bias)` or `MatMul(x, weight)`; weight is `[in, out]`."""

    node: Any
    x: str
    weight: str
    bias: str | None
    output: str


class OnnxFile:
    """A graph without its external data, which is read tensor by tensor when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = read_graph(path)
        self._tensors = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self._maker = {name: node for node in self.nodes for name in node.output}

    @property
    def nodes(self) -> Any:
        return self.model.graph.node

    def array(self, name: str) -> FloatArray:
        """An initializer's value."""
        value = numpy_helper.to_array(self._tensors[name], base_dir=str(self.path.parent))
        return np.asarray(value, dtype=np.float32)

    def bytes_of(self, name: str) -> int:
        """Size of a float32 initializer; 0 if there is none of that name."""
        tensor = self._tensors.get(name)
        return 4 * int(np.prod(tensor.dims)) if tensor is not None else 0

    def linears(self) -> Iterator[Linear]:
        """The encoder's linear layers, in the order of the graph.

        Those of the modules after pooling stay float32: they are small, and every error counts.
        """
        for node in self.nodes:
            if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in self._tensors:
                continue
            if node.input[1].startswith(HEAD_PREFIX):
                continue
            bias = node.input[2] if len(node.input) > 2 else None
            yield Linear(node, node.input[0], node.input[1], bias, node.output[0])

    def maker(self, name: str) -> Any | None:
        """The node that gives a value; None for inputs and initializers."""
        return self._maker.get(name)

    def through(self, name: str, kinds: tuple[str, ...]) -> str:
        """Walk back from a value over nodes of these kinds, along their first input."""
        node = self.maker(name)
        while node is not None and node.op_type in kinds:
            name = node.input[0]
            node = self.maker(name)
        return name

    def with_outputs(self, names: list[str], path: Path) -> None:
        """Write a copy that gives these values instead of the vectors."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        del copy.graph.output[:]
        copy.graph.output.extend(
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
        )
        onnx.save(copy, str(path))

    def rewritten(self, nodes: list[Any], dropped: set[str], added: list[Any], path: Path) -> None:
        """Write a copy with other nodes, without some initializers and with others."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        kept = [tensor for tensor in copy.graph.initializer if tensor.name not in dropped]
        del copy.graph.initializer[:], copy.graph.node[:]
        copy.graph.initializer.extend([*kept, *added])
        copy.graph.node.extend(nodes)
        onnx.save(copy, str(path))
