"""Our own graph read back: its linear layers, its values, and copies that share its weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from predictor.engine.session import Session
from predictor.export.graph import DataFile, Graph
from predictor.export.onnx_file import OnnxFile

IDS = np.array([3, 1, 99, 3], dtype=np.int32)
WIDTH, INNER, OUT, ROWS = 40, 24, 12, 100


def values() -> dict[str, Any]:
    random = np.random.default_rng(0)
    shapes = {
        "words": (ROWS, WIDTH),
        "a.weight": (WIDTH, INNER),
        "a.bias": (INNER,),
        "b.weight": (INNER, WIDTH),
        "head.0.weight": (OUT, WIDTH),
    }
    return {
        name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }


def write(path: Path) -> OnnxFile:
    """A table, a layer with a bias, one without, and one after pooling."""
    weights = values()
    with DataFile(path.with_name(path.name + ".data")) as data:
        graph = Graph(data)
        table = graph.weight("words", weights["words"], table=True)
        x = graph.op("Gather", [table, graph.input("input_ids")])
        names = [graph.weight(name, weights[name]) for name in ("a.weight", "a.bias")]
        x = graph.op("Relu", [graph.op("Gemm", [x, *names])])
        rows = graph.op("Reshape", [x, graph.constant("rows", [-1, INNER])])
        x = graph.op("MatMul", [rows, graph.weight("b.weight", weights["b.weight"])])
        head = graph.weight("head.0.weight", weights["head.0.weight"])
        graph.save(path, graph.op("Gemm", [x, head], transB=1), OUT)
    return OnnxFile(path)


def expected() -> Any:
    weights = values()
    inner = np.maximum(weights["words"][IDS] @ weights["a.weight"] + weights["a.bias"], 0)
    return inner @ weights["b.weight"] @ weights["head.0.weight"].T


def run(path: Path, output: str = "embedding") -> Any:
    return Session(path, threads=1, spin=False).run(output, {"input_ids": IDS})


@pytest.fixture
def file(tmp_path: Path) -> OnnxFile:
    return write(tmp_path / "model.onnx")


def test_the_graph_itself_is_right(file: OnnxFile) -> None:
    np.testing.assert_allclose(run(file.path), expected(), rtol=1e-4, atol=1e-3)


def test_linear_layers_are_listed_in_order_without_the_head(file: OnnxFile) -> None:
    linears = list(file.linears())
    assert [(linear.weight, linear.bias) for linear in linears] == [
        ("a.weight", "a.bias"),
        ("b.weight", None),
    ]
    assert linears[0].x == file.nodes[0].output[0]
    assert linears[1].output == linears[1].node.output[0]


def test_weights_are_read_when_asked_for(file: OnnxFile) -> None:
    for name, value in values().items():
        np.testing.assert_array_equal(file.array(name), value)
        assert file.bytes_of(name) == value.nbytes
    assert file.bytes_of("nothing") == 0
    large = next(t for t in file.model.graph.initializer if t.name == "words")
    assert not large.raw_data, "the table was loaded with the graph"


def test_makers_are_found_over_nodes_that_change_no_number(file: OnnxFile) -> None:
    second = list(file.linears())[1]
    through = file.maker(file.through(second.x, ("Reshape",)))
    assert through is not None
    assert through.op_type == "Relu"
    assert file.through(second.x, ("Gather",)) == second.x
    assert file.maker("input_ids") is None
    assert file.maker("words") is None


def test_a_copy_with_other_outputs_gives_the_values_inside(file: OnnxFile) -> None:
    names = [linear.x for linear in file.linears()]
    copy = file.path.with_name("copy.onnx")
    file.with_outputs(names, copy)
    np.testing.assert_array_equal(run(copy, names[0]), values()["words"][IDS])
    session = Session(copy, threads=1, spin=False)
    assert list(session.outputs) == names
    assert [value.name for value in file.model.graph.output] == ["embedding"]


def test_a_rewritten_copy_shares_the_weights_that_it_keeps(file: OnnxFile) -> None:
    halved = helper.make_node("Mul", ["a.out", "half"], ["halved"], name="halved")
    nodes = []
    for node in file.nodes:
        if node.op_type == "Relu":
            changed = onnx.NodeProto()
            changed.CopyFrom(node)
            changed.output[0] = "a.out"
            halved.output[0] = node.output[0]
            nodes += [changed, halved]
        else:
            nodes.append(node)
    copy = file.path.with_name("copy.onnx")
    half = onnx.numpy_helper.from_array(np.array(0.5, dtype=np.float32), "half")
    file.rewritten(nodes, {"nothing"}, [half], copy)
    np.testing.assert_allclose(run(copy), expected() / 2, rtol=1e-4, atol=1e-3)
    graph = onnx.load(copy, load_external_data=False).graph
    places = {
        entry.value
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert places == {"model.onnx.data"}
    assert copy.stat().st_size < 4096


def test_what_is_dropped_is_not_in_the_copy(file: OnnxFile) -> None:
    copy = file.path.with_name("copy.onnx")
    file.rewritten(list(file.nodes), {"b.weight"}, [], copy)
    graph = onnx.load(copy, load_external_data=False).graph
    assert "b.weight" not in {tensor.name for tensor in graph.initializer}
    assert "b.weight" in {tensor.name for tensor in file.model.graph.initializer}
