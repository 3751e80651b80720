"""A foreign graph that gives NaN for one token and infinity for another, asked on every protocol.

No number of such a row may leave, in no representation; the next request for it fails as well, and
requests beside it are answered.
"""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tokenizers import Tokenizer

from predictor import repository
from predictor.errors import BadModel
from predictor.kserve_sdk import messages, services
from predictor.settings import ModelSettings
from tests.deadlines import DEADLINE_S
from tests.integration.test_plain_onnx import HIDDEN, TABLE, write_model
from tests.serving import Server

# Words that are in no canonical text, and what the graph gives for them. The squares of the last
# overflow: scaled to length 1 it would be zeros.
WORDS = {"ა": np.nan, "ბ": np.inf, "გ": 1e30}
ENCODINGS = ["float", "base64", "int8", "uint8", "binary", "ubinary"]


def write_spoiled(folder: Path) -> Path:
    """A model whose table has such a row for each of the words."""
    spoiled = [np.full((1, HIDDEN), value, dtype=np.float32) for value in WORDS.values()]
    write_model(folder, table=np.concatenate([TABLE, *spoiled]))
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.add_tokens(list(WORDS)) == len(WORDS)
    tokenizer.save(str(path))
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = write_spoiled(tmp_path_factory.mktemp("spoiled") / "model")
    server = Server(
        f"--model-dir={folder}",
        "--model_name=plain",
        "--drain-delay-s=0",
        "--canonical-interval-s=0",
    )
    try:
        yield server
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
        yield client


def body_of(protocol: str, texts: list[str]) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request."""
    name, _, encoding = protocol.partition(" ")
    if name == "openai":
        return "/v1/embeddings", {"model": "plain", "input": texts, "encoding_format": encoding}
    if name == "cohere":
        body = {"model": "plain", "texts": texts, "embedding_types": [encoding]}
        return "/v2/embed", body | {"input_type": "search_query"}
    if name == "tei":
        return "/embed", {"inputs": texts, "normalize": encoding == "unit"}
    if name == "v1":
        return "/v1/models/plain:predict", {"instances": texts}
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    output = {"name": "embedding", "parameters": {"binary_data": encoding == "binary"}}
    return "/v2/models/plain/infer", {"inputs": [tensor], "outputs": [output]}


PROTOCOLS = [
    "openai float",
    "openai base64",
    *(f"cohere {encoding}" for encoding in ENCODINGS),
    "tei unit",
    "tei raw",
    "v1",
    "v2 json",
    "v2 binary",
]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rest_names_the_input_and_answers_the_good_ones(
    http: httpx.Client, protocol: str, word: str
) -> None:
    for _ in range(2):  # the second time would be a cached row
        path, body = body_of(protocol, ["hello", f"a {word}", "world"])
        response = http.post(path, json=body)
        assert response.status_code >= 500
        assert "inputs[1]" in response.text
        assert "inputs[0]" not in response.text
    path, body = body_of(protocol, ["hello", "world"])
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    assert b"NaN" not in response.content
    assert b"null" not in response.content


@pytest.mark.parametrize("word", WORDS)
def test_grpc_names_the_input_and_answers_the_good_ones(server: Server, word: str) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)

        def infer(texts: list[str]) -> Any:
            request = messages.ModelInferRequest(model_name="plain")
            tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
            tensor.contents.bytes_contents.extend(text.encode() for text in texts)
            return stub.ModelInfer(request, timeout=DEADLINE_S)

        for _ in range(2):
            with pytest.raises(grpc.RpcError) as failed:
                infer(["hello", f"a {word}", "world"])
            assert failed.value.code() is grpc.StatusCode.INTERNAL
            assert "inputs[1]" in failed.value.details()
        vectors = np.frombuffer(infer(["hello", "world"]).raw_output_contents[0], "<f4")
        assert np.isfinite(vectors).all()
        assert vectors.size == 2 * HIDDEN


def ask(http: httpx.Client, text: str) -> httpx.Response:
    body = {"model": "plain", "input": text, "encoding_format": "base64"}
    return http.post("/v1/embeddings", json=body)


def test_neighbours_in_the_batches_of_other_requests_are_answered(http: httpx.Client) -> None:
    alone = {f"n{letter}": "" for letter in "abcdefgh"}
    texts = [text for pair in zip(alone, [f"{text} ა" for text in alone], strict=True)
             for text in pair]  # fmt: skip
    with ThreadPoolExecutor(len(texts)) as callers:
        answers = list(callers.map(lambda text: ask(http, text), texts))
    assert [answer.status_code for answer in answers] == [200, 500] * len(alone)
    for answer in answers[::2]:
        row = np.frombuffer(base64.b64decode(answer.json()["data"][0]["embedding"]), "<f4")
        assert np.isfinite(row).all()
        assert np.linalg.norm(row) > 0


def test_they_are_counted_and_logged(server: Server, http: httpx.Client) -> None:
    def counted() -> float:
        name = 'predictor_not_finite_rows_total{model="plain",version="1"} '
        (line,) = [line for line in http.get("/metrics").text.splitlines() if name in line]
        return float(line.rpartition(" ")[2])

    before = counted()
    for _ in range(2):
        assert ask(http, "counted ბ").status_code == 500
    assert counted() == before + 2
    event = server.wait_for_log("gave NaN or infinity")
    assert event["level"] == "error"


def test_a_graph_that_fails_for_a_short_text_beside_a_long_one_is_not_served(
    tmp_path: Path,
) -> None:
    folder = write_model(tmp_path / "model", config={"max_position_embeddings": 900})
    spoil_padded_rows(folder / "onnx" / "model.onnx")
    with pytest.raises(BadModel, match=r"no finite numbers for a text of 900 tokens, or") as raised:
        repository.load_model(ModelSettings(model_dir=str(folder), threads=1))
    assert str(folder) in str(raised.value)


def spoil_padded_rows(path: Path) -> None:
    """Have the graph give NaN for a row with more than 800 tokens of padding."""
    model = onnx.load(path)
    graph = model.graph
    numbers: dict[str, list[float]] = {"all": [1.0], "most": [801.0], "none": [0.0]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, dtype=np.float32), name)
        for name, value in numbers.items()
    )
    (last,) = [node for node in graph.node if node.output[0] == "last_hidden_state"]
    last.output[0] = "unspoiled"
    graph.node.extend(
        [
            helper.make_node("Sub", ["all", "column"], ["padding"]),
            helper.make_node("ReduceSum", ["padding", "middle"], ["padded"], keepdims=1),
            helper.make_node("Sub", ["most", "padded"], ["room"]),
            helper.make_node("Log", ["room"], ["logarithm"]),
            helper.make_node("Mul", ["logarithm", "none"], ["spoil"]),
            helper.make_node("Add", ["unspoiled", "spoil"], ["last_hidden_state"]),
        ]
    )
    onnx.save(model, path)
