"""Small folders as hubs have them: each is served as what it says it is, or refused by a sentence.

`predictor inspect` has to tell before what loading then does.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from predictor.bundle.source import read_source
from predictor.engine.pooling import finish
from predictor.errors import BadModel, BadSetting
from predictor.repository import load_model, survey
from predictor.settings import ModelSettings
from predictor.similarity import cosines
from tests.command import run_command
from tests.integration.test_plain_onnx import write_graph, write_model
from tests.reference.families.folders import MODELS, REFERENCE, assemble
from tests.reference.families.texts import family_texts
from tests.unit.engine.test_made_tokenizer import make_slow

Change = Callable[[Path], object]
CONFIG = "config.json"
LIBRARY = "config_sentence_transformers.json"
LIMITS = "sentence_bert_config.json"
WEIGHTS = "model.safetensors"


def put(file: str, **keys: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        content = json.loads(path.read_bytes()) if path.exists() else {}
        path.write_text(json.dumps(content | keys))

    return change


def without(*files: str) -> Change:
    def change(folder: Path) -> None:
        for file in files:
            (folder / file).unlink()

    return change


def all_of(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for step in changes:
            step(folder)

    return change


def plain(*changes: Change) -> Change:
    """A folder of transformers, without the files of sentence-transformers."""
    return all_of(without("modules.json", LIBRARY, LIMITS), *changes)


def graph(name: str) -> Change:
    def change(folder: Path) -> None:
        table = np.random.default_rng(5).standard_normal((324, 32)).astype(np.float32)
        write_graph(folder / name, table=table)

    return change


def tensors(name: str, kind: str = "F32") -> Change:
    """Add a tensor of a head, or of another type."""

    def change(folder: Path) -> None:
        kept = load_file(folder / WEIGHTS) | {name: np.zeros((2, 32), dtype=np.float32)}
        save_file(kept, folder / WEIGHTS)
        content = (folder / WEIGHTS).read_bytes()
        size = 8 + int.from_bytes(content[:8], "little")
        head = content[8:size].replace(b'"F32"', f'"{kind}"'.encode())
        (folder / WEIGHTS).write_bytes(len(head).to_bytes(8, "little") + head + content[size:])

    return change


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def module(number: int, dotted: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / "modules.json"
        modules = json.loads(path.read_bytes())
        modules[number]["type"] = dotted
        path.write_text(json.dumps(modules))

    return change


def snapshot(folder: Path) -> None:
    """The same weights in the formats of other libraries."""
    for name in ("pytorch_model.bin", "tf_model.h5", "rust_model.ot", "model.onnx"):
        (folder / name).touch()
        os.truncate(folder / name, 1 << 30)


# By what the folder is: what is done to BERT's, the file by which it is served, and a part of what
# is assumed.
SERVED: dict[str, tuple[Change, str, str]] = {
    "as sentence-transformers saves it": (lambda folder: None, WEIGHTS, ""),
    "a snapshot of a hub": (snapshot, WEIGHTS, ""),
    "named after its masked model": (
        put(CONFIG, architectures=["BertForMaskedLM"]),
        WEIGHTS,
        "",
    ),
    "a slow tokenizer": (make_slow, WEIGHTS, "the tokenizer is made from vocab.txt"),
    "nulls": (put(LIMITS, max_seq_length=None, do_lower_case=None), WEIGHTS, ""),
    "only transformers' files": (plain(), WEIGHTS, "mean pooling (there is no modules.json)"),
    "no architecture": (
        plain(put(CONFIG, architectures=None)),
        WEIGHTS,
        "it is an embedder (config.json names model_type 'bert' only)",
    ),
    "a pickle and a graph": (all_of(pickled, graph("onnx/model.onnx")), "onnx/model.onnx", ""),
    "ALiBi and a graph": (
        all_of(put(CONFIG, position_embedding_type="alibi"), graph("onnx/model.onnx")),
        "onnx/model.onnx",
        "",
    ),
    "an unknown family and a graph": (
        all_of(put(CONFIG, model_type="mystery"), graph("onnx/model.onnx")),
        "onnx/model.onnx",
        "",
    ),
}
# What is done to BERT's folder, and the sentence.
REFUSED: dict[str, tuple[Change, str]] = {
    "a cross-encoder": (
        plain(
            put(CONFIG, architectures=["BertForSequenceClassification"], id2label={"0": "LABEL_0"})
        ),
        "it is a cross-encoder (architectures of config.json: BertForSequenceClassification), and "
        "task 'rerank' is not served yet; served is 'embed'",
    ),
    "a cross-encoder of sentence-transformers": (
        all_of(put(LIBRARY, model_type="CrossEncoder")),
        "it is a cross-encoder (model_type of config_sentence_transformers.json: CrossEncoder)",
    ),
    "a classifier": (
        plain(put(CONFIG, architectures=["BertForSequenceClassification"])),
        "it is a classifier (architectures of config.json: BertForSequenceClassification), and "
        "task 'classify' is not served yet",
    ),
    "a classifier that only its tensors show": (
        plain(put(CONFIG, architectures=None), tensors("classifier.weight")),
        "it is a classifier (tensor 'classifier.weight')",
    ),
    "a token classifier": (
        plain(put(CONFIG, architectures=["BertForTokenClassification"])),
        "it is a token classifier",
    ),
    "a question-answering model": (
        plain(put(CONFIG, architectures=["BertForQuestionAnswering"])),
        "it is a question-answering model",
    ),
    "a masked model": (
        plain(put(CONFIG, architectures=["BertForMaskedLM"])),
        "it is a masked language model (sparse encoder)",
    ),
    "SPLADE of sentence-transformers": (
        module(1, "sentence_transformers.sparse_encoder.models.SpladePooling"),
        "it is a masked language model (sparse encoder) (module",
    ),
    "Stanford's ColBERT": (
        plain(put(CONFIG, architectures=["HF_ColBERT"])),
        "it is a multi-vector model (architectures of config.json: HF_ColBERT)",
    ),
    "PyLate": (put(LIBRARY, model_type="ColBERT"), "it is a multi-vector model"),
    "nothing that is known": (
        plain(put(CONFIG, architectures=["Strange"])),
        "what kind of model it is is not known (architectures of config.json: Strange)",
    ),
    "a module of somebody else": (
        module(0, "custom_st.Transformer"),
        "module 'custom_st.Transformer' is not supported",
    ),
    "ALiBi": (
        put(CONFIG, position_embedding_type="alibi"),
        "position_embedding_type 'alibi' is not supported, only 'absolute'",
    ),
    "code of its own": (
        put(CONFIG, auto_map={"AutoModel": "modeling.Own"}),
        "auto_map {'AutoModel': 'modeling.Own'} names code of the model's own",
    ),
    "quantised weights": (
        put(CONFIG, quantization_config={"quant_method": "gptq"}),
        "quantization_config {'quant_method': 'gptq'} is not supported",
    ),
    "8-bit floats": (
        tensors("extra.weight", "F8_E4M3"),
        "is of type F8_E4M3, which is not read",
    ),
    "an adapter": (put("adapter_config.json", peft_type="LORA"), "a PEFT adapter (LORA)"),
    "a length that is a text": (put(LIMITS, max_seq_length="64"), "max_seq_length is '64'"),
    "cut vectors": (put(LIBRARY, truncate_dim=16), "truncate_dim 16 is not supported"),
    "no tokenizer": (without("tokenizer.json"), "has no tokenizer.json"),
    "a quantised graph only": (
        all_of(without(WEIGHTS), graph("onnx/model_quantized.onnx"), graph("onnx/model_O4.onnx")),
        "it has onnx/model_O4.onnx, onnx/model_quantized.onnx: name the one to serve with "
        "--onnx-file",
    ),
    "a pickle": (pickled, "pytorch_model.bin is a pickle, which is read through torch only"),
    "no weights": (without(WEIGHTS), "it cannot be converted (no weights beside it)"),
}


def settings(folder: Path, **more: Any) -> ModelSettings:
    cache = folder.parent / "cache"
    return ModelSettings(model_dir=str(folder), cache_dir=str(cache), threads=1, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return assemble("bert", tmp_path / "bert")


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictor.export.convertible.importlib.util.find_spec", lambda _: None)


@pytest.mark.parametrize("name", SERVED)
def test_it_is_served_by_way_of_that_file(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, file, assumed = SERVED[name]
    change(folder)
    result = survey(folder)
    assert result.problems == []
    assert result.facts["file"] == file
    assert result.command == f"predictor serve --model-dir {folder}"
    assert assumed in "\n".join(result.assumed)
    assert bool(result.assumed) == bool(assumed)
    with caplog.at_level("INFO"):
        model = load_model(settings(folder))
    assert model.bundle.inputs == ("packed" if file == WEIGHTS else "padded")
    assert model.bundle.normalize is False
    assert f"file {file}; family " in caplog.text
    for sentence in result.assumed:
        assert f"assumed: {sentence}" in caplog.text


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_that_sentence(folder: Path, name: str) -> None:
    change, sentence = REFUSED[name]
    change(folder)
    result = survey(folder)
    assert sentence in "\n".join(result.problems)
    assert result.needed_bytes is None
    with pytest.raises(BadModel) as refused:
        load_model(settings(folder))
    assert sentence in str(refused.value)


def test_a_setting_picks_one_of_several_graphs(folder: Path) -> None:
    REFUSED["a quantised graph only"][0](folder)
    command = survey(folder).command
    assert command == f"predictor serve --model-dir {folder} --onnx-file onnx/model_O4.onnx"
    model = load_model(settings(folder, onnx_file="onnx/model_quantized.onnx"))
    assert model.bundle.variant("fp32").graph == "onnx/model_quantized.onnx"
    with pytest.raises(BadSetting, match=r"it has onnx/model_O4.onnx, onnx/model_quantized.onnx"):
        load_model(settings(folder, onnx_file="onnx/model.onnx"))


def test_without_modules_the_pooling_file_is_not_read(tmp_path: Path) -> None:
    """As sentence-transformers: the mean, and no normalisation."""
    folder = assemble("bert--cls", tmp_path / "bert")
    plain()(folder)
    source = read_source(folder)
    assert (source.pooling.value, source.normalize) == ("mean", False)
    assert any("1_Pooling is not read" in sentence for sentence in source.assumed)
    model = load_model(settings(folder))
    vectors = finish(model.engine.run(model.tokenizer.encode(family_texts()).ids), None, False)
    with np.load(MODELS / "bert" / REFERENCE) as kept:
        assert cosines(vectors, kept["vectors"]).min() > 0.99999


@pytest.mark.parametrize(("family", "pad"), [("mpnet", 0), ("mpnet", 5)])
def test_mpnet_counts_positions_as_its_code_does(tmp_path: Path, family: str, pad: int) -> None:
    """transformers fixes the padding index of MPNet, whatever config.json says."""
    folder = assemble(family, tmp_path / family)
    put(CONFIG, pad_token_id=pad)(folder)
    model = load_model(settings(folder))
    vectors = finish(model.engine.run(model.tokenizer.encode(family_texts()).ids), None, True)
    with np.load(MODELS / family / REFERENCE) as kept:
        assert cosines(vectors, kept["vectors"]).min() > 0.99999


def test_roberta_with_padding_0_counts_positions_behind_it(tmp_path: Path) -> None:
    """<s> has id 0 and is not counted then; the table is moved so that the vectors stay."""
    folder = assemble("roberta", tmp_path / "roberta")
    put(CONFIG, pad_token_id=0)(folder)
    weights = load_file(folder / WEIGHTS)
    name = "embeddings.position_embeddings.weight"
    weights[name] = np.roll(weights[name], -2, axis=0).copy()
    save_file(weights, folder / WEIGHTS)
    model = load_model(settings(folder))
    rows = model.tokenizer.encode(family_texts()).ids
    plain_rows = [index for index, row in enumerate(rows) if 1 not in row and 0 not in row[1:]]
    vectors = finish(model.engine.run([rows[index] for index in plain_rows]), None, True)
    with np.load(MODELS / "roberta" / REFERENCE) as kept:
        assert cosines(vectors, kept["vectors"][plain_rows]).min() > 0.99999
    assert len(plain_rows) > len(rows) / 2


def test_inspect_tells_it_to_a_user(folder: Path, tmp_path: Path) -> None:
    done = run_command("inspect", str(folder))
    assert done.code == 0
    for part in (
        "a directory, not a bundle: embedder (modules.json)",
        "pooling     mean",
        "memory: about ",
        f"this serves it:\n  predictor serve --model-dir {folder}",
    ):
        assert part in done.out
    plain(put(CONFIG, architectures=["BertForQuestionAnswering"]))(folder)
    done = run_command("inspect", str(folder), "--json")
    assert done.code == 1
    content = json.loads(done.out)
    assert content["kind"] == "question-answering model"
    assert content["missing"] == ["modules.json", LIMITS]
    assert content["command"] is None


def test_the_log_names_what_was_taken_of_a_plain_graph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_model(tmp_path / "model")
    with caplog.at_level("INFO"):
        load_model(settings(folder))
    assert (
        "file onnx/model.onnx; family letters; task embed; pooling mean; normalised no; prompts "
        "none; length 32 tokens" in caplog.text
    )
