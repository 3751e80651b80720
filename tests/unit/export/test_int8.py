"""The 8-bit graph: where its steps come from, and that smoothing is put where it costs nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from predictor.bundle import corpus
from predictor.bundle.manifest import Bundle, read_bundle
from predictor.bundle.source import read_source
from predictor.engine.engine import OnnxEngine
from predictor.engine.packing import pack
from predictor.engine.pooling import finish
from predictor.engine.reference_runs import BUDGET, in_batches
from predictor.engine.session import Session
from predictor.engine.tokenizer import Tokenizer
from predictor.export.calibrate import CALIBRATION_GRAPH, calibrate
from predictor.export.convert import convert_cached
from predictor.export.int8 import write_int8
from predictor.export.onnx_file import OnnxFile
from predictor.export.rounding import LARGEST, LARGEST_PAIR
from predictor.export.smoothquant import Activation, QuantizedLayers, quantize
from predictor.similarity import cosines
from tests.reference.families.folders import assemble

# What is folded away: of each layer's inputs to a linear layer, those that another linear layer
# makes (attention's output from its values; the second half of a gated MLP from its linear side).
FOLDED = {"bert": 1, "mpnet": 1, "nomic": 2, "modernbert": 2, "gte-published": 2}
TEXTS = 60


@dataclass(frozen=True)
class Model:
    family: str
    file: OnnxFile
    bundle: Bundle
    rows: list[list[int]]
    activations: dict[str, Activation]
    int8: Path

    @property
    def graph(self) -> Any:
        return onnx.load(str(self.int8)).graph

    @property
    def layers(self) -> int:
        return len(list(self.file.linears()))


@pytest.fixture(scope="module", params=FOLDED)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("int8")
    source = read_source(assemble(request.param, folder / "source"))
    version = convert_cached(source, folder / "cache", 1)
    bundle = read_bundle(version)
    tokenizer = Tokenizer(version / "tokenizer.json", bundle.max_length)
    rows = tokenizer.encode(corpus.calibration()[:TEXTS]).ids
    file = OnnxFile(version / "model.onnx")
    activations = calibrate(file, bundle, in_batches(rows, BUDGET), 1, lambda: None)
    path = version / "model.int8.onnx"
    write_int8(file, dict(activations), path, lambda: None)
    return Model(request.param, file, bundle, rows, activations, path)


def test_every_row_is_in_one_batch_of_rows_of_like_length() -> None:
    rows = [[1] * (1 + 37 * i % 500) for i in range(200)]
    batches = in_batches(rows, BUDGET)
    assert sorted(len(row) for batch in batches for row in batch) == sorted(map(len, rows))
    ends = [(min(map(len, batch)), max(map(len, batch))) for batch in batches]
    assert all(before[1] <= after[0] for before, after in pairwise(ends))


def test_calibrated_values_are_those_that_go_through_the_layer(model: Model) -> None:
    """Against the values themselves, all rows in one go."""
    copy = model.file.path.with_name("all.onnx")
    name = next(model.file.linears()).x
    model.file.with_outputs([name], copy)
    session = Session(copy, threads=1, spin=False)
    feed = pack(
        model.rows,
        list(session.inputs),
        position_offset=model.bundle.position_offset,
        pad_id=model.bundle.pad_id,
    )
    value = session.run(name, feed)
    activation = model.activations[name]
    np.testing.assert_allclose(activation.low, value.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(activation.high, value.max(axis=0), atol=1e-5)
    assert 300 < len(activation.sample) < len(value)
    exact = value.T @ value / len(value)
    assert np.linalg.norm(activation.gram - exact) <= 0.15 * np.linalg.norm(exact)
    assert not model.file.path.with_name(CALIBRATION_GRAPH).exists()


def test_every_input_of_a_layer_is_calibrated(model: Model) -> None:
    assert set(model.activations) == {linear.x for linear in model.file.linears()}


def nodes_of(graph: Any, kind: str) -> Iterator[Any]:
    return (node for node in graph.node if node.op_type == kind)


def test_layers_on_one_input_share_its_integers(model: Model) -> None:
    graph = model.graph
    assert len(list(nodes_of(graph, "QuantizeLinear"))) == len(model.activations) < model.layers
    assert len(list(nodes_of(graph, "MatMulIntegerToFloat"))) == model.layers
    assert not {"DynamicQuantizeLinear", "Gemm"} & {node.op_type for node in graph.node}


def test_smoothing_is_folded_into_the_layer_before_where_there_is_one(model: Model) -> None:
    multiplied = [node for node in model.graph.node if node.name.endswith(".smoothed")]
    encoder_layers = sum(node.op_type == "Softmax" for node in model.file.nodes)
    assert encoder_layers >= 3
    assert len(model.activations) - len(multiplied) == FOLDED[model.family] * encoder_layers


def test_weights_fit_16_bits_in_pairs_and_scales_are_numbers(model: Model) -> None:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in nodes_of(model.graph, "MatMulIntegerToFloat"):
        integers = numpy_helper.to_array(stored[node.input[1]]).astype(int)
        scales = numpy_helper.to_array(stored[node.input[3]])
        even = integers[0::2]
        odd = integers[1::2]
        for sign in (1, -1):
            pairs = np.maximum(sign * even, 0) + np.maximum(sign * odd, 0)
            assert pairs.max() <= LARGEST_PAIR
        assert np.abs(integers).max() <= LARGEST
        assert np.isfinite(scales).all()


def test_folding_leaves_the_product_with_exact_weights_unchanged(model: Model) -> None:
    """The same graph, its integers undone: each layer's float weights, smoothed and folded."""
    copy = onnx.load(str(model.int8))
    stored = {tensor.name: tensor for tensor in copy.graph.initializer}
    linears = {linear.node.name: linear for linear in model.file.linears()}
    again = quantised_again(model, stored)
    nodes = []
    for node in copy.graph.node:
        if node.op_type == "QuantizeLinear":
            nodes.append(onnx.helper.make_node("Identity", [node.input[0]], node.output))
        elif node.op_type == "MatMulIntegerToFloat":
            nodes.append(undone(copy, node, linears[node.name], model, again))
        else:
            nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    path = model.int8.with_name("undone.onnx")
    onnx.save(copy, str(path))
    engines = [
        OnnxEngine(model.int8.parent, bundle_with(model.bundle, name), threads=1)
        for name in ("model.onnx", path.name)
    ]
    exact, folded = (finish(engine.run(model.rows), None, True) for engine in engines)
    assert cosines(folded, exact).min() > 0.999999


def bundle_with(bundle: Bundle, graph: str) -> Bundle:
    variant = msgspec.structs.replace(bundle.variants["fp32"], graph=graph, mapped=())
    return msgspec.structs.replace(bundle, variants={"fp32": variant})


def quantised_again(model: Model, stored: dict[str, Any]) -> dict[str, QuantizedLayers]:
    """What was chosen for each input, folded or not, from quantising it once more."""
    groups: dict[str, list[Any]] = {}
    for linear in model.file.linears():
        groups.setdefault(linear.x, []).append(model.file.array(linear.weight))
    quantized = {x: quantize(model.activations[x], weights) for x, weights in groups.items()}
    for x, value in quantized.items():
        if f"{x}.smooth" in stored:
            kept = numpy_helper.to_array(stored[f"{x}.smooth"])
            np.testing.assert_allclose(kept * value.divisors, 1, rtol=1e-5)
    return quantized


def undone(
    copy: Any, node: Any, linear: Any, model: Model, again: dict[str, QuantizedLayers]
) -> Any:
    """The float layer that stands where the integer product is.

    Its outputs are divided as the stored scales and bias say: by the bias, or, without one, by the
    ratio of stored and own scales.
    """
    stored = {tensor.name: tensor for tensor in copy.graph.initializer}
    group = [layer for layer in model.file.linears() if layer.x == linear.x]
    layers = again[linear.x]
    place = [layer.node.name for layer in group].index(node.name)
    factor = numpy_helper.to_array(stored[node.input[3]]) / layers.scales[place]
    matrix = model.file.array(linear.weight) * layers.divisors[:, None] * factor
    name = f"{node.name}.float"
    copy.graph.initializer.append(numpy_helper.from_array(matrix.astype(np.float32), name))
    inputs = [node.input[0], name, *([node.input[6]] if len(node.input) > 6 else [])]
    return onnx.helper.make_node("Gemm" if len(inputs) > 2 else "MatMul", inputs, node.output)
