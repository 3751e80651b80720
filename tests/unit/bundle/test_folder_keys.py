"""A key that changes vectors and is not supported is refused by name and value."""

import json
from pathlib import Path
from typing import Any

import pytest

from predictor.bundle.folder_keys import (
    BUILT_ONLY,
    CODE_IS_BUILT,
    DENSE,
    KEYS,
    check_keys,
    not_built,
    unknown_keys,
)
from predictor.bundle.source import read_source
from predictor.errors import BadModel
from predictor.export.convertible import CONVERTIBLE, why_not_converted
from tests.reference.families.folders import MODELS, assemble, names


def put(path: Path, **keys: Any) -> None:
    content = json.loads(path.read_bytes()) if path.exists() else {}
    path.write_text(json.dumps(content | keys))


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("sentence_bert_config.json", "do_lower_case", "true"),
        ("tokenizer_config.json", "strip_accents", "false"),
        ("sentence_bert_config.json", "processing_kwargs", {"text": {"max_length": 8}}),
        ("sentence_bert_config.json", "model_args", {"use_pooler": True}),
        ("sentence_bert_config.json", "tokenizer_args", {"do_lower_case": True}),
        ("sentence_bert_config.json", "max_seq_length", "64"),
        ("sentence_bert_config.json", "max_seq_length", 0),
        ("sentence_bert_config.json", "max_seq_length", 64.5),
        ("sentence_bert_config.json", "max_seq_length", True),
        ("config_sentence_transformers.json", "truncate_dim", 64),
        ("tokenizer_config.json", "model_max_length", "512"),
        ("tokenizer_config.json", "truncation_side", "left"),
        ("config.json", "pad_token_id", "0"),
        ("config.json", "max_position_embeddings", "512"),
        ("config.json", "architectures", "BertModel"),
    ],
)
def test_it_is_refused_by_name_and_value(tmp_path: Path, file: str, key: str, value: Any) -> None:
    folder = assemble("bert", tmp_path / "bert")
    put(folder / file, **{key: value})
    with pytest.raises(BadModel) as refused:
        read_source(folder)
    assert file in str(refused.value)
    assert key in str(refused.value)
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 64.0}),
        ("sentence_bert_config.json", {"model_args": {"trust_remote_code": True}}),
        ("sentence_bert_config.json", {"processing_kwargs": {}}),
        ("tokenizer_config.json", {"model_max_length": 1e30, "truncation_side": "right"}),
        ("config.json", {"pruned_heads": {}}),
        ("config.json", {"position_embedding_type": "absolute", "is_decoder": False}),
    ],
)
def test_a_value_that_changes_nothing_passes(
    tmp_path: Path, file: str, keys: dict[str, Any]
) -> None:
    folder = assemble("bert", tmp_path / "bert")
    put(folder / file, **keys)
    source = read_source(folder)
    assert why_not_converted(source) is None
    assert source.max_length == int(keys.get("max_seq_length", 128))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position_embedding_type", "alibi"),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("quantization_config", {"quant_method": "fp8"}),
        ("pruned_heads", {"1": [0]}),
        ("auto_map", {"AutoModel": "modeling_own.OwnModel"}),
    ],
)
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "camembert", "distilbert"])
def test_a_graph_is_not_built_for_it(family: str, key: str, value: Any) -> None:
    why_not = not_built(family, {key: value})
    assert why_not is not None
    assert key in why_not
    assert repr(value) in why_not


def test_families_that_came_with_code_are_built_all_the_same() -> None:
    assert set(CODE_IS_BUILT) <= set(CONVERTIBLE)
    for family in CODE_IS_BUILT:
        assert not_built(family, {"auto_map": {"AutoModel": "modeling.NewModel"}}) is None


def test_every_family_that_is_built_says_what_it_does_not_do() -> None:
    assert tuple(BUILT_ONLY) == CONVERTIBLE


@pytest.mark.parametrize("name", names())
def test_the_keys_of_the_known_models_are_known(name: str) -> None:
    for file in KEYS:
        path = MODELS / name / file
        if path.exists():
            content = json.loads(path.read_bytes())
            assert unknown_keys(file, content, str(content.get("model_type"))) == []


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    folder = assemble("bert", tmp_path / "bert")
    put(folder / "config.json", rotary_magic=3)
    assert read_source(folder).unread == ("config.json: rotary_magic",)


def test_an_unknown_key_of_the_pooling_is_named(tmp_path: Path) -> None:
    folder = assemble("bert", tmp_path / "bert")
    put(folder / "1_Pooling" / "config.json", weights="idf", include_prompt=True)
    assert read_source(folder).unread == ("1_Pooling/config.json: weights",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("module_input_name", "token_embeddings"),
        ("module_output_name", "x"),
        ("use_residual", True),
    ],
)
def test_a_dense_module_of_another_kind_is_refused(key: str, value: Any) -> None:
    with pytest.raises(BadModel, match=f"2_Dense: {key} {value!r} is not supported, only"):
        check_keys(DENSE, "2_Dense", {key: value})


def test_an_adapter_beside_a_model_is_refused(tmp_path: Path) -> None:
    folder = assemble("bert", tmp_path / "bert")
    put(folder / "adapter_config.json", peft_type="LORA")
    with pytest.raises(BadModel, match=r"adapter_config.json: a PEFT adapter \(LORA\)"):
        read_source(folder)


@pytest.mark.parametrize(
    "dotted",
    [
        "custom_st.Transformer",
        "sentence_transformers.models.Transformer.Other.Transformer",
        "my.sentence_transformers.models.Transformer",
        "Transformer",
    ],
)
def test_a_class_of_a_module_is_matched_whole(tmp_path: Path, dotted: str) -> None:
    folder = assemble("bert", tmp_path / "bert")
    modules = json.loads((folder / "modules.json").read_bytes())
    modules[0]["type"] = dotted
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadModel, match=f"module '{dotted}' is not supported"):
        read_source(folder)


def test_arguments_of_a_module_are_refused(tmp_path: Path) -> None:
    folder = assemble("bert", tmp_path / "bert")
    modules = json.loads((folder / "modules.json").read_bytes())
    modules[0]["kwargs"] = ["task"]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadModel, match=r"kwargs \['task'\] of module"):
        read_source(folder)
