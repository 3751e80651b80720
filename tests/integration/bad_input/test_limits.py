"""Too much of everything."""

import json
from typing import Any

import grpc
import httpx
import pytest

from predictor.kserve_sdk import messages
from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import (
    LIMIT_BYTES,
    LIMIT_INPUTS,
    LONG,
    PATHS,
    all_protocols,
    body,
    infer_message,
    message_of,
    refused,
    rest_protocols,
    validation_status,
    with_parameters,
)


@rest_protocols
def test_a_body_over_the_limit(http: httpx.Client, protocol: str) -> None:
    response = http.post(PATHS[protocol], content=b" " * 10_000_000)
    assert response.status_code == 413
    sentence = f"the body has 10000000 bytes; the limit is {LIMIT_BYTES}"
    assert message_of(protocol, response) == sentence
    assert response.headers["connection"] == "close"


def test_a_body_over_the_limit_that_does_not_say_so(http: httpx.Client) -> None:
    chunks = (b" " * 100_000 for _ in range(100))
    response = http.post("/embed", content=chunks)
    assert response.status_code == 413
    assert f"more than {LIMIT_BYTES} bytes" in message_of("tei", response)


@pytest.mark.parametrize("path", ["/tokenize", "/decode"])
def test_a_body_over_the_limit_of_a_tool(http: httpx.Client, path: str) -> None:
    response = http.post(path, content=b" " * 10_000_000)
    assert response.status_code == 413
    assert f"10000000 bytes; the limit is {LIMIT_BYTES}" in message_of("tei", response)


def test_the_largest_body_is_read(http: httpx.Client) -> None:
    content = json.dumps(body("openai", "a")).encode().ljust(LIMIT_BYTES)
    assert http.post("/v1/embeddings", content=content).status_code == 200
    assert http.post("/v1/embeddings", content=content + b" ").status_code == 413


def test_a_refused_body_is_counted(http: httpx.Client) -> None:
    def refusals() -> float:
        try:
            return counted(http, "predictor_requests_total", protocol="v1", code="413")
        except LookupError:
            return 0.0

    before = refusals()
    http.post(PATHS["v1"], content=b" " * 10_000_000)
    assert refusals() == before + 1


def test_a_grpc_message_over_the_limit(stub: Any) -> None:
    refusal = refused(stub, infer_message(b" " * 10_000_000))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(LIMIT_BYTES) in refusal.message
    assert stub.ServerReady(messages.ServerReadyRequest(), timeout=DEADLINE_S).ready


@all_protocols
def test_too_many_inputs(http: httpx.Client, stub: Any, protocol: str) -> None:
    if protocol == "grpc":
        refusal = refused(stub, infer_message(*[b"a"] * 100_000))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        response = http.post(PATHS[protocol], json=body(protocol, ["a"] * 100_000))
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == f"100000 inputs; the limit is {LIMIT_INPUTS} a request"


@pytest.mark.parametrize(
    ("path", "content"),
    [("/tokenize", {"inputs": ["a"] * 100_000}), ("/decode", {"ids": [[101]] * 100_000})],
    ids=["tokenize", "decode"],
)
def test_too_many_inputs_of_a_tool(http: httpx.Client, path: str, content: dict[str, Any]) -> None:
    response = http.post(path, json=content)
    assert response.status_code == 422
    assert message_of("tei", response) == f"100000 inputs; the limit is {LIMIT_INPUTS} a request"


def test_one_input_over_the_limit(http: httpx.Client) -> None:
    assert http.post("/embed", json={"inputs": ["a"] * LIMIT_INPUTS}).status_code == 200
    response = http.post("/embed", json={"inputs": ["a"] * (LIMIT_INPUTS + 1)})
    assert message_of("tei", response).startswith(f"{LIMIT_INPUTS + 1} inputs; ")


@pytest.mark.parametrize("protocol", ["v1", "v2", "tei", "cohere", "grpc"])
def test_a_text_over_the_models_length(http: httpx.Client, stub: Any, protocol: str) -> None:
    if protocol == "grpc":
        message_ = infer_message(b"fine", LONG.encode())
        message_.parameters["truncate"].bool_param = False
        refusal = refused(stub, message_)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        off = "NONE" if protocol == "cohere" else False
        content = with_parameters(protocol, ["fine", LONG], truncate=off)
        response = http.post(PATHS[protocol], json=content)
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == "inputs[1] has 302 tokens; the model takes 256 and truncation is off"
