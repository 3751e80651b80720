"""The files that a graph names and the weights that it multiplies by, without running it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from predictor.bundle.graph_info import data_files, files_used, flops_a_token, read_graph
from predictor.bundle.manifest import read_bundle
from predictor.errors import BadModel


def graph_of(nodes: list[Any], **weights: tuple[int, ...]) -> Any:
    tensors = [
        numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in weights.items()
    ]
    value = helper.make_tensor_value_info
    return helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [value("x", TensorProto.FLOAT, ["T", 4])],
            [value("y", TensorProto.FLOAT, None)],
            tensors,
        )
    )


node = helper.make_node


@pytest.mark.parametrize(
    "nodes",
    [
        [node("MatMul", ["x", "w"], ["y"])],
        [node("Gemm", ["x", "w", "b"], ["y"])],
        [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])],
        [
            node("DequantizeLinear", ["w", "b"], ["f"]),
            node("Cast", ["f"], ["c"], to=1),
            node("MatMul", ["x", "c"], ["y"]),
        ],
        [node("MatMulIntegerToFloat", ["x", "w", "b"], ["y"], domain="com.microsoft")],
        [node("Gather", ["b", "x"], ["g"]), node("MatMul", ["g", "w"], ["y"])],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_every_weight_that_is_multiplied_counts_twice(nodes: list[Any]) -> None:
    assert flops_a_token(graph_of(nodes, w=(4, 6), b=(6,))) == 2 * 4 * 6


def test_weights_that_are_looked_up_or_used_once_a_text_do_not_count() -> None:
    looked_up = [node("Gather", ["w", "x"], ["y"])]
    assert flops_a_token(graph_of(looked_up, w=(4, 6))) == 0
    head = graph_of([node("Gemm", ["x", "w"], ["y"])], w=(4, 6))
    head.graph.initializer[0].name = head.graph.node[0].input[1] = "head.0.weight"
    assert flops_a_token(head) == 0


def test_a_product_of_values_does_not_count() -> None:
    assert flops_a_token(graph_of([node("MatMul", ["x", "x"], ["y"])])) == 0


def test_the_weights_and_files_of_minilm(bundle_dir: Path) -> None:
    hidden = 384
    inner = 1536
    layers = 6
    graph = read_graph(bundle_dir / "model.onnx")
    assert flops_a_token(graph) == 2 * layers * (4 * hidden**2 + 2 * hidden * inner)
    assert data_files(graph) == {"model.onnx.data"}


def test_the_files_of_a_variant(bundle_dir: Path, tmp_path: Path) -> None:
    bundle = read_bundle(bundle_dir)
    used = files_used(bundle_dir, bundle)["fp32"]
    sizes = {name: (bundle_dir / name).stat().st_size for name in used}
    assert used == sizes
    assert set(used) == {"model.onnx", "model.onnx.data"}
    (tmp_path / "model.onnx").write_bytes((bundle_dir / "model.onnx").read_bytes())
    with pytest.raises(BadModel, match=r"model\.onnx\.data: missing"):
        files_used(tmp_path, bundle)


def test_a_file_that_is_no_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff garbage")
    with pytest.raises(BadModel, match=r"model\.onnx: not a readable ONNX file") as caught:
        read_graph(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    onnx.save(graph_of([node("MatMul", ["x", "w"], ["y"])], w=(4, 2)), str(tmp_path / "ok.onnx"))
    assert data_files(read_graph(tmp_path / "ok.onnx")) == set()
