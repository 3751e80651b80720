"""Models, versions and paths that are not here."""

from typing import Any, cast

import grpc
import httpx
import pytest

from predictor.kserve_sdk import messages
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import (
    PATHS,
    body,
    infer_message,
    message_of,
    refused,
)

NEAR = {"minilm2", "MiniLM", "mini lm"}


@pytest.mark.parametrize("protocol", ["v1", "v2", "openai", "cohere", "grpc"])
@pytest.mark.parametrize("name", ["nope", *sorted(NEAR), "%", "n" * 5000])
def test_an_unknown_model(http: httpx.Client, stub: Any, protocol: str, name: str) -> None:
    if protocol == "grpc":
        refusal = refused(stub, infer_message(b"a", model=name))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        message = refusal.message
    else:
        path = PATHS[protocol].replace(MODEL, name.replace("%", "%25"))
        response = http.post(path, json=body(protocol, ["a"], model=name))
        assert response.status_code == 404
        message = message_of(protocol, response)
    hint = f"the nearest is {MODEL!r}; " if name in NEAR else ""
    assert message == f"model {name[:80]!r} is not served here; {hint}served: {MODEL}"


@pytest.mark.parametrize(
    "path", ["/v1/models/:predict", "/v2/models//infer", "/v2/models//versions/1/infer"]
)
def test_no_name_in_the_path_is_no_model(http: httpx.Client, path: str) -> None:
    protocol = "v1" if path.startswith("/v1") else "v2"
    assert http.post(path, json=body(protocol, ["a"])).status_code in (404, 405)


@pytest.mark.parametrize("suffix", ["", "/ready"])
@pytest.mark.parametrize("place", ["nope", f"{MODEL}/versions/7"])
def test_metadata_of_what_is_not_served(http: httpx.Client, place: str, suffix: str) -> None:
    response = http.get(f"/v2/models/{place}{suffix}")
    assert response.status_code == 404
    assert f"served: {'1' if 'versions' in place else MODEL}" in message_of("v2", response)


@pytest.mark.parametrize("path", ["/v1/models/nope", "/openai/v1/models/nope"])
def test_an_unknown_model_by_openais_route(http: httpx.Client, path: str) -> None:
    response = http.get(path)
    assert response.status_code == 404
    assert "model 'nope' is not served here" in response.text


@pytest.mark.parametrize("version", ["7", "0", "01", "latest", "v" * 5000])
def test_an_unknown_version(http: httpx.Client, stub: Any, version: str) -> None:
    sentence = f"model '{MODEL}' has no version {version[:80]!r}; served: 1"
    path = f"/v2/models/{MODEL}/versions/{version}/infer"
    response = http.post(path, json=body("v2", ["a"]))
    assert response.status_code == 404
    assert message_of("v2", response) == sentence
    refusal = refused(stub, infer_message(b"a", version=version))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.message == sentence


@pytest.mark.parametrize(("name", "version"), [("nope", ""), (MODEL, "7")])
def test_grpc_metadata_of_what_is_not_served(stub: Any, name: str, version: str) -> None:
    request = messages.ModelReadyRequest(name=name, version=version)
    assert not stub.ModelReady(request, timeout=DEADLINE_S).ready
    request = messages.ModelMetadataRequest(name=name, version=version)
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelMetadata(request, timeout=DEADLINE_S)
    assert cast(grpc.Call, raised.value).code() is grpc.StatusCode.NOT_FOUND


def test_a_wrong_path_comes_before_a_wrong_body(http: httpx.Client) -> None:
    assert http.post("/v2/models/nope/infer", content=b"nonsense").status_code == 404
