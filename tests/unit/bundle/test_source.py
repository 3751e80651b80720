"""What a model directory says is honoured, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from predictor.bundle.source import read_source
from predictor.errors import BadModel
from predictor.types import Pooling

CONFIG = {"model_type": "bert", "hidden_size": 8, "max_position_embeddings": 512}
MODULES = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
]


def write(folder: Path, **files: Any) -> Path:
    names = {
        "config": "config.json",
        "tokenizer": "tokenizer.json",
        "modules": "modules.json",
        "pooling": "1_Pooling/config.json",
        "limits": "sentence_bert_config.json",
        "prompts": "config_sentence_transformers.json",
    }
    for key, content in ({"config": CONFIG, "tokenizer": {}} | files).items():
        if content is None:
            continue
        path = folder / names[key]
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_the_settings_of_minilm_are_read(model_dir: Path) -> None:
    source = read_source(model_dir)
    assert (source.family, source.max_length) == ("bert", 256)
    assert (source.pooling, source.normalize) == (Pooling.MEAN, True)
    assert source.weights is not None


def test_the_smaller_limit_counts(tmp_path: Path) -> None:
    assert read_source(write(tmp_path, limits={"max_seq_length": 128})).max_length == 128
    assert read_source(write(tmp_path, limits={"max_seq_length": 1024})).max_length == 512
    assert read_source(write(tmp_path, limits={"max_seq_length": None})).max_length == 512


def test_cls_pooling_without_normalising(tmp_path: Path) -> None:
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    source = read_source(write(tmp_path, modules=MODULES[:2], pooling=pooling))
    assert (source.pooling, source.normalize) == (Pooling.CLS, False)


def test_the_newer_form_of_the_pooling_file(tmp_path: Path) -> None:
    source = read_source(write(tmp_path, modules=MODULES, pooling={"pooling_mode": "cls"}))
    assert source.pooling is Pooling.CLS


def test_an_override_wins(tmp_path: Path) -> None:
    assert read_source(write(tmp_path), Pooling.CLS).pooling is Pooling.CLS


def test_prompts_and_the_default_one_are_read(tmp_path: Path) -> None:
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    source = read_source(write(tmp_path, prompts=prompts))
    assert source.prompts == {"query": "query: "}
    assert source.default_prompt_name == "query"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"config": "{"}, "config.json: not readable JSON"),
        ({"config": "[]"}, "holds a list, not an object"),
        ({"tokenizer": None}, "has no tokenizer.json"),
        ({"config": {"model_type": "bert"}}, "gives a length"),
        (
            {"modules": [*MODULES, {"type": "sentence_transformers.models.LSTM", "path": "3"}]},
            "module 'sentence_transformers.models.LSTM' is not supported",
        ),
        ({"modules": {"a": 1}}, "not a list of modules"),
        (
            {"modules": MODULES, "pooling": {"pooling_mode_median_tokens": True}},
            "pooling median_tokens is not supported",
        ),
        (
            {"modules": MODULES, "pooling": {"pooling_mode": "mean", "include_prompt": False}},
            "include_prompt False is not supported, only True",
        ),
        (
            {
                "modules": MODULES,
                "pooling": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            },
            r"pooling cls \+ mean is not supported",
        ),
    ],
)
def test_an_unsupported_part_is_refused_by_name(
    tmp_path: Path, files: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadModel, match=sentence):
        read_source(write(tmp_path, **files))
