"""Every request takes one way: what fails on it is counted, limited and told alike."""

import asyncio
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from predictor.kserve_sdk import messages, services
from predictor.protocols.v2_embed import EmbedTensors
from predictor.settings import RequestSettings, Settings
from predictor.tasks.tokenizer import TokenizeTask
from tests.integration.spine.conftest import Speak


def requests(protocol: str, code: str) -> float:
    """Requests of a protocol that ended with a code."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "predictor_requests_total"
        and (sample.labels["protocol"], sample.labels["code"]) == (protocol, code)
    )


def broken(self: EmbedTensors, result: Any) -> Any:
    raise RuntimeError("secret")


async def test_an_error_while_encoding_is_a_counted_internal_error_over_grpc(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    spine = await speak()
    monkeypatch.setattr(EmbedTensors, "tensors", broken)
    before = requests("v2_grpc", "500")
    port = await spine.grpc_server.start()
    try:
        message = messages.ModelInferRequest(model_name="minilm")
        tensor = message.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(b"a")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = services.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.ModelInfer(message, metadata=[("x-request-id", "r-7")])
    finally:
        await spine.grpc_server.stop(0.0)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == "internal error; request id r-7"
    assert requests("v2_grpc", "500") == before + 1


async def test_an_error_while_encoding_is_a_counted_500_over_rest(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    spine = await speak()
    monkeypatch.setattr(EmbedTensors, "tensors", broken)
    before = requests("v2", "500")
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    response = await spine.http.post("/v2/models/minilm/infer", json=body)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert requests("v2", "500") == before + 1


@pytest.mark.parametrize(
    ("name", "path"), [("org/model", "org%2Fmodel"), ("a:b", "a%3Ab"), ("ü", "%C3%BC")]
)
async def test_a_name_is_decoded_once_from_its_part_of_the_path(
    speak: Speak, name: str, path: str
) -> None:
    spine = await speak(name=name)
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    response = await spine.http.post(f"/v2/models/{path}/infer", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["model_name"] == name
    v1 = await spine.http.post(f"/v1/models/{path}:predict", json={"instances": ["a"]})
    assert v1.status_code == 200, v1.text


@pytest.mark.parametrize("path", ["/v2/models/%6Dinilm", "/%65mbed", "/v2/models/min%69lm/infer"])
async def test_an_encoded_character_that_needs_no_encoding_is_refused(
    speak: Speak, path: str
) -> None:
    spine = await speak()
    response = await spine.http.request("POST", path, json={})
    assert response.status_code == 404
    assert "send it as it is" in response.text


@pytest.mark.parametrize("path", ["/v2/models/a%2", "/v2/models/a%zz", "/v2/models/%FF"])
async def test_a_path_that_cannot_be_decoded_is_refused(speak: Speak, path: str) -> None:
    spine = await speak()
    response = await spine.http.get(path)
    assert response.status_code == 404
    assert "error" in response.json()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/metrics%0A", {"error", "error_type"}),
        ("/metrics/", {"error", "error_type"}),
        ("/v1/models/", {"error"}),
        ("/v2/nothing", {"error"}),
        ("/v2/embed/nothing", {"message", "id"}),
        ("/v1/embeddings/nothing", {"error"}),
        ("/docs/oauth2-redirect", {"error", "error_type"}),
        ("/redoc", {"error", "error_type"}),
    ],
)
async def test_unknown_routes_are_answered_in_the_shape_of_their_protocol(
    speak: Speak, method: str, path: str, keys: set[str]
) -> None:
    spine = await speak()
    response = await spine.http.request(method, path)
    # A path with a parameter may exist with other methods.
    assert response.status_code in (404, 405)
    assert set(response.json()) == keys


async def test_a_404_names_the_nearest_route(speak: Speak) -> None:
    spine = await speak()
    response = await spine.http.post("/v1/embedings", json={})
    assert response.json()["error"]["message"] == (
        "no such route: /v1/embedings; the nearest is POST /v1/embeddings"
    )


async def test_tokenizing_has_a_deadline(speak: Speak, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(request=RequestSettings(request_timeout_ms=50))
    spine = await speak(settings=settings)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(self: TokenizeTask, request: Any, model: Any) -> Any:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30.0)

    monkeypatch.setattr(TokenizeTask, "rows", slow)
    try:
        response = await spine.http.post("/tokenize", json={"inputs": "a" * 5000})
    finally:
        release.set()
    assert response.status_code == 504
    assert response.json()["error_type"] == "Backend"


@pytest.mark.parametrize(
    ("path", "body"), [("/tokenize", {"inputs": "a"}), ("/decode", {"ids": [101]})]
)
async def test_the_tokenizers_routes_are_refused_while_draining(
    speak: Speak, path: str, body: dict[str, Any]
) -> None:
    spine = await speak()
    spine.inference.draining = True
    response = await spine.http.post(path, json=body)
    assert response.status_code == 503


async def test_the_tokenizers_routes_take_no_more_inputs_than_others(speak: Speak) -> None:
    spine = await speak()
    response = await spine.http.post("/tokenize", json={"inputs": ["a"] * 2049})
    assert response.status_code == 422
    assert response.json()["error"] == "2049 inputs; the limit is 2048 a request"
