"""Writes an ONNX graph node by node.

The weights go into one file beside the graph: ONNX Runtime maps it instead of parsing 90 MB of
protobuf, which halves the time to load and lets look-up tables be shared between sessions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from predictor.engine.bundle import MappedTensor

MICROSOFT = "com.microsoft"
OPSET = 17
IR_VERSION = 8
# ONNX's external data: tensors are aligned so that they can be mapped, small ones stay inline.
ALIGNMENT = 4096
INLINE_BYTES = 1024


class Graph:
    """Collects nodes and weights; `op` returns the name of what a node gives.

    A context manager: the data file is closed at its end, whatever happened.
    """

    def __init__(self, data_file: Path) -> None:
        self._data_path = data_file
        self._data = data_file.open("wb")
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._tables: list[MappedTensor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()

    def weight(self, name: str, value: npt.NDArray[Any], *, table: bool = False) -> str:
        """Add a weight; `table` marks one that is only looked up and can be shared."""
        if name in self._initializers:
            return name
        array = np.ascontiguousarray(value).reshape(value.shape)  # it makes scalars 1-D
        if array.nbytes < INLINE_BYTES:
            self._initializers[name] = numpy_helper.from_array(array, name)
            return name
        self._data.seek(-self._data.tell() % ALIGNMENT, 1)
        offset = self._data.tell()
        self._data.write(array.tobytes())
        tensor = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        for key, text in (
            ("location", self._data_path.name),
            ("offset", str(offset)),
            ("length", str(array.nbytes)),
        ):
            tensor.external_data.add(key=key, value=text)
        self._initializers[name] = tensor
        if table:
            self._tables.append(
                MappedTensor(name=name, file=self._data_path.name, offset=offset, shape=array.shape)
            )
        return name

    def op(self, kind: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes)
        )
        return name

    def linear(self, x: str, name: str, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> str:
        """`x @ weight + bias` for x `[T, in]`, weight `[in, out]`."""
        return self.op(
            "Gemm", [x, self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)]
        )

    def save(
        self,
        path: Path,
        *,
        inputs: dict[str, Sequence[str]],
        output: str,
        output_name: str,
        dimensions: int,
    ) -> tuple[MappedTensor, ...]:
        """Write the model: int32 inputs with symbolic shapes, one float32 output `[B, dimensions]`.

        Returns:
            The tables that sessions may share.
        """
        self._data.close()
        self._nodes.append(helper.make_node("Identity", [output], [output_name], name=output_name))
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            [
                helper.make_tensor_value_info(name, TensorProto.INT32, list(shape))
                for name, shape in inputs.items()
            ],
            [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["B", dimensions])],
            list(self._initializers.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="predictor",
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
            ir_version=IR_VERSION,
        )
        onnx.save(model, str(path))
        return tuple(self._tables)
