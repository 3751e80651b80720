"""A bundle is made once, whole or not at all, and a damaged one is noticed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from predictor.bundle.canonical_vectors import read_canonical
from predictor.bundle.manifest import read_bundle
from predictor.bundle.source import read_source
from predictor.engine.engine import OnnxEngine
from predictor.engine.pooling import finish
from predictor.errors import BadModel
from predictor.export import convert
from predictor.similarity import cosines
from predictor.types import Pooling

SMALL = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 30522,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}


def small_weights(prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    h = SMALL["hidden_size"]
    i = SMALL["intermediate_size"]
    layer = "encoder.layer.0."
    shapes: dict[str, tuple[Any, ...]] = {
        "embeddings.word_embeddings.weight": (SMALL["vocab_size"], h),
        "embeddings.position_embeddings.weight": (64, h),
        "embeddings.token_type_embeddings.weight": (2, h),
        "embeddings.LayerNorm.weight": (h,),
        "embeddings.LayerNorm.bias": (h,),
    }
    for name, shape in {
        "attention.self.query": (h, h),
        "attention.self.key": (h, h),
        "attention.self.value": (h, h),
        "attention.output.dense": (h, h),
        "attention.output.LayerNorm": (h,),
        "intermediate.dense": (i, h),
        "output.dense": (h, i),
        "output.LayerNorm": (h,),
    }.items():
        shapes[f"{layer}{name}.weight"] = shape
        shapes[f"{layer}{name}.bias"] = shape[:1]
    return {
        prefix + name: random.standard_normal(shape).astype(np.float32) / 4
        for name, shape in shapes.items()
    }


@pytest.fixture
def small(tmp_path: Path, model_dir: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    shutil.copyfile(model_dir / "tokenizer.json", folder / "tokenizer.json")
    (folder / "config.json").write_text(json.dumps(SMALL))
    save_file(small_weights(), folder / "model.safetensors")
    return folder


def converted(folder: Path, pooling: Pooling | None = None) -> Path:
    return convert.convert_cached(read_source(folder, pooling), folder.parent / "cache", 1)


def test_a_bundle_is_whole_and_made_once(small: Path) -> None:
    first = converted(small)
    bundle = read_bundle(first)
    assert (bundle.family, bundle.dimensions, bundle.max_length) == ("bert", 32, 64)
    assert (bundle.schema, bundle.tasks) == (3, ("embed",))
    assert json.loads((first / "bundle.json").read_bytes())["tasks"] == ["embed"]
    assert bundle.variants["fp32"].proof.reference == "self"
    files = ["model.onnx", "model.onnx.data", "tokenizer.json", "canonical.npz"]
    assert sorted(bundle.files) == sorted(files)
    stamp = (first / "bundle.json").stat().st_mtime_ns
    assert converted(small) == first
    assert (first / "bundle.json").stat().st_mtime_ns == stamp
    texts, vectors = read_canonical(first)
    assert len(texts) == len(vectors) >= 30


def test_other_weights_or_settings_are_another_bundle(small: Path) -> None:
    first = converted(small)
    assert converted(small, Pooling.CLS) != first
    weights = load_file(small / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] += 1
    save_file(weights, small / "model.safetensors")
    assert converted(small) != first


def test_the_prefix_of_a_checkpoint_with_a_head_is_found(small: Path) -> None:
    plain = read_canonical(converted(small))[1]
    save_file(small_weights("bert."), small / "model.safetensors")
    np.testing.assert_allclose(read_canonical(converted(small))[1], plain, atol=1e-6)


def numpy_bert(weights: dict[str, Any], ids: list[int]) -> Any:
    """The same model written down plainly, one text, float64: an independent reference."""

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return x @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"]

    def gelu(x: Any) -> Any:
        from math import erf

        return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))

    e = "embeddings."
    p = "encoder.layer.0."
    x = weights[e + "word_embeddings.weight"][ids].astype(np.float64)
    x = x + weights[e + "position_embeddings.weight"][: len(ids)]
    x = norm(x + weights[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    heads = [
        linear(x, f"{p}attention.self.{n}").reshape(len(ids), 4, 8).transpose(1, 0, 2)
        for n in ("query", "key", "value")
    ]
    scores = heads[0] @ heads[1].transpose(0, 2, 1) / np.sqrt(8)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    attended = (scores / scores.sum(-1, keepdims=True)) @ heads[2]
    attended = attended.transpose(1, 0, 2).reshape(len(ids), 32)
    x = norm(x + linear(attended, p + "attention.output.dense"), p + "attention.output.LayerNorm")
    inner = gelu(linear(x, p + "intermediate.dense"))
    return norm(x + linear(inner, p + "output.dense"), p + "output.LayerNorm")


POOLED: dict[Pooling, Any] = {
    Pooling.CLS: lambda h: h[0],
    Pooling.LAST_TOKEN: lambda h: h[-1],
    Pooling.MAX: lambda h: h.max(0),
    Pooling.MEAN: lambda h: h.mean(0),
    Pooling.MEAN_SQRT_LEN: lambda h: h.sum(0) / np.sqrt(len(h)),
    Pooling.WEIGHTED_MEAN: lambda h: np.average(h, axis=0, weights=np.arange(1, len(h) + 1)),
}


@pytest.mark.parametrize("pooling", list(Pooling))
def test_the_graph_computes_what_the_architecture_says(small: Path, pooling: Pooling) -> None:
    folder = converted(small, pooling)
    engine = OnnxEngine(folder, read_bundle(folder), threads=1)
    rows = [[101, 7592, 102], [101, *range(2000, 2040), 102], [101, 102]]
    hidden = [numpy_bert(small_weights(), row) for row in rows]
    expected = np.stack([POOLED[pooling](h) for h in hidden])
    vectors = finish(engine.run(rows), None, True)
    assert cosines(vectors, expected.astype(np.float32)).min() > 0.999999


def test_an_interrupted_conversion_leaves_nothing(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "run_float32", interrupt)
    with pytest.raises(KeyboardInterrupt):
        converted(small)
    assert [p for p in (small.parent / "cache").rglob("*") if p.is_file()] == []


def test_a_full_disk_is_one_sentence(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "write_float32", full)
    with pytest.raises(
        BadModel, match=r"cannot be written \(No space left on device\); give --cache-dir"
    ):
        converted(small)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_act": "mish"}, "activation 'mish' is not supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"num_attention_heads": 5}, "32 hidden do not split into 5 heads"),
        ({"hidden_size": "many"}, "hidden_size is 'many', not a whole number"),
        ({"intermediate_size": 65}, r"has shape \[64, 32\], config.json says \[65, 32\]"),
        ({"num_hidden_layers": 2}, "has no tensor 'encoder.layer.1"),
        ({"vocab_size": 100}, r"has shape \[30522, 32\]"),
    ],
)
def test_a_config_that_does_not_fit_is_a_sentence(
    small: Path, change: dict[str, Any], sentence: str
) -> None:
    (small / "config.json").write_text(json.dumps(SMALL | change))
    with pytest.raises(BadModel, match=sentence):
        converted(small)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(small: Path) -> None:
    weights = small_weights()
    weights["embeddings.word_embeddings.weight"] = np.ascontiguousarray(
        weights["embeddings.word_embeddings.weight"][:30000]
    )
    save_file(weights, small / "model.safetensors")
    (small / "config.json").write_text(json.dumps(SMALL | {"vocab_size": 30000}))
    with pytest.raises(BadModel, match=r"has 30522 ids, the model.s table has 30000"):
        converted(small)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json"])
def test_a_damaged_file_is_noticed_by_its_digest(small: Path, name: str) -> None:
    folder = converted(small)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(BadModel, match=f"{name}: differs from the digest"):
        read_bundle(folder)
