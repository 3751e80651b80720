"""The peak rate of this machine's float32 arithmetic, measured with ONNX Runtime.

It is the rate of one large matrix product: not the figure of a data sheet, but what the engine's
own products could reach if they were large and there were nothing else to do.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from predictor.bench.benchmark import Arrangement, Measurement, work_per_second
from predictor.engine.session import Session

# Of each side: large enough that the product is at full speed, small enough to be quick.
SIDE = 1024
FLOPS = 2 * SIDE**3


def peak(arrangement: Arrangement) -> Measurement:
    """Floating-point operations a second of that product, as the arrangement runs it."""
    with tempfile.TemporaryDirectory(prefix="predictor-peak-") as folder:
        graph = Path(folder) / "product.onnx"
        _write(graph)
        session = Session(graph, threads=arrangement.threads, spin=arrangement.threads > 1)
    values = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)

    def work() -> float:
        session.run("y", {"x": values})
        return float(FLOPS)

    return partial(work_per_second, work, arrangement.callers)


def _write(path: Path) -> None:
    weight = np.random.default_rng(1).standard_normal((SIDE, SIDE), dtype=np.float32)
    shape = [SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
