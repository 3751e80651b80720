"""The memory that loading a version takes is counted from what will be loaded."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from predictor.bundle.source import read_source
from predictor.export.convert import convert_cached
from predictor.repository.memory import MIB
from predictor.repository.memory_need import (
    CONVERSION_BYTES,
    FIXED_BYTES,
    WeightBytes,
    needed_bytes,
)
from predictor.settings import ModelSettings
from tests.deadlines import DEADLINE_S
from tests.integration.test_plain_onnx import HIDDEN, VOCABULARY, write_graph, write_model
from tests.reference.families.folders import assemble

ONE_THREAD = ModelSettings(threads=1, device="cpu")
TWO_THREADS = ModelSettings(threads=2, device="cpu")
FIXED = WeightBytes(0, 0).needed(1)
MEASURE = """
import sys
from pathlib import Path
from predictor.repository import load_model, needed_bytes
from predictor.repository.memory import resident_bytes
from predictor.settings import ModelSettings
settings = ModelSettings(model_dir=sys.argv[1], threads=int(sys.argv[2]), device="cpu")
needed = needed_bytes(Path(sys.argv[1]), settings)
before = resident_bytes()
model = load_model(settings)
print(needed, resident_bytes() - before)
"""


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)


def test_other_formats_of_the_same_weights_do_not_count(tmp_path: Path) -> None:
    """A snapshot of a hub: 1 GB on disk for a small model."""
    folder = assemble("bert", tmp_path / "bert")
    alone = needed_bytes(folder, TWO_THREADS)
    for name in (
        "pytorch_model.bin",
        "tf_model.h5",
        "rust_model.ot",
        "openvino/openvino_model.bin",
        "onnx/model.onnx",
        "onnx/model_O4.onnx",
    ):
        sparse(folder / name, 150 * MIB)
    assert needed_bytes(folder, TWO_THREADS) == alone < FIXED + CONVERSION_BYTES + MIB


def test_half_precision_counts_as_the_float32_that_it_becomes(tmp_path: Path) -> None:
    whole = needed_bytes(assemble("bert", tmp_path / "whole"), ONE_THREAD)
    half = needed_bytes(assemble("bert--float16", tmp_path / "half"), ONE_THREAD)
    assert half == whole


def test_a_bundle_needs_its_graph_and_no_file_of_others(tmp_path: Path) -> None:
    source = read_source(assemble("bert", tmp_path / "bert"))
    bundle = convert_cached(source, tmp_path / "cache", threads=1)
    alone = needed_bytes(bundle, ONE_THREAD)
    sparse(bundle / "model.int8.onnx", 200 * MIB)
    assert FIXED < needed_bytes(bundle, ONE_THREAD) == alone < FIXED + MIB
    assert needed_bytes(bundle, TWO_THREADS) > alone


def test_a_graph_that_somebody_else_made_counts_for_each_session(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    size = (folder / "onnx" / "model.onnx").stat().st_size
    assert needed_bytes(folder, ONE_THREAD) == FIXED_BYTES + 2 * size
    assert needed_bytes(folder, TWO_THREADS) == FIXED_BYTES + 3 * size


def test_the_file_that_a_setting_names_counts(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    table = np.zeros((len(VOCABULARY), 8 * HIDDEN), dtype=np.float32)
    write_graph(folder / "onnx" / "model_O4.onnx", table=table)
    named = ModelSettings(threads=1, device="cpu", onnx_file="onnx/model_O4.onnx")
    assert needed_bytes(folder, named) > needed_bytes(folder, ONE_THREAD)


@pytest.mark.parametrize("content", ["", "{", '{"architectures": ["BertForQuestionAnswering"]}'])
def test_what_cannot_be_loaded_needs_little(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    sparse(tmp_path / "model.safetensors", 500 * MIB)
    assert needed_bytes(tmp_path, TWO_THREADS) == FIXED_BYTES
    (tmp_path / "bundle.json").write_text(content)
    assert needed_bytes(tmp_path, TWO_THREADS) == FIXED_BYTES


@pytest.mark.parametrize("external", [False, True], ids=["inside", "beside"])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_counted_is_what_is_used(tmp_path: Path, threads: int, external: bool) -> None:
    """60 MB of weights, in the graph or in a file beside it."""
    folder = write_model(tmp_path / "model")
    table = np.random.default_rng(3).standard_normal((2_000_000, HIDDEN)).astype(np.float32)
    path = folder / "onnx" / "model.onnx"
    write_graph(path, table=table)
    if external:
        graph = onnx.load(path)
        onnx.save(graph, path, save_as_external_data=True, location="model.onnx_data")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(threads)],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    needed, used = map(int, done.stdout.split())
    assert used <= needed
