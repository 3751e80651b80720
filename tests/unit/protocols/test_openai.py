"""OpenAI's embeddings: inputs of four kinds in, floats or base64 out, its error object."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from predictor.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    EmptyInput,
    Internal,
    InvalidInput,
    ModelNotFound,
    NotReady,
    Overloaded,
    PredictorError,
)
from predictor.protocols.openai import VectorForm
from predictor.tasks.embed import EmbedResult
from predictor.types import OutputType
from tests.unit.protocols.calls import decode, encode, encode_error

VECTORS = np.array([[0.5, -0.25], [1.0, 2.0]], dtype=np.float32)
FLOATS = VectorForm("float", OutputType.FLOAT)
BASE64 = VectorForm("base64", OutputType.FLOAT)
RESULT = EmbedResult(
    vectors=VECTORS, tokens=7, truncated=[], model="minilm", version="1", revision="abc"
)


def body(**content: Any) -> bytes:
    return json.dumps({"model": "minilm", **content}).encode()


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("a", ["a"]),
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_the_four_kinds_of_input(value: Any, inputs: Any) -> None:
    decoded = decode("openai", body(input=value))
    assert decoded.request.inputs == inputs
    assert decoded.request.model == "minilm"
    assert decoded.request.dimensions is None
    assert decoded.options == FLOATS


def test_options() -> None:
    content = body(input="a", encoding_format="base64", dimensions=64, user="me", extra={"x": 1})
    decoded = decode("openai", content)
    assert decoded.options == BASE64
    assert decoded.request.dimensions == 64


@pytest.mark.parametrize(
    ("value", "sentence"),
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
def test_mixed_inputs(value: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode("openai", body(input=value))
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "input is empty; at least one text is needed"),
        ([[1], []], "input[1] is an empty list of token ids"),
    ],
)
def test_empty_inputs(value: Any, sentence: str) -> None:
    with pytest.raises(EmptyInput) as raised:
        decode("openai", body(input=value))
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
        decode("openai", body(**content))
    assert str(raised.value).startswith("request body: ")
    assert str(raised.value).endswith(f"`{place}`")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidInput, match="missing required field `input`"):
        decode("openai", b'{"model": "minilm"}')


def test_a_message_does_not_repeat_a_long_value() -> None:
    with pytest.raises(InvalidInput) as raised:
        decode("openai", body(input="a", encoding_format="x" * 100_000))
    assert len(str(raised.value)) < 500


def test_an_answer_in_floats() -> None:
    encoded = encode("openai", FLOATS, RESULT)
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
    rows = json.loads(encode("openai", BASE64, RESULT).body)["data"]
    decoded = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in rows]
    np.testing.assert_array_equal(decoded, VECTORS)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (InvalidInput("why"), "invalid_request_error", "invalid_input"),
        (BodyTooLarge("why"), "invalid_request_error", "body_too_large"),
        (Overloaded("why"), "rate_limit_error", "overloaded"),
        (Internal("why"), "server_error", "internal"),
        (NotReady("why"), "server_error", "not_ready"),
        (DeadlineExceeded("why"), "server_error", "deadline_exceeded"),
    ],
)
def test_the_error_object(error: PredictorError, kind: str, code: str) -> None:
    assert json.loads(encode_error("openai", error)) == {
        "error": {"message": "why", "type": kind, "param": None, "code": code}
    }


def test_an_unknown_model_names_the_field() -> None:
    error = json.loads(encode_error("openai", ModelNotFound("why")))["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
