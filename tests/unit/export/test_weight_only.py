"""Weights in blocks of 32 with a scale each: how far off, and that the kernels read them so."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.export import weight_only
from predictor.export.graph import MICROSOFT
from predictor.export.onnx_file import OnnxFile
from predictor.export.weight_only import BLOCK, LARGEST, ZERO, blocks, write_weight_only
from predictor.similarity import cosines
from tests.unit.export import test_onnx_file as graphs


@settings(max_examples=60)
@given(
    rows=st.integers(1, 7),
    width=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 1e4]),
)
def test_no_weight_is_off_by_more_than_half_a_step_of_its_block(
    rows: int, width: int, seed: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    weight = (random.standard_normal((rows, width)) * scale).astype(np.float32)
    integers, scales = blocks(weight)
    count = -(-width // BLOCK)
    assert integers.dtype == np.uint8
    assert integers.shape == (rows, count, BLOCK)
    assert scales.dtype == np.float32
    assert scales.shape == (rows, count)
    assert ZERO - LARGEST <= integers.min() <= integers.max() <= ZERO + LARGEST
    restored = (integers.astype(np.float32) - ZERO) * scales[:, :, None]
    flat = restored.reshape(rows, -1)
    assert not flat[:, width:].any()
    steps = np.repeat(scales, BLOCK, axis=1)[:, :width]
    assert (np.abs(flat[:, :width] - weight) <= 0.5001 * steps).all()


def test_a_block_of_zeros_stays_zeros() -> None:
    integers, scales = blocks(np.zeros((2, 40), dtype=np.float32))
    assert (integers == ZERO).all()
    assert not scales.any()


def test_the_largest_weight_of_a_block_is_exact() -> None:
    weight = np.zeros((1, BLOCK), dtype=np.float32)
    weight[0, 3] = -2.54
    integers, scales = blocks(weight)
    assert integers[0, 0, 3] == ZERO - LARGEST
    assert (integers[0, 0, 3].astype(int) - ZERO) * scales[0, 0] == pytest.approx(-2.54)


@pytest.fixture
def file(tmp_path: Path) -> OnnxFile:
    return graphs.write(tmp_path / "model.onnx")


def written(file: OnnxFile) -> tuple[Path, list[str], int]:
    """The graph written, the kinds of its nodes, and how often `advance` was called."""
    calls: list[None] = []
    path = file.path.with_name("weights.onnx")
    write_weight_only(file, path, lambda: calls.append(None))
    graph = onnx.load(path, load_external_data=False).graph
    return path, [node.op_type for node in graph.node], len(calls)


def test_every_layer_of_the_encoder_is_replaced_and_the_head_is_not(file: OnnxFile) -> None:
    path, kinds, calls = written(file)
    assert kinds.count("MatMulNBits") == calls == 2
    assert kinds.count("Gemm") == 1
    assert "GatherBlockQuantized" not in kinds, "the table is too small to be worth it"
    graph = onnx.load(path, load_external_data=False).graph
    kept = {tensor.name for tensor in graph.initializer}
    assert not {"a.weight", "b.weight"} & kept
    assert {"head.0.weight", "words", "a.bias"} <= kept
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            assert node.domain == MICROSOFT
            assert {a.name: a.i for a in node.attribute if a.name in ("bits", "block_size")} == {
                "bits": 8,
                "block_size": BLOCK,
            }


def test_layers_and_tables_of_any_width_give_nearly_the_same(
    file: OnnxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widths of 40 and 24 are no multiples of a block."""
    exact = graphs.run(file.path)
    layers_only = graphs.run(written(file)[0])
    assert cosines(layers_only, exact).min() > 0.9998
    monkeypatch.setattr(weight_only, "TABLE_BYTES", 1)
    path, kinds, _ = written(file)
    assert kinds.count("GatherBlockQuantized") == 1
    vectors = graphs.run(path)
    assert cosines(vectors, exact).min() > 0.9998
    assert not np.array_equal(vectors, layers_only)


def test_the_result_is_that_of_the_restored_weights(file: OnnxFile) -> None:
    """The rounding of the weights is all that happens: activations stay float32."""
    weights = graphs.values()
    for name in ("a.weight", "b.weight"):
        integers, scales = blocks(np.ascontiguousarray(weights[name].T))
        flat = ((integers.astype(np.float32) - ZERO) * scales[:, :, None]).reshape(len(scales), -1)
        weights[name] = flat[:, : len(weights[name])].T
    inner = np.maximum(weights["words"][graphs.IDS] @ weights["a.weight"] + weights["a.bias"], 0)
    expected = inner @ weights["b.weight"] @ weights["head.0.weight"].T
    vectors = graphs.run(written(file)[0])
    assert cosines(vectors, expected).min() > 0.999995
