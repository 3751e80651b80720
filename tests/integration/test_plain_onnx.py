"""A directory with nothing but an ONNX file: served padded, pooled here, or refused in one line.

The graphs are made here and small enough to know what they must give: a row of a table for each
token, plus one where the attention mask is set, so that a mask that is not fed shows.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from predictor import repository
from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.errors import BadModel
from predictor.settings import ModelSettings
from tests.deadlines import DEADLINE_S
from tests.serving import Server

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
CLS, SEP = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
HIDDEN, MAX_LENGTH = 8, 32
TEXTS = ["", "a", "bc", "hello world", "the quick brown fox jumps", "zz " * 40]

Floats = npt.NDArray[np.float32]
TABLE = np.random.default_rng(7).standard_normal((len(VOCABULARY), HIDDEN)).astype(np.float32)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of single letters, with BERT's special tokens."""
    vocabulary = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def write_graph(
    path: Path,
    *,
    table: Floats = TABLE,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    input_type: int = TensorProto.INT64,
    output: str = "last_hidden_state",
    output_type: int = TensorProto.FLOAT,
    batch: str | int = "B",
) -> None:
    """A row of `table` for each token, plus the mask; the mean of them for a pooled output."""
    pooled = output in ("sentence_embedding", "pooled_output")
    nodes = [
        helper.make_node("Gather", ["table", inputs[0]], ["rows"]),
        helper.make_node("Cast", [inputs[-1]], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Add", ["rows", "column"], ["shifted"]),
    ]
    if pooled:
        nodes += [
            helper.make_node("Mul", ["shifted", "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["column", "middle"], ["count"], keepdims=0),
            helper.make_node("Div", ["sum", "count"], ["result"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["shifted"], ["result"]))
    nodes.append(helper.make_node("Cast", ["result"], [output], to=output_type))
    width = int(table.shape[1])
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info(name, input_type, [batch, "S"]) for name in inputs],
        [
            helper.make_tensor_value_info(
                output, output_type, [batch, width] if pooled else [batch, "S", width]
            )
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([-1], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


def write_model(folder: Path, *, config: dict[str, Any] | None = None, **graph: Any) -> Path:
    """A whole directory: config of a family nobody knows, tokenizer, onnx/model.onnx."""
    folder.mkdir(exist_ok=True)
    whole = {
        "model_type": "letters",
        "hidden_size": HIDDEN,
        "max_position_embeddings": MAX_LENGTH,
        "pad_token_id": 0,
    } | (config or {})
    (folder / "config.json").write_text(json.dumps(whole))
    write_tokenizer(folder)
    write_graph(folder / "onnx" / "model.onnx", **graph)
    return folder


def write_pooling(folder: Path, mode: str) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": place}
        for kind, place in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules))


def ids_of(text: str) -> list[int]:
    """What the tokenizer must give, computed without it."""
    ids: list[int] = []
    for word in text.split():
        ids.append(VOCABULARY.index(word[0]))
        ids += [VOCABULARY.index(f"##{letter}") for letter in word[1:]]
    return [CLS, *ids[: MAX_LENGTH - 2], SEP]


def expected(texts: list[str], pooling: str) -> Floats:
    """The vectors by numpy, one text at a time, without padding."""
    rows = []
    for text in texts:
        hidden = TABLE[ids_of(text)] + 1.0
        rows.append(hidden.mean(axis=0) if pooling == "mean" else hidden[0])
    vectors = np.array(rows, dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def unit(vectors: Floats) -> Floats:
    """The vectors scaled to length 1: without modules.json the model does not do so."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


@contextmanager
def served(folder: Path, *flags: str) -> Iterator[tuple[Server, httpx.Client]]:
    server = Server(f"--model-dir={folder}", "--model_name=plain", "--drain-delay-s=0", *flags)
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
            yield server, client
    finally:
        assert server.stop() == 0


def embed(client: httpx.Client, texts: list[str]) -> Floats:
    response = client.post("/v1/embeddings", json={"model": "plain", "input": texts})
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]], dtype=np.float32)


@pytest.mark.parametrize(
    ("file", "flag", "pooling"),
    [(None, None, "mean"), ("cls_token", None, "cls"), ("cls_token", "mean", "mean")],
    ids=["mean", "cls", "mean-by-flag"],
)
def test_served_padded_and_pooled_here(
    tmp_path: Path, file: str | None, flag: str | None, pooling: str
) -> None:
    folder = write_model(tmp_path / "model")
    if file is not None:
        write_pooling(folder, file)
    with served(folder, *([f"--pooling={flag}"] if flag else [])) as (server, client):
        together = embed(client, TEXTS)
        alone = np.concatenate([embed(client, [text]) for text in TEXTS])
        info = client.get("/info").json()
        warning = server.wait_for_log("padded inputs")
    np.testing.assert_allclose(unit(together), expected(TEXTS, pooling), atol=1e-5)
    np.testing.assert_allclose(unit(alone), expected(TEXTS, pooling), atol=1e-5)
    assert info["model_type"] == {"embedding": {"pooling": pooling}}
    assert info["max_input_length"] == MAX_LENGTH
    assert warning["level"] == "warning"
    assert "onnx/model.onnx" in warning["message"]
    assert "family 'letters' has no builder" in warning["message"]
    assert any("padded on cpu" in str(event["message"]) for event in server.events)


def load(folder: Path, **settings: Any) -> repository.LoadedModel:
    return repository.load_model(ModelSettings(model_dir=str(folder), threads=1, **settings))


def run(model: repository.LoadedModel, texts: list[str]) -> Floats:
    vectors = model.engine.run(model.tokenizer.encode(texts).ids)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.mark.parametrize("output", ["sentence_embedding", "pooled_output"])
def test_a_pooled_output_is_taken_as_it_is(tmp_path: Path, output: str) -> None:
    folder = write_model(tmp_path / "model", output=output)
    write_pooling(folder, "cls_token")  # would give other vectors
    model = load(folder)
    np.testing.assert_allclose(run(model, TEXTS), expected(TEXTS, "mean"), atol=1e-5)


def test_token_types_are_fed_where_the_graph_wants_them(tmp_path: Path) -> None:
    inputs = ("input_ids", "token_type_ids", "attention_mask")
    model = load(write_model(tmp_path / "model", inputs=inputs))
    np.testing.assert_allclose(run(model, TEXTS), expected(TEXTS, "mean"), atol=1e-5)


def test_the_file_may_lie_beside_the_config(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "onnx" / "model.onnx").rename(folder / "model.onnx")
    np.testing.assert_allclose(run(load(folder), ["a"]), expected(["a"], "mean"), atol=1e-5)


@pytest.mark.parametrize("output", ["last_hidden_state", "sentence_embedding"])
def test_half_precision_comes_out_as_float32(tmp_path: Path, output: str) -> None:
    folder = write_model(tmp_path / "model", output=output, output_type=TensorProto.FLOAT16)
    model = load(folder)
    assert model.engine.run(model.tokenizer.encode(TEXTS).ids).dtype == np.float32
    np.testing.assert_allclose(run(model, TEXTS), expected(TEXTS, "mean"), atol=2e-3)


COUNT = len(CANONICAL_TEXTS)
# What is odd, and a part of the sentence; every sentence names the directory.
ODD_MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-input": (
        {"inputs": ("input_ids", "bbox", "attention_mask")},
        "wants input 'bbox'; known are input_ids",
    ),
    "int32-inputs": (
        {"input_type": TensorProto.INT32},
        "input 'input_ids' is tensor(int32); tensor(int64) is served",
    ),
    "unknown-output": (
        {"output": "logits"},
        "has outputs logits; known are embedding, sentence_embedding",
    ),
    "another-width": (
        {"config": {"hidden_size": 16}},
        f"gives vectors [{COUNT}, {HIDDEN}] where [{COUNT}, 16] finite numbers are expected",
    ),
    "no-width": ({"config": {"hidden_size": None}}, "hidden_size"),
    "width-in-words": ({"config": {"hidden_size": "wide"}}, "hidden_size"),
    "pad-in-words": ({"config": {"pad_token_id": "[PAD]"}}, "pad_token_id"),
    "no-length": ({"config": {"max_position_embeddings": None}}, "gives a length"),
    "no-room": ({"config": {"max_position_embeddings": 2}}, "max length 2 leaves no room"),
    "fewer-rows-than-tokens": ({"table": TABLE[:10]}, "model.onnx"),
    "one-text-at-a-time": ({"batch": 1}, "model.onnx"),
    "not-a-number": ({"table": TABLE * np.float32("nan")}, "finite numbers are expected"),
    "zero-vectors": (
        {"table": np.full_like(TABLE, -1.0)},
        "canonical vectors of fp32 are not reproduced: smallest cosine 0.0",
    ),
}


@pytest.mark.parametrize("kind", ODD_MODELS)
def test_an_onnx_file_that_cannot_be_served_is_one_sentence(tmp_path: Path, kind: str) -> None:
    odd, sentence = ODD_MODELS[kind]
    folder = write_model(tmp_path / "model", **odd)
    with pytest.raises(BadModel) as raised:
        load(folder)
    assert sentence in str(raised.value)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x08\x12\x02hi"])
def test_a_file_that_is_no_graph(tmp_path: Path, content: bytes) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "onnx" / "model.onnx").write_bytes(content)
    sentence = r"model\.onnx: (ONNX Runtime cannot load it|not a readable ONNX file): "
    with pytest.raises(BadModel, match=sentence) as raised:
        load(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("location", ["/etc/passwd", "../config.json", "*/_ORT_MEM_ADDR_/*"])
def test_weights_outside_of_the_graphs_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = write_model(tmp_path / "model")
    graph = onnx.load(folder / "onnx" / "model.onnx")
    table = graph.graph.initializer[0]
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    table.external_data.add(key="location", value=location)
    (folder / "onnx" / "model.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(BadModel, match="names a file outside of its folder"):
        repository.load_model(ModelSettings(model_dir=str(folder)))
