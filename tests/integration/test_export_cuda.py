"""CUDA's graph where there is no GPU: its structure, and its numbers from an emulation in numpy.

PackedMultiHeadAttention, RotaryEmbedding and QuickGelu are written here from ONNX Runtime's
description of its operators (docs/ContribOperators.md); the code under test has no part in them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from predictor.bundle.manifest import read_bundle
from predictor.bundle.source import ModelSource, read_source
from predictor.engine.engine import OnnxEngine
from predictor.engine.packing import PACKED_INPUTS, pack
from predictor.engine.pooling import finish
from predictor.engine.tokenizer import Tokenizer
from predictor.export.build import Built, build
from predictor.export.convert import convert_cached
from predictor.export.graph import FloatType
from predictor.similarity import cosines
from predictor.types import FloatRows
from tests.reference.families.folders import assemble
from tests.reference.families.texts import family_texts

FAMILIES = ("bert", "mpnet", "modernbert", "nomic", "gte-published")
# Families whose attention has a seventh input: relative positions, a local window.
BIASED = ("mpnet", "modernbert")
HEADS = 4
Array = Any


class PackedMultiHeadAttention(OpRun):
    """Tokens `[T, hidden]` end to end; `token_offset` `[B, S]` lists first the places that they
    have in `[B, S]`, then the empty places. Each text ends where the next begins.
    """

    op_domain = "com.microsoft"

    def _run(  # noqa: PLR0917  the operator's inputs and attributes
        self,
        query: Array,
        key: Array,
        value: Array,
        bias: Array = None,
        token_offset: Array = None,
        cumulative_sequence_length: Array = None,
        attention_bias: Array = None,
        num_heads: int | None = None,
        scale: float | None = None,
        mask_filter_value: float | None = None,
    ) -> tuple[Array]:
        assert bias is None
        assert num_heads == HEADS
        assert not scale, "the graph leaves it at 1 / sqrt(head)"
        assert query.dtype == key.dtype == value.dtype
        assert attention_bias is None or attention_bias.dtype == query.dtype
        assert token_offset.dtype == cumulative_sequence_length.dtype == np.int32
        batch, longest = token_offset.shape
        total, width = query.shape
        lengths = np.diff(cumulative_sequence_length)
        assert len(lengths) == batch
        assert (lengths.max(), lengths.sum()) == (longest, total)
        places = token_offset.reshape(-1)[:total]
        assert sorted(token_offset.reshape(-1)) == list(range(batch * longest))
        real = (np.arange(longest) < lengths[:, None]).reshape(-1)
        assert real[places].all()

        def padded(x: Array) -> Array:
            wide = np.zeros((batch * longest, width), dtype=np.float32)
            wide[places] = x
            return wide.reshape(batch, longest, HEADS, -1).transpose(0, 2, 1, 3)

        q = padded(query)
        k = padded(key)
        v = padded(value)
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
        if attention_bias is not None:
            assert attention_bias.shape[0] in (1, batch)
            assert attention_bias.shape[1] in (1, num_heads)
            assert attention_bias.shape[2:] == (longest, longest)
            scores = scores + attention_bias
        scores[np.broadcast_to(~real.reshape(batch, 1, 1, longest), scores.shape)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = weights / weights.sum(axis=-1, keepdims=True) @ v
        flat = mixed.transpose(0, 2, 1, 3).reshape(batch * longest, width)
        return (flat[places].astype(query.dtype),)


class RotaryEmbedding(OpRun):
    """`[1, T, hidden]`, halves of a head rotated against each other by the angle of the place."""

    op_domain = "com.microsoft"

    def _run(  # noqa: PLR0917  the operator's inputs and attributes
        self,
        x: Array,
        position_ids: Array,
        cosines: Array,
        sines: Array,
        interleaved: int | None = None,
        is_packed_batching: int | None = None,
        num_heads: int | None = None,
        rotary_embedding_dim: int | None = None,
        scale: float | None = None,
    ) -> tuple[Array]:
        assert not interleaved
        assert not rotary_embedding_dim
        assert x.dtype == cosines.dtype == sines.dtype
        assert (position_ids.dtype, position_ids.shape) == (np.dtype(np.int64), x.shape[:2])
        assert position_ids.max() < len(cosines)
        half = cosines.shape[1]
        heads = x.astype(np.float32).reshape(*x.shape[:2], -1, 2, half)
        first = heads[..., 0, :]
        second = heads[..., 1, :]
        cos = cosines[position_ids][:, :, None].astype(np.float32)
        sin = sines[position_ids][:, :, None].astype(np.float32)
        turned = np.stack([first * cos - second * sin, second * cos + first * sin], axis=3)
        return (turned.reshape(x.shape).astype(x.dtype),)


class QuickGelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Array, alpha: float | None = None) -> tuple[Array]:
        wide = x.astype(np.float32)
        return ((wide / (1 + np.exp(-(alpha or 1.702) * wide))).astype(x.dtype),)


EMULATED = [PackedMultiHeadAttention, RotaryEmbedding, QuickGelu]


@dataclass(frozen=True)
class Packed:
    """A family's sources, some rows of token ids, and the padded float32 graph's vectors."""

    name: str
    source: ModelSource
    folder: Path
    rows: list[list[int]]
    expected: FloatRows

    def built(self, dtype: FloatType) -> tuple[Built, onnx.ModelProto]:
        path = self.folder / f"{dtype.__name__}.onnx"
        built = build(self.source, path, dtype=dtype, packed_attention=True)
        return built, onnx.load(str(path))

    def emulated(self, dtype: FloatType) -> FloatRows:
        built, model = self.built(dtype)
        feed = pack(
            self.rows,
            [value.name for value in model.graph.input],
            position_offset=built.encoder.position_offset,
            pad_id=self.source.pad_id,
        )
        with np.errstate(over="ignore"):  # of exponentials in float16
            outputs: Any = ReferenceEvaluator(model, new_ops=EMULATED).run(None, feed)
        (vectors,) = outputs
        assert vectors.dtype == np.float32
        return finish(vectors, None, True)


@pytest.fixture(scope="module", params=FAMILIES)
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("cuda")
    source = read_source(assemble(request.param, folder / "source"))
    version = convert_cached(source, folder / "cache", threads=2)
    bundle = read_bundle(version)
    tokenizer = Tokenizer(version / "tokenizer.json", bundle.max_length)
    # Short, long, cut, padding inside a text: lengths of 2 to 128, more tokens than positions.
    rows = tokenizer.encode([*family_texts()[::3], *family_texts()[-6:]]).ids
    expected = finish(OnnxEngine(version, bundle, threads=2).run(rows), None, True)
    return Packed(request.param, source, folder, rows, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_inputs_are_those_that_are_packed(packed: Packed, dtype: FloatType) -> None:
    _, model = packed.built(dtype)
    names = {value.name for value in model.graph.input}
    assert {"input_ids", "token_offset", "cumulative_sequence_length"} <= names
    assert names <= set(PACKED_INPUTS)
    assert "places" not in names, "the padded view is only for the other attention"
    for value in model.graph.input:
        kind, shape = PACKED_INPUTS[value.name]
        dims = [dim.dim_param for dim in value.type.tensor_type.shape.dim]
        assert value.type.tensor_type.elem_type == helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        assert dims == list(shape)
    (output,) = model.graph.output
    assert output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_every_layer_has_one_packed_attention_with_its_inputs(packed: Packed) -> None:
    _, model = packed.built(np.float16)
    nodes = [node for node in model.graph.node if node.op_type == "PackedMultiHeadAttention"]
    assert len(nodes) == packed.source.config.get("num_hidden_layers", 3)
    assert not {"FusedMatMul", "Softmax"} & {node.op_type for node in model.graph.node}
    made = {name for node in model.graph.node for name in node.output}
    for node in nodes:
        q, k, v, bias, offset, ends, *more = node.input
        assert {q, k, v} | set(more) <= made
        assert (bias, offset, ends) == ("", "token_offset", "cumulative_sequence_length")
        assert {attribute.name: attribute.i for attribute in node.attribute} == {"num_heads": HEADS}
        assert node.domain == "com.microsoft"
    biased = [len(node.input) == 7 for node in nodes]
    assert any(biased) == (packed.name in BIASED)
    assert all(biased) == (packed.name == "mpnet")


def test_weights_are_float16_and_pooling_float32(packed: Packed) -> None:
    """The head's and pooling's types are asserted by the emulation, which would not mix them."""
    _, model = packed.built(np.float16)
    large = [t for t in model.graph.initializer if np.prod(t.dims) > 64]
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    kinds = {t.data_type for t in large if t.data_type in floats}
    assert kinds == {onnx.TensorProto.FLOAT16}


def test_the_graph_passes_onnxs_checker(packed: Packed) -> None:
    for dtype in (np.float16, np.float32):
        packed.built(dtype)
        onnx.checker.check_model(str(packed.folder / f"{dtype.__name__}.onnx"))


def test_float32_emulated_gives_the_vectors_of_the_padded_graph(packed: Packed) -> None:
    assert cosines(packed.emulated(np.float32), packed.expected).min() >= 0.99999


def test_float16_emulated_is_near_them(packed: Packed) -> None:
    vectors = packed.emulated(np.float16)
    assert cosines(vectors, packed.expected).min() >= 0.999
    assert not np.array_equal(vectors, packed.expected)
