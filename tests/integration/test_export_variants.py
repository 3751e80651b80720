"""The variants of every family: near float32, the same alone as among others, and served."""

import dataclasses
import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest

from predictor import repository
from predictor.bundle.canonical_vectors import read_canonical, vectors_key
from predictor.bundle.manifest import (
    CANONICAL,
    FP32,
    MANIFEST,
    TOKENIZER,
    VARIANTS,
    Bundle,
    VariantName,
    read_bundle,
    sha256,
)
from predictor.bundle.source import read_source
from predictor.engine.engine import OnnxEngine
from predictor.engine.pooling import finish
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, BadSetting
from predictor.export import proof
from predictor.export.acquire import Acquired
from predictor.export.graph import MICROSOFT
from predictor.export.job import ExportOptions
from predictor.export.job import export as export_here
from predictor.export.variants import CPU_TWIN, check_variants
from predictor.progress import Progress
from predictor.settings import ModelSettings, VariantChoice
from predictor.similarity import cosines
from predictor.types import FloatRows
from tests.integration.test_export import export, left_in
from tests.reference.families.folders import assemble
from tests.reference.families.texts import family_texts

FAMILIES = (
    "bert",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("mpnet", "modernbert", "nomic", "gte-published")
    ),
)
# Small models of random weights are rounded worse than trained ones; what these may not reach is
# shown with numbers in tests/unit/export/test_proof.py.
FAR = {"min_cosine": 0.85, "mean_cosine": 0.99}


@dataclass(frozen=True)
class Model:
    version: Path
    bundle: Bundle
    rows: list[list[int]]

    def engine(self, variant: VariantName) -> OnnxEngine:
        return OnnxEngine(self.version, self.bundle, threads=2, variant=variant)


def made(name: str, folder: Path, *variants: VariantName) -> Model:
    source = assemble(name, folder / "source")
    options = ExportOptions(variants=(FP32, *variants), with_torch=False, threads=2)
    done = export_here(Acquired(source, name), folder / "model", options, Progress(quiet=True))
    bundle = read_bundle(done.version)
    tokenizer = Tokenizer(done.version / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    return Model(done.version, bundle, tokenizer.encode(family_texts()).ids)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A bundle with all variants; 8 bits may be as far from float32 as these models are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "INT8_LIMITS", FAR)
        patch.setattr(proof, "WEIGHT_ONLY_LIMITS", FAR)
        return made(request.param, tmp_path_factory.mktemp("variants"), *VARIANTS[1:])


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A bundle with all variants, within all limits."""
    return made("bert", tmp_path_factory.mktemp("bert"), *VARIANTS[1:])


@pytest.fixture
def version_copy(bert: Model, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(bert.version, tmp_path / "1")


# The graphs


def test_every_variant_is_proven_and_nothing_else_is_left(model: Model) -> None:
    assert set(model.bundle.variants) == set(VARIANTS)
    graphs = {variant.graph for variant in model.bundle.variants.values()}
    assert left_in(model.version) == sorted(
        [*graphs, *(f"{graph}.data" for graph in graphs), TOKENIZER, CANONICAL, MANIFEST]
    )
    assert f"{CPU_TWIN}.data" not in model.bundle.files
    for name, variant in model.bundle.variants.items():
        assert variant.proof.texts == 320
        assert (name == FP32) == (variant.proof.reference == "self")
        assert variant.device == ("cuda" if name == "fp16" else "any")


def test_fp16_is_within_its_limits_and_says_that_no_gpu_was_there(model: Model) -> None:
    proven = model.bundle.variants["fp16"].proof
    assert proven.limits == proof.FP16_LIMITS
    assert proven.min_cosine >= 0.999
    assert proven.batch_error <= proof.FP16_BATCH_ERROR
    assert "not run on a GPU" in proven.note


@pytest.mark.parametrize("name", ["int8", "int8-weights"])
def test_8_bits_are_as_near_as_the_proof_says(model: Model, name: VariantName) -> None:
    """On other texts than the proof's, and against float32 run here."""
    exact = finish(model.engine(FP32).run(model.rows), None, True)
    near = finish(model.engine(name).run(model.rows), None, True)
    cosine = cosines(near, exact)
    proven = model.bundle.variants[name].proof
    assert cosine.mean() >= proven.mean_cosine - 0.005
    assert cosine.min() >= proven.min_cosine - 0.05
    assert not np.array_equal(near, exact)


def in_batches(engine: OnnxEngine, rows: list[list[int]], size: int, *, wide: bool) -> FloatRows:
    order = np.random.default_rng(size).permutation(len(rows))
    batches = np.array_split(order, -(-len(rows) // size))
    results = [engine.run([rows[i] for i in batch], wide=wide) for batch in batches]
    vectors = np.empty((len(rows), results[0].shape[1]), dtype=np.float32)
    vectors[order] = np.concatenate(results)
    return vectors


def test_int8_gives_the_same_bits_alone_and_in_any_batch(model: Model) -> None:
    engine = model.engine("int8")
    unbatched = np.concatenate([engine.run([row]) for row in model.rows])
    for size in (2, 7, 16, len(model.rows)):
        for wide in (False, True):
            together = in_batches(engine, model.rows, size, wide=wide)
            np.testing.assert_array_equal(together, unbatched)


def test_int8_is_one_integer_product_a_layer_and_nothing_is_scaled_by_the_batch(
    model: Model,
) -> None:
    int8 = onnx.load(model.version / "model.int8.onnx", load_external_data=False).graph
    fp32 = onnx.load(model.version / "model.onnx", load_external_data=False).graph
    kinds = [node.op_type for node in int8.node]
    stored = {tensor.name for tensor in fp32.initializer}
    layers = [
        node for node in fp32.node if node.op_type in ("Gemm", "MatMul") and node.input[1] in stored
    ]
    assert kinds.count("MatMulIntegerToFloat") == len(layers) > 10
    assert not {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "Gemm", "MatMul"} & set(kinds)
    for node in int8.node:
        if node.op_type == "MatMulIntegerToFloat":
            assert node.domain == MICROSOFT
            zero = next(t for t in int8.initializer if t.name == node.input[4])
            weights = next(t for t in int8.initializer if t.name == node.input[1])
            assert (zero.data_type, weights.data_type) == (
                onnx.TensorProto.UINT8,
                onnx.TensorProto.INT8,
            )


def test_a_head_stays_float32(tmp_path: Path) -> None:
    model = made("bert--dense-tanh", tmp_path, "int8", "int8-weights")
    for name in ("int8", "int8-weights"):
        graph = onnx.load(model.version / f"model.{name}.onnx", load_external_data=False).graph
        floats = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")]
        assert [node.input[1] for node in floats] == ["head.0.weight"]


# Refusals


def test_an_export_out_of_its_limits_says_the_figure_and_leaves_nothing(tmp_path: Path) -> None:
    source = assemble("modernbert", tmp_path / "source")
    line = export(source, "-o", tmp_path / "out", "--variants", "int8").refusal()
    assert re.fullmatch(
        r"int8: out of tolerance against fp32: min_cosine 0\.9\d+, limit 0\.985(; .*)?", line
    )
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("name", VARIANTS[1:])
def test_a_family_without_a_builder_has_no_variants(tmp_path: Path, name: VariantName) -> None:
    source = dataclasses.replace(
        read_source(assemble("bert", tmp_path / "source")), family="electra"
    )
    check_variants(source, ["fp32"])
    with pytest.raises(BadSetting, match=f"--variants {name}: family 'electra' has no builder"):
        check_variants(source, ["fp32", name])


# Served


def served(folder: Path, variant: VariantChoice = "auto") -> repository.LoadedModel:
    settings = ModelSettings(model_dir=str(folder), threads=2, device="cpu", variant=variant)
    return repository.load_model(settings)


@pytest.mark.parametrize(
    ("choice", "device", "expected"),
    [
        ("auto", "cpu", ["int8", "fp32"]),
        ("auto", "cuda", ["fp16", "fp32"]),
        ("int8-weights", "cpu", ["int8-weights"]),
        ("fp32", "cuda", ["fp32"]),
        ("fp16", "cuda", ["fp16"]),
    ],
)
def test_which_variants_are_tried(
    bert: Model, choice: VariantChoice, device: Literal["cpu", "cuda"], expected: list[str]
) -> None:
    assert repository.candidate_variants(bert.bundle, choice, device) == expected


def test_auto_serves_int8_with_its_canonical_vectors(bert: Model) -> None:
    loaded = served(bert.version)
    assert (loaded.variant, loaded.device) == ("int8", "cpu")
    texts, vectors = read_canonical(bert.version, "int8")
    rows = loaded.tokenizer.encode(texts).ids
    assert cosines(finish(loaded.engine.run(rows), None, True), vectors).min() > 0.9999


@pytest.mark.parametrize("name", ["fp32", "int8-weights"])
def test_a_variant_that_is_asked_for_is_served(bert: Model, name: VariantChoice) -> None:
    assert served(bert.version, name).variant == name


def tamper(folder: Path, name: VariantName) -> None:
    """Other canonical vectors of one variant, and the digests written anew."""
    with np.load(folder / CANONICAL) as data:
        arrays = dict(data)
    arrays[vectors_key(name)] = np.roll(arrays[vectors_key(name)], 1, axis=0)
    np.savez(folder / CANONICAL, **arrays)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"] = {file: sha256(folder / file) for file in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_auto_falls_back_to_float32_with_a_warning(
    version_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tamper(version_copy, "int8")
    with caplog.at_level(logging.WARNING):
        assert served(version_copy).variant == "fp32"
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("not serving int8, trying fp32: ")
    assert "canonical vectors of int8 are not reproduced: smallest cosine" in warning


def test_a_variant_that_is_asked_for_is_not_replaced_by_another(version_copy: Path) -> None:
    tamper(version_copy, "int8")
    with pytest.raises(BadModel, match="canonical vectors of int8 are not reproduced"):
        served(version_copy, "int8")


def test_fp16_on_a_cpu_is_one_line(bert: Model) -> None:
    with pytest.raises(BadModel) as raised:
        served(bert.version, "fp16")
    assert str(raised.value) == ("--variant fp16: this graph runs on CUDA only, the device is cpu")
