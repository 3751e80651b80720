"""OpenAI's embeddings: inputs of four kinds in, floats or base64 out, its error object."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from predictor.errors import EmptyInput, InvalidInput
from predictor.protocols import openai
from predictor.types import EmbedResult

VECTORS = np.array([[0.5, -0.25], [1.0, 2.0]], dtype=np.float32)
RESULT = EmbedResult(
    vectors=VECTORS, tokens=7, truncated=[], model="minilm", version="1", revision="abc"
)


def body(**content: Any) -> bytes:
    return json.dumps({"model": "minilm", **content}).encode()


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", ["a"]),
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_the_four_kinds_of_input(given: Any, inputs: Any) -> None:
    decoded = openai.decode_request(body(input=given))
    assert decoded.request.inputs == inputs
    assert decoded.request.model == "minilm"
    assert decoded.request.protocol == "openai"
    assert decoded.request.dimensions is None
    assert decoded.options == "float"


def test_options() -> None:
    content = body(input="a", encoding_format="base64", dimensions=64, user="me", extra={"x": 1})
    decoded = openai.decode_request(content)
    assert decoded.options == "base64"
    assert decoded.request.dimensions == 64


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            ["a", 1],
            "input mixes texts and token ids (at index 1); all must be of one kind",
        ),
        (
            [1, 2, [3]],
            "input mixes token ids and lists of token ids (at index 2); all must be of one kind",
        ),
        (
            [[1], "a"],
            "input mixes lists of token ids and texts (at index 1); all must be of one kind",
        ),
    ],
)
def test_mixed_inputs(given: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        openai.decode_request(body(input=given))
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "input is empty; at least one text is needed"),
        ([[1], []], "input[1] is an empty list of token ids"),
    ],
)
def test_empty_inputs(given: Any, sentence: str) -> None:
    with pytest.raises(EmptyInput) as raised:
        openai.decode_request(body(input=given))
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"input": 5}, "$.input"),
        ({"input": [1.5]}, "$.input[0]"),
        ({"input": ["a", None]}, "$.input[1]"),
        ({"input": [["a"]]}, "$.input[0][0]"),
        ({"input": "a", "encoding_format": "hex"}, "$.encoding_format"),
        ({"input": "a", "dimensions": True}, "$.dimensions"),
        ({"input": "a", "dimensions": "8"}, "$.dimensions"),
        ({"input": "a", "model": 5}, "$.model"),
    ],
)
def test_a_wrong_type_is_told_with_its_place(content: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        openai.decode_request(body(**content))
    assert str(raised.value).startswith("request body: ")
    assert str(raised.value).endswith(f"`{place}`")


@pytest.mark.parametrize("missing", ["input", "model"])
def test_a_missing_field_is_named(missing: str) -> None:
    content = {"model": "minilm", "input": "a"}
    del content[missing]
    with pytest.raises(InvalidInput, match=f"missing required field `{missing}`"):
        openai.decode_request(json.dumps(content).encode())


def test_a_message_does_not_repeat_a_long_value() -> None:
    with pytest.raises(InvalidInput) as raised:
        openai.decode_request(body(input="a", encoding_format="x" * 100_000))
    assert len(str(raised.value)) < 500


def test_an_answer_in_floats() -> None:
    encoded = openai.encode_response("float", RESULT)
    assert encoded.content_type == "application/json"
    assert json.loads(encoded.body) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -0.25]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 2.0]},
        ],
        "model": "minilm",
        "model_version": "1",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_an_answer_in_base64() -> None:
    rows = json.loads(openai.encode_response("base64", RESULT).body)["data"]
    decoded = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in rows]
    np.testing.assert_array_equal(decoded, VECTORS)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "invalid_request_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
    ],
)
def test_the_error_object(status: int, kind: str) -> None:
    assert json.loads(openai.encode_error("why", status, "some_code")) == {
        "error": {"message": "why", "type": kind, "param": None, "code": "some_code"}
    }
