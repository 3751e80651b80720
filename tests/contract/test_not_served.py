"""What the server does not do, it says: rerank and others, the repository API, explanations."""

from typing import Any

import cohere
import grpc
import httpx
import openai
import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.contract.helpers import MODEL, UNKNOWN
from tests.deadlines import DEADLINE_S
from tests.serving import Server

SERVED = (
    "/v1/embeddings", "/embed", "/v2/embed", "/v2/models/{model}/infer",
    "/v1/models/{model}:predict",
)  # fmt: skip


def still_serves(http: httpx.Client) -> bool:
    response = http.post("/v1/embeddings", json={"model": MODEL, "input": "hello"})
    return response.status_code == 200


# Other tasks


@pytest.mark.parametrize(
    "path",
    [
        "/rerank", "/v1/rerank", "/v2/rerank", "/openai/v1/rerank", "/embed_sparse", "/embed_all",
        "/predict", "/similarity", "/v1/chat/completions", "/v1/completions",
        "/openai/v1/chat/completions", "/openai/v1/completions", "/v2/chat",
    ],
)  # fmt: skip
def test_other_tasks_are_not_found_and_the_answer_says_what_is(
    http: httpx.Client, path: str
) -> None:
    response = http.post(path, json={"query": "a", "texts": ["b"]})
    assert response.status_code == 404
    assert all(route in response.text for route in SERVED)


def test_openai_chat(server: Server) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.NotFoundError) as caught,
    ):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert "/v1/embeddings" in caught.value.response.text


def test_cohere_rerank(server: Server) -> None:
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        client = cohere.ClientV2(api_key="none", base_url=server.url, httpx_client=http_client)
        with pytest.raises(cohere.NotFoundError) as caught:
            client.rerank(model=MODEL, query="a", documents=["b"])
    assert "/v2/embed" in str(caught.value.body)


@pytest.mark.parametrize("path", ["/nothing", "/v2/nothing", "/v1/embeddings/nothing"])
def test_unknown_route(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404
    assert http.post(path, json={}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/embed"), ("GET", "/v1/embeddings"), ("POST", "/metrics"), ("DELETE", "/v1/models")],
)
def test_another_method(http: httpx.Client, method: str, path: str) -> None:
    response = http.request(method, path)
    assert response.status_code == 405
    error = response.json()["error"]
    assert path in (error["message"] if path.startswith("/v1/") else error)


# Explanations


def test_explain_is_refused(http: httpx.Client) -> None:
    response = http.post(f"/v1/models/{MODEL}:explain", json={"instances": ["a"]})
    assert response.status_code == 404
    assert "/v1/models/{model}:predict" in response.json()["error"]


async def test_explain_by_the_client_of_kserve(server: Server, kserve: Any) -> None:
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1")) as client:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await client.explain(server.url, MODEL, {"instances": ["a"]})
    assert caught.value.response.status_code == 404


def test_explain_over_v2_is_refused(http: httpx.Client) -> None:
    assert http.post(f"/v2/models/{MODEL}/explain", json={}).status_code == 404


# The repository API: nobody but the operator decides what is loaded.


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize("model", [MODEL, UNKNOWN])
def test_repository_is_closed(http: httpx.Client, model: str, action: str) -> None:
    response = http.post(f"/v2/repository/models/{model}/{action}")
    assert response.status_code == 404
    assert "repository" in response.json()["error"]
    assert still_serves(http)


@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_repository_by_tritonclient_over_http(
    server: Server, http: httpx.Client, call: str
) -> None:
    with InferenceServerClient(server.url.removeprefix("http://")) as triton:
        with pytest.raises(InferenceServerException, match="repository") as caught:
            getattr(triton, call)(MODEL)
        assert caught.value.status() == "404"
    assert still_serves(http)


def test_repository_index_by_tritonclient_over_http(server: Server) -> None:
    with (
        InferenceServerClient(server.url.removeprefix("http://")) as triton,
        pytest.raises(InferenceServerException, match="repository") as caught,
    ):
        triton.get_model_repository_index()
    assert caught.value.status() == "404"


@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_repository_by_tritonclient_over_grpc(
    server: Server, http: httpx.Client, tritonclient_grpc: Any, call: str
) -> None:
    with tritonclient_grpc.InferenceServerClient(server.grpc) as triton:
        with pytest.raises(InferenceServerException) as caught:
            getattr(triton, call)(MODEL)
        assert caught.value.status() == str(grpc.StatusCode.UNIMPLEMENTED)
        assert triton.is_model_ready(MODEL)
    assert still_serves(http)


@pytest.mark.parametrize("call", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_repository_by_the_proto_of_kserve(server: Server, kserve: Any, call: str) -> None:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services

    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="repository") as caught:
            getattr(stub, call)(getattr(messages, f"{call}Request")(model_name=MODEL))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
