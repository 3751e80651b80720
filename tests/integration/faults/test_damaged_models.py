"""Models that cannot be converted: one line, and nothing left behind."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from predictor.errors import BadModel
from tests.integration.faults.damaged import (
    HIDDEN,
    all_of,
    change,
    convert,
    cut,
    flip,
    load,
    put,
    serve,
)
from tests.integration.faults.troubled import (
    client_of,
    running,
)
from tests.integration.test_plain_onnx import VOCABULARY


def test_the_undamaged_model_is_served(tiny: Path, tmp_path: Path) -> None:
    """Without it the tests below would prove nothing."""
    flags = [f"--model-dir={tiny}", f"--cache-dir={tmp_path / 'cache'}", "--model_name=tiny"]
    with running(*flags) as server, client_of(server) as client:
        (vector,) = client.post("/embed", json={"inputs": "abc"}).json()
    assert len(vector) == HIDDEN
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated-safetensors": (
        lambda folder: cut(folder / "model.safetensors"),
        "model.safetensors: not a readable safetensors file: ",
    ),
    "garbage-tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_bytes(b"\0garbage"),
        "tokenizer.json: not a readable tokenizer: ",
    ),
    "config-without-a-key": (
        lambda folder: change(folder / "config.json", num_attention_heads=...),
        "config.json: num_attention_heads is missing",
    ),
    "unknown-pooling": (
        lambda folder: put(folder / "1_Pooling" / "config.json", {"pooling_mode_median": True}),
        "pooling median is not supported; known are cls, mean, max, lasttoken",
    ),
    "unknown-module": (
        lambda folder: put(
            folder / "modules.json", [{"type": "sentence_transformers.models.LSTM"}]
        ),
        "module 'sentence_transformers.models.LSTM' is not supported; known are Transformer",
    ),
    "unknown-family": (
        lambda folder: change(folder / "config.json", model_type="mystery"),
        "it cannot be converted (family 'mystery' has no builder) and there is no onnx/model.onnx",
    ),
    "empty-directory": (
        all_of(shutil.rmtree, Path.mkdir),
        "no model here: neither bundle.json nor config.json, and no numbered folder",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_one_line(tiny: Path, tmp_path: Path, damage: str) -> None:
    break_it, sentence = DAMAGES[damage]
    break_it(tiny)
    code, line = serve(f"--model-dir={tiny}", f"--cache-dir={tmp_path / 'cache'}")
    assert code == 1
    assert sentence in line
    assert not list((tmp_path / "cache").glob("*/*")), "half a bundle was left behind"


@pytest.mark.parametrize(
    ("file", "sentence"),
    [("model.onnx.data", "damaged, replaced"), ("canonical.npz", "missing, though bundle.json")],
)
def test_a_damaged_bundle_is_one_line(tiny: Path, tmp_path: Path, file: str, sentence: str) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    if file == "canonical.npz":
        (bundle / file).unlink()
    else:
        flip(bundle / file)
    code, line = serve(f"--model-dir={bundle}")
    assert code == 1
    assert f"{file}: " in line
    assert sentence in line


def test_no_convert_without_a_graph(tiny: Path) -> None:
    code, line = serve(f"--model-dir={tiny}", "--no-convert")
    assert code == 1
    assert "there is no onnx/model.onnx" in line


def test_no_such_directory(tmp_path: Path) -> None:
    code, line = serve(f"--model-dir={tmp_path / 'nowhere'}", "--model-dir-wait-s=0")
    assert code == 2
    assert line.startswith(f"--model-dir {tmp_path / 'nowhere'}: no such directory")


# The same in this process, where it is quick: every other damage is a BadModel of one line too.
def _set_weight(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[name] = np.ascontiguousarray(change(weights[name]))
    save_file(weights, folder / "model.safetensors")


MORE_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty-safetensors": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        "not a readable safetensors file",
    ),
    "a-header-that-lies": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64),
        "not a readable safetensors file",
    ),
    "a-tensor-of-another-shape": (
        lambda folder: _set_weight(folder, "embeddings.LayerNorm.bias", lambda a: a[:8]),
        "has shape [8], config.json says [16]",
    ),
    "weights-that-are-no-numbers": (
        lambda folder: _set_weight(
            folder, "embeddings.LayerNorm.bias", lambda a: a * np.float32("nan")
        ),
        "vectors that are not finite numbers",
    ),
    "truncated-tokenizer": (
        lambda folder: cut(folder / "tokenizer.json"),
        "not a readable tokenizer",
    ),
    "no-tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        "has no tokenizer.json",
    ),
    "config-that-is-no-json": (
        lambda folder: (folder / "config.json").write_bytes(b"{"),
        "config.json: not readable JSON",
    ),
    "config-that-is-no-text": (
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\0"),
        "config.json: not readable JSON",
    ),
    "config-that-is-a-list": (
        lambda folder: put(folder / "config.json", []),
        "config.json: holds a list, not an object",
    ),
    "layers-that-are-not-there": (
        lambda folder: change(folder / "config.json", num_hidden_layers=2),
        "has no tensor 'encoder.layer.1.",
    ),
    "a-width-in-words": (
        lambda folder: change(folder / "config.json", hidden_size="wide"),
        "config.json",
    ),
    "an-epsilon-in-words": (
        lambda folder: change(folder / "config.json", layer_norm_eps="tiny"),
        "config.json",
    ),
    "a-padding-in-words": (
        lambda folder: change(folder / "config.json", pad_token_id="[PAD]"),
        "config.json",
    ),
    "no-heads": (
        lambda folder: change(folder / "config.json", num_attention_heads=0),
        "do not split into 0 heads",
    ),
    "another-activation": (
        lambda folder: change(folder / "config.json", hidden_act="mish"),
        "activation 'mish' is not supported",
    ),
    "more-tokens-than-rows": (
        all_of(
            lambda folder: change(folder / "config.json", vocab_size=40),
            lambda folder: _set_weight(
                folder, "embeddings.word_embeddings.weight", lambda a: a[:40]
            ),
        ),
        f"tokenizer.json has {len(VOCABULARY)} ids, the model's table has 40",
    ),
    "modules-that-are-no-list": (
        lambda folder: put(folder / "modules.json", {"0": "Transformer"}),
        "modules.json: not a list of modules",
    ),
    "two-poolings": (
        lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True),
        "is not supported",
    ),
    "a-pooling-by-another-name": (
        lambda folder: put(folder / "1_Pooling" / "config.json", {"pooling_mode": "median"}),
        "pooling median is not supported",
    ),
    "prompts-that-are-a-list": (
        lambda folder: put(folder / "config_sentence_transformers.json", {"prompts": ["query: "]}),
        "config_sentence_transformers.json",
    ),
    "lengths-that-are-no-json": (
        lambda folder: (folder / "sentence_bert_config.json").write_bytes(b"["),
        "sentence_bert_config.json: not readable JSON",
    ),
    "a-length-beyond-the-positions": (
        all_of(
            lambda folder: change(folder / "config.json", max_position_embeddings=2),
            lambda folder: _set_weight(
                folder, "embeddings.position_embeddings.weight", lambda a: a[:2]
            ),
        ),
        "max length 2 leaves no room beside special tokens",
    ),
}


@pytest.mark.parametrize("damage", MORE_DAMAGES)
def test_other_damages_of_a_model(tiny: Path, tmp_path: Path, damage: str) -> None:
    break_it, sentence = MORE_DAMAGES[damage]
    break_it(tiny)
    with pytest.raises(BadModel) as raised:
        load(tiny, tmp_path / "cache")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache").glob("*/*")), "half a bundle was left behind"
