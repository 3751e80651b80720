"""The real engine on the real model: same text, same vector, and what a bad file says."""

from pathlib import Path

import numpy as np
import pytest

from predictor.bundle.manifest import read_bundle
from predictor.engine.engine import KNOWN_INPUTS, NullEngine, OnnxEngine, find_inputs, find_output
from predictor.engine.pooling import finish
from predictor.engine.reference_runs import run_unbatched_and_batched
from predictor.engine.session import resolve_device
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, BadSetting
from predictor.similarity import cosines
from tests.reference.texts import texts


@pytest.fixture(scope="module")
def engine(bundle_dir: Path) -> OnnxEngine:
    return OnnxEngine(bundle_dir, read_bundle(bundle_dir), threads=2)


@pytest.fixture(scope="module")
def rows(bundle_dir: Path) -> list[list[int]]:
    return Tokenizer(bundle_dir / "tokenizer.json", 256).encode(texts()).ids


@pytest.mark.slow
def test_every_vector_is_the_models_own(engine: OnnxEngine, rows: list[list[int]]) -> None:
    """Cosine to sentence-transformers on torch fp32; the difference that is allowed is rounding."""
    with np.load(Path(__file__).parents[2] / "reference/minilm.npz") as reference:
        expected = reference["vectors"]
        counts = reference["token_counts"]
    assert [len(row) for row in rows] == counts.tolist()
    unbatched, batched = run_unbatched_and_batched(engine, rows)
    assert cosines(unbatched, expected).min() >= 0.99999
    assert cosines(batched, expected).min() >= 0.99999
    assert np.abs(unbatched - batched).max() <= 1e-5


def test_a_row_does_not_depend_on_its_batch_mates(
    engine: OnnxEngine, rows: list[list[int]]
) -> None:
    random = np.random.default_rng(5)
    subset = [rows[index] for index in random.choice(len(rows), 24, replace=False)]
    straight = finish(engine.run(subset), None, True)
    order = random.permutation(len(subset))
    shuffled = finish(engine.run([subset[index] for index in order]), None, True)
    assert np.abs(shuffled - straight[order]).max() <= 1e-5


def test_the_null_engine_gives_as_many_rows_as_asked() -> None:
    engine = NullEngine(8, threads=1)
    assert engine.run([[1]] * 3).shape == (3, 8)
    assert engine.run([[1]] * 5000).shape == (5000, 8)


def test_a_pooled_output_is_preferred() -> None:
    outputs: dict[str, list[object]] = {
        "last_hidden_state": ["b", "s", 8],
        "sentence_embedding": ["b", 8],
    }
    assert find_output(outputs, Path("m")) == ("sentence_embedding", True)
    del outputs["sentence_embedding"]
    assert find_output(outputs, Path("m")) == ("last_hidden_state", False)


def test_unknown_outputs_and_inputs_are_named() -> None:
    with pytest.raises(BadModel, match="has outputs logits; known are"):
        find_output({"logits": ["b", 2]}, Path("m"))
    with pytest.raises(BadModel, match="wants input 'pixel_values'"):
        find_inputs({"pixel_values": "tensor(float)"}, Path("m"), KNOWN_INPUTS)
    with pytest.raises(BadModel, match=r"'input_ids' is tensor\(int32\)"):
        find_inputs({"input_ids": "tensor(int32)"}, Path("m"), KNOWN_INPUTS)


def test_cuda_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BadSetting, match="--device cuda"):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"
