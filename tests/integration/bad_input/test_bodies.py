"""Bodies that are no request, and inputs of wrong types."""

import json
from typing import Any

import httpx
import pytest

from tests.integration.bad_input.asking import (
    PATHS,
    body,
    message_of,
    rest_protocols,
    validation_status,
)


@rest_protocols
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b'{"a":',
        b"\x00",
        b"\xff\xfe",
        b'{"unknown": NaN}',
        b'{"unknown": -Infinity}',
        b'{"unknown": "\\ud800"}',
        b'{"unknown": ' + b"[" * 100_000,
        b'{"unknown": ' * 100_000,
    ],
    ids=range(10),
)
def test_a_body_that_is_not_json_is_400(http: httpx.Client, protocol: str, content: bytes) -> None:
    response = http.post(PATHS[protocol], content=content)
    assert response.status_code == 400
    message = message_of(protocol, response)
    assert "not valid JSON" in message or "nested too deeply" in message
    assert response.headers["x-request-id"]


@rest_protocols
@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"5", b"[" * 100_000])
def test_json_that_is_no_object(http: httpx.Client, protocol: str, content: bytes) -> None:
    response = http.post(PATHS[protocol], content=content)
    assert response.status_code == validation_status(protocol)
    assert "Expected `object`" in message_of(protocol, response)


@rest_protocols
def test_a_missing_field_is_named(http: httpx.Client, protocol: str) -> None:
    whole = body(protocol, ["a"])
    whole = {name: value for name, value in whole.items() if name == "model"}
    response = http.post(PATHS[protocol], json=whole)
    assert response.status_code == validation_status(protocol)
    sentence = "texts is empty" if protocol == "cohere" else "missing required field"
    assert sentence in message_of(protocol, response)


@rest_protocols
@pytest.mark.parametrize(
    "inputs",
    [5, None, {"text": "a"}, True, [None], [1.5], [{"text": "a"}], [True], ["a", 1], [["a", 1]]],
)
def test_inputs_of_wrong_types(http: httpx.Client, protocol: str, inputs: Any) -> None:
    response = http.post(PATHS[protocol], json=body(protocol, inputs))
    if protocol == "v2" and inputs is None:
        assert "neither data nor binary_data_size" in message_of(protocol, response)
    if protocol == "cohere" and inputs is None:
        assert response.status_code == 400
    else:
        assert response.status_code == validation_status(protocol)
    assert message_of(protocol, response)


@rest_protocols
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "[NaN]"])
def test_numbers_that_json_does_not_have(http: httpx.Client, protocol: str, number: str) -> None:
    whole = json.dumps(body(protocol, "HERE")).replace('"HERE"', number)
    response = http.post(PATHS[protocol], content=whole)
    assert response.status_code == 400
    assert "not valid JSON" in message_of(protocol, response)


@pytest.mark.parametrize("protocol", ["v1", "openai", "tei"])
def test_mixed_inputs(http: httpx.Client, protocol: str) -> None:
    response = http.post(PATHS[protocol], json=body(protocol, ["a", [1]]))
    assert response.status_code == validation_status(protocol)
    message = message_of(protocol, response)
    assert "mixes texts and lists of token ids (at index 1); all must be of one kind" in message
