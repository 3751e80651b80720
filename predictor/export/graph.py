"""Writes an ONNX graph node by node.

The weights go into one file beside the graph: ONNX Runtime maps it instead of parsing hundreds of
megabytes of protobuf (which ends at 2 GB), and look-up tables can be shared between sessions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from predictor.bundle.manifest import MappedTensor
from predictor.engine.packing import PACKED_INPUTS

FloatType = type[np.float32] | type[np.float16]
MICROSOFT = "com.microsoft"
OPSET = 20
IR_VERSION = 9
OUTPUT = "embedding"
FLOAT16, FLOAT32 = int(TensorProto.FLOAT16), int(TensorProto.FLOAT)
INT32, INT64 = int(TensorProto.INT32), int(TensorProto.INT64)
BOOL = int(TensorProto.BOOL)
# ONNX's external data: tensors are aligned so that they can be mapped, small ones stay inline.
ALIGNMENT = 4096
INLINE_BYTES = 1024


class DataFile:
    """The file of weights beside a graph. A context manager: closed at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def tensor(self, name: str, array: npt.NDArray[Any]) -> tuple[Any, int]:
        """The array as an ONNX tensor, and its place in the file (-1 if it was put inline)."""
        array = np.ascontiguousarray(array).reshape(array.shape)  # it makes scalars 1-D
        if array.nbytes < INLINE_BYTES:
            return numpy_helper.from_array(array, name), -1
        self._file.seek(-self._file.tell() % ALIGNMENT, 1)
        offset = self._file.tell()
        self._file.write(array.tobytes())
        tensor = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        entries = {"location": self.path.name, "offset": offset, "length": array.nbytes}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor, offset


class Graph:
    """Collects nodes and weights; `op` returns the name of what a node gives."""

    def __init__(self, data: DataFile, dtype: FloatType = np.float32) -> None:
        """Begin a graph whose floating-point weights are stored as `dtype`."""
        self._data = data
        self.dtype: FloatType = dtype
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._inputs: dict[str, Any] = {}
        self._shared: dict[str, str] = {}
        self._tables: list[MappedTensor] = []

    def input(self, name: str) -> str:
        """Declare an input of `PACKED_INPUTS`; only those that are asked for are declared."""
        kind, shape = PACKED_INPUTS[name]
        onnx_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        self._inputs[name] = helper.make_tensor_value_info(name, onnx_type, list(shape))
        return name

    def weight(self, name: str, value: npt.NDArray[Any], *, table: bool = False) -> str:
        """Add a weight; `table` marks one that is only looked up and can be shared."""
        if name in self._initializers:
            return name
        if np.issubdtype(value.dtype, np.floating):
            value = value.astype(self.dtype, copy=False)
        self._initializers[name], offset = self._data.tensor(name, value)
        if table and offset >= 0 and self.dtype is np.float32:
            self._tables.append(
                MappedTensor(name=name, file=self._data.path.name, offset=offset, shape=value.shape)
            )
        return name

    def constant(self, name: str, value: Any, kind: type = np.int64) -> str:
        """Add a small constant; the same name means the same value."""
        array: npt.NDArray[Any] = np.array(value, dtype=kind)
        self._initializers.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes)
        )
        return name

    def once(self, name: str, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of this name unless it is there: for what all layers share."""
        if name not in self._shared:
            self._shared[name] = self.op(kind, inputs, **attributes)
        return self._shared[name]

    def cast(self, name: str, x: str) -> str:
        """A float32 value in the type of the graph's weights, made once."""
        if self.dtype is np.float32:
            return x
        return self.once(name, "Cast", [x], to=FLOAT16)

    def to_float32(self, x: str) -> str:
        """From here on, weights and values are float32."""
        if self.dtype is np.float32:
            return x
        self.dtype = np.float32
        return self.op("Cast", [x], to=FLOAT32)

    def save(self, path: Path, output: str, dimensions: int) -> tuple[MappedTensor, ...]:
        """Write the model: the inputs asked for, one float32 output `[B, dimensions]`.

        Returns:
            The tables that sessions may share.
        """
        self._nodes.append(helper.make_node("Identity", [output], [OUTPUT], name=OUTPUT))
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            list(self._inputs.values()),
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", dimensions])],
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
