"""Normalisation and prompts that the operator sets: what is answered, and where it is shown."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from predictor.kserve_sdk import messages, services
from tests.deadlines import DEADLINE_S
from tests.integration.test_plain_onnx import CLS, TABLE, Floats, write_model
from tests.serving import Server

TEXTS = ["a", "hello world"]
MODULES = "sentence_transformers.models."
FLAGS = ("--model_name=plain", "--drain-delay-s=0", "--canonical-interval-s=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a Normalize module, with a default prompt of its own."""
    folder = write_model(tmp_path_factory.mktemp("raw") / "model")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{MODULES}Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{MODULES}Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "word_embedding_dimension": TABLE.shape[1]}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"passage": "p "}, "default_prompt_name": "passage"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


def started(folder: Path, *flags: str) -> Iterator[Server]:
    server = Server(f"--model-dir={folder}", *FLAGS, *flags)
    try:
        yield server
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """With the default normalisation, prompts that are added, and no default prompt."""
    yield from started(folder, "--prompt=query=q ", "--prompt=topic=", "--no-default-prompt")


@pytest.fixture(scope="module")
def model_server(folder: Path) -> Iterator[Server]:
    """With the length of the model, and its prompts."""
    yield from started(folder, "--normalize=model")


def post(server: Server, path: str, **body: Any) -> httpx.Response:
    response = httpx.post(server.url + path, json=body, timeout=DEADLINE_S)
    assert response.status_code == 200, response.text
    return response


def openai(server: Server) -> Any:
    answer = post(server, "/v1/embeddings", model="plain", input=TEXTS).json()
    return [item["embedding"] for item in answer["data"]]


def v1(server: Server) -> Any:
    return post(server, "/v1/models/plain:predict", instances=TEXTS).json()["predictions"]


def v2(server: Server, **parameters: Any) -> Any:
    tensor = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}
    answer = post(server, "/v2/models/plain/infer", inputs=[tensor], parameters=parameters).json()
    return np.reshape(answer["outputs"][0]["data"], answer["outputs"][0]["shape"])


def tei(server: Server, **fields: Any) -> Any:
    return post(server, "/embed", inputs=TEXTS, **fields).json()


def cohere(server: Server, **fields: Any) -> Any:
    body = {"model": "plain", "texts": TEXTS, "embedding_types": ["float"], **fields}
    return post(server, "/v2/embed", **body).json()["embeddings"]["float"]


def over_grpc(server: Server) -> Any:
    with grpc.insecure_channel(server.grpc) as channel:
        request = messages.ModelInferRequest(model_name="plain")
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(TEXTS)])
        tensor.contents.bytes_contents.extend(text.encode() for text in TEXTS)
        stub = services.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=DEADLINE_S)
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(len(TEXTS), -1)


PROTOCOLS: dict[str, Callable[[Server], Any]] = {
    "openai": openai,
    "v1": v1,
    "v2": v2,
    "tei": tei,
    "cohere": cohere,
    "grpc": over_grpc,
}


def lengths(vectors: Any) -> Sequence[float]:
    norms: list[float] = np.linalg.norm(np.asarray(vectors, dtype=np.float32), axis=1).tolist()
    return norms


# The first row of the graph is that of [CLS], whatever the text: the mask adds 1.
RAW = float(np.linalg.norm(TABLE[CLS] + 1.0))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_rule_on_every_protocol(server: Server, model_server: Server, protocol: str) -> None:
    ask = PROTOCOLS[protocol]
    assert lengths(ask(server)) == pytest.approx([1.0] * len(TEXTS), abs=1e-5)
    assert lengths(ask(model_server)) == pytest.approx([RAW] * len(TEXTS), rel=1e-5)


def test_a_request_that_says_it_has_its_way(server: Server, model_server: Server) -> None:
    assert lengths(v2(server, normalize=False)) == pytest.approx([RAW] * len(TEXTS), rel=1e-5)
    assert lengths(tei(server, normalize=False)) == pytest.approx([RAW] * len(TEXTS), rel=1e-5)
    assert lengths(tei(model_server, normalize=True)) == pytest.approx([1.0] * 2, abs=1e-5)


PROMPTS = {"passage": "p ", "query": "q ", "topic": ""}


def described(server: Server) -> list[dict[str, Any]]:
    """The configuration of the model by every description that has it."""
    info = httpx.get(f"{server.url}/info").json()
    listed = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    model = httpx.get(f"{server.url}/v1/models/plain").json()
    metadata = httpx.get(f"{server.url}/v2/models/plain").json()["parameters"]
    assert info["model_sha"] == listed["revision"] == model["revision"] == metadata["revision"]
    return [content["configuration"] for content in (info, listed, model, metadata)]


def test_it_is_shown_beside_the_same_revision(server: Server, model_server: Server) -> None:
    shown = described(server)
    assert all(configuration == shown[0] for configuration in shown)
    content = dict(shown[0])
    identity = content.pop("id")
    assert content == {"prompts": PROMPTS, "default_prompt": "", "normalize": True}
    event = server.wait_for_log(f"configuration {identity}")
    assert "vectors of length 1" in event["message"]
    assert "'query': 'q '" in event["message"]
    other = described(model_server)[0]
    assert other.pop("id") != identity
    assert other == {"prompts": {"passage": "p "}, "default_prompt": "p ", "normalize": False}
    revisions = [
        httpx.get(f"{each.url}/info").json()["model_sha"] for each in (server, model_server)
    ]
    assert revisions[0] == revisions[1]
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        _, call = stub.ModelMetadata.with_call(messages.ModelMetadataRequest(name="plain"))
    trailing = dict(call.trailing_metadata())
    assert trailing["x-model-configuration"] == identity
    assert trailing["x-model-revision"] == revisions[0]


def hits(server: Server) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    (line,) = [
        line
        for line in lines
        if line.startswith("predictor_cache_hits_total") and 'tier="memory"' in line
    ]
    return float(line.rpartition(" ")[2])


def test_the_cache_follows_by_the_ids(server: Server) -> None:
    def tokens(**body: Any) -> Floats:
        response = post(server, "/embed", **body)
        return np.array(response.json(), dtype=np.float32)

    before = hits(server)
    first = tokens(inputs=["cached xy"], prompt_name="query")
    assert hits(server) == before
    np.testing.assert_array_equal(tokens(inputs=["q cached xy"]), first)
    assert hits(server) == before + 1
    tokens(inputs=["cached xy"])  # other ids
    assert hits(server) == before + 1


def prompt_tokens(server: Server, **fields: Any) -> int:
    answer = post(server, "/tokenize", inputs=["a"], add_special_tokens=False, **fields).json()
    return len(answer[0])


def test_prompts_are_put_before_texts(server: Server, model_server: Server) -> None:
    assert prompt_tokens(server) == 1
    assert prompt_tokens(server, prompt_name="query") == 2
    assert prompt_tokens(model_server, prompt_name="passage") == 2
    refused = httpx.post(f"{server.url}/embed", json={"inputs": ["a"], "prompt_name": "nope"})
    assert refused.status_code in (400, 422)
    assert "passage, query, topic" in refused.text


@pytest.mark.parametrize(
    ("input_type", "missing"),
    [("search_query", None), ("search_document", None), ("clustering", "clustering")],
)
def test_a_prompt_that_the_model_lacks_is_reported(
    server: Server, input_type: str, missing: str | None
) -> None:
    body = {"model": "plain", "texts": ["a"], "input_type": input_type}
    response = post(server, "/v2/embed", **body, embedding_types=["float"])
    assert response.headers.get("x-missing-prompt") == missing
