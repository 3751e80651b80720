"""Vectors from a directory: the model's own prompt, order, and what cannot be compared."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.comparison import vectors
from predictor.engine.engine import NullEngine, Rows
from predictor.engine.pooling import finish
from predictor.errors import BadModel, BadSetting, EngineError
from predictor.progress import Progress
from predictor.repository import LoadedModel, load_model
from predictor.settings import ModelSettings
from predictor.types import FloatRows

QUIET = Progress(quiet=True)


def test_vectors_are_those_of_the_canonical_texts(bundle_dir: Path) -> None:
    place = vectors.find(str(bundle_dir), "auto")
    result = vectors.vectors_of(place, CANONICAL_TEXTS, QUIET)
    with np.load(bundle_dir / "canonical.npz") as data:
        np.testing.assert_allclose(finish(result.raw, None, True), data["vectors"], atol=1e-5)
    assert np.abs(np.linalg.norm(result.raw, axis=1) - 1).max() > 0.1, "they are not normalised"
    assert result.truncated == 1
    assert result.model.startswith("bert, fp32, revision ")


class Prompted:
    """`load_model` with a default prompt, or with an engine that fails."""

    def __init__(self, prompt: str = "", engine: NullEngine | None = None) -> None:
        self._prompt, self._engine = prompt, engine

    def __call__(self, settings: ModelSettings) -> LoadedModel:
        loaded = load_model(settings)
        prompts = {"prompts": {"query": self._prompt}, "default_prompt_name": "query"}
        bundle = msgspec.structs.replace(loaded.bundle, **prompts)
        return dataclasses.replace(loaded, bundle=bundle, engine=self._engine or loaded.engine)


def test_the_default_prompt_stands_before_each_text(
    bundle_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = vectors.find(str(bundle_dir), "fp32")
    expected = vectors.vectors_of(place, ["query: a", "query: b"], QUIET).raw
    monkeypatch.setattr(vectors, "load_model", Prompted("query: "))
    result = vectors.vectors_of(place, ["a", "b"], QUIET)
    np.testing.assert_allclose(result.raw, expected, atol=1e-6)
    assert result.model.endswith("after the prompt 'query: '")


class NotANumber(NullEngine):
    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        return super().run(rows) * np.float32(np.nan)


class Broken(NullEngine):
    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        raise EngineError("the engine failed on this batch")


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        (NotANumber(384, 1), "2 of 2 vectors are not finite"),
        (Broken(384, 1), "the engine failed on this batch"),
    ],
)
def test_an_engine_that_gives_no_vectors_is_one_line(
    bundle_dir: Path, monkeypatch: pytest.MonkeyPatch, engine: NullEngine, sentence: str
) -> None:
    monkeypatch.setattr(vectors, "load_model", Prompted(engine=engine))
    place = vectors.find(str(bundle_dir), "auto")
    with pytest.raises(BadModel, match=sentence):
        vectors.vectors_of(place, ["a", "b"], QUIET)


def test_a_missing_file_is_reported_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no such directory, and no URL"):
        vectors.find(str(tmp_path / "nowhere"), "auto")
    with pytest.raises(BadModel, match="no model here"):
        vectors.find(str(tmp_path), "auto")
    with pytest.raises(BadSetting, match="a running server has chosen its variant; 'int8'"):
        vectors.find("http://127.0.0.1:1", "int8")
