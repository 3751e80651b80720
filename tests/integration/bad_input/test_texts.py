"""Empty, odd and invalid texts, and token ids."""

import json
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.contract.helpers import MODEL
from tests.integration.bad_input.asking import (
    PATHS,
    VOCABULARY,
    all_protocols,
    body,
    infer_message,
    message_of,
    refused,
    rest_protocols,
    validation_status,
    vectors_of,
)


@all_protocols
def test_an_empty_list(http: httpx.Client, stub: Any, protocol: str) -> None:
    if protocol == "grpc":
        refusal = refused(stub, infer_message(shape=[0]))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        response = http.post(PATHS[protocol], json=body(protocol, []))
        assert response.status_code == 400
        message = message_of(protocol, response)
        if protocol == "tei":
            assert response.json()["error_type"] == "Empty"
    assert "is empty" in message


@pytest.mark.parametrize("protocol", ["v1", "openai", "tei"])
def test_an_empty_list_of_token_ids(http: httpx.Client, protocol: str) -> None:
    response = http.post(PATHS[protocol], json=body(protocol, [[101, 102], []]))
    assert response.status_code == 400
    assert "[1] is an empty list of token ids" in message_of(protocol, response)


@pytest.mark.parametrize("protocol", ["v1", "v2", "openai", "cohere", "grpc"])
def test_an_empty_text_has_a_vector(http: httpx.Client, stub: Any, protocol: str) -> None:
    nothing = http.post("/v1/embeddings", json={"model": MODEL, "input": [101, 102]}).json()
    expected = nothing["data"][0]["embedding"]
    np.testing.assert_allclose(vectors_of(protocol, http, stub, ""), expected, atol=1e-5)


@pytest.mark.parametrize("inputs", ["", [""], ["a", ""]])
def test_an_empty_text_is_refused_by_tei(http: httpx.Client, inputs: Any) -> None:
    response = http.post("/embed", json={"inputs": inputs})
    assert response.status_code == 400
    assert response.json() == {"error": "`inputs` cannot be empty", "error_type": "Empty"}


@all_protocols
def test_nul_bytes_are_text_like_any_other(http: httpx.Client, stub: Any, protocol: str) -> None:
    # This model's tokenizer drops control characters.
    with_nul, expected = (vectors_of(protocol, http, stub, text) for text in ("a\0b", "ab"))
    np.testing.assert_allclose(with_nul, expected, atol=1e-5)


@rest_protocols
@pytest.mark.parametrize(
    "written",
    [rb"\ud800", rb"a\udfffb", rb"\ud83d", rb"\ude00\ud83d", b"\xed\xa0\x80", b"\xff", b"\n"],
)
def test_a_text_that_is_not_valid_unicode_is_refused(
    http: httpx.Client, protocol: str, written: bytes
) -> None:
    """Lone surrogates, bytes that are not UTF-8, control characters that JSON wants escaped."""
    whole = json.dumps(body(protocol, ["HERE"])).encode().replace(b"HERE", written)
    response = http.post(PATHS[protocol], content=whole)
    assert response.status_code == 400
    assert "not valid JSON" in message_of(protocol, response)


@pytest.mark.parametrize("raw", [True, False])
def test_bytes_that_are_not_utf8_over_grpc(stub: Any, raw: bool) -> None:
    message = infer_message(b"fine", b"\xff\xfe")
    if raw:
        message.inputs[0].contents.Clear()
        message.raw_input_contents.append(b"\x04\0\0\0fine\x02\0\0\0\xff\xfe")
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == "input 'text'[1] is not valid UTF-8"
    assert refusal.trailing["x-request-id"]


@pytest.mark.parametrize("protocol", ["v1", "openai", "tei"])
@pytest.mark.parametrize("token", [-1, VOCABULARY, 2**31, 2**32, 2**63, 10**30, -(10**30)])
def test_token_ids_out_of_the_vocabulary(http: httpx.Client, protocol: str, token: int) -> None:
    response = http.post(PATHS[protocol], json=body(protocol, [[101, 102], [101, token]]))
    assert response.status_code == validation_status(protocol)
    assert message_of(protocol, response) == (
        f"inputs[1] has token id {token}; this model's vocabulary has ids 0 to {VOCABULARY - 1}"
    )


@pytest.mark.parametrize("token", [-1, VOCABULARY, 2**31, 2**32, 2**63, 10**30, -(10**30)])
def test_decoding_token_ids_out_of_the_vocabulary(http: httpx.Client, token: int) -> None:
    response = http.post("/decode", json={"ids": [[101, 102], [101, token]]})
    assert response.status_code == 422
    message = message_of("tei", response)
    assert f"token id {token}" in message
    assert f"0 to {VOCABULARY - 1}" in message
