"""Cohere's embed: types by name, dimensions, truncation; several types in one answer."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from predictor.errors import EmptyInput, InvalidInput
from predictor.protocols import cohere
from predictor.types import EmbedResult, OutputType


def body(**content: Any) -> bytes:
    return json.dumps({"model": "minilm", "texts": ["a", "b"], **content}).encode()


def test_the_least_that_is_needed() -> None:
    request = cohere.decode_request(body()).request
    assert request.inputs == ["a", "b"]
    assert (request.protocol, request.model) == ("cohere", "minilm")
    assert request.output_types == (OutputType.FLOAT,)
    assert request.normalize is True
    assert (request.truncate, request.truncation_direction) == (True, "right")
    assert (request.dimensions, request.input_type) == (None, None)


@pytest.mark.parametrize(
    ("given", "truncate", "direction"),
    [("NONE", False, "right"), ("END", True, "right"), ("START", True, "left")],
)
def test_truncate(given: str, truncate: bool, direction: str) -> None:
    request = cohere.decode_request(body(truncate=given)).request
    assert (request.truncate, request.truncation_direction) == (truncate, direction)


@pytest.mark.parametrize(
    "name", ["search_query", "search_document", "classification", "clustering"]
)
def test_input_type(name: str) -> None:
    assert cohere.decode_request(body(input_type=name)).request.input_type == name


def test_output_dimension() -> None:
    assert cohere.decode_request(body(output_dimension=64)).request.dimensions == 64


@pytest.mark.parametrize(
    ("given", "types"),
    [
        (["float"], {OutputType.FLOAT}),
        (["base64"], {OutputType.FLOAT}),
        (["int8", "int8", "base64"], {OutputType.FLOAT, OutputType.INT8}),
        (
            ["float", "int8", "uint8", "binary", "ubinary"],
            set(OutputType),
        ),
    ],
)
def test_embedding_types(given: list[str], types: set[OutputType]) -> None:
    asked = cohere.decode_request(body(embedding_types=given)).request.output_types
    assert set(asked) == types
    assert len(asked) == len(types)


@pytest.mark.parametrize(
    "content",
    [{"images": ["data:"]}, {"inputs": [{"content": []}]}, {"input_type": "image"}],
)
def test_images_are_not_served(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        cohere.decode_request(body(**content))
    assert str(raised.value) == ("this model embeds texts; images and mixed inputs are not served")


@pytest.mark.parametrize("texts", [[], None])
def test_no_texts(texts: Any) -> None:
    with pytest.raises(EmptyInput) as raised:
        cohere.decode_request(body(texts=texts))
    assert str(raised.value) == "texts is empty; at least one text is needed"


def test_no_embedding_types() -> None:
    with pytest.raises(InvalidInput) as raised:
        cohere.decode_request(body(embedding_types=[]))
    assert str(raised.value) == "embedding_types is empty; leave it out for float"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"texts": "a"}, "$.texts"),
        ({"texts": ["a", 1]}, "$.texts[1]"),
        ({"texts": [[1, 2]]}, "$.texts[0]"),
        ({"model": None}, "$.model"),
        ({"input_type": "search"}, "$.input_type"),
        ({"embedding_types": ["float", "int4"]}, "$.embedding_types[1]"),
        ({"truncate": "none"}, "$.truncate"),
        ({"output_dimension": "64"}, "$.output_dimension"),
    ],
)
def test_a_wrong_type_is_told_with_its_place(content: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: ") as raised:
        cohere.decode_request(body(**content))
    assert str(raised.value).endswith(f"`{place}`")


def test_an_answer_with_every_type() -> None:
    vectors = np.array([[0.5, -1.0], [0.25, 2.0]], dtype=np.float32)
    signed = np.array([[64, -127], [16, 127]], dtype=np.int8)
    unsigned = np.array([[192, 1], [144, 255]], dtype=np.uint8)
    bits = np.array([[128], [192]], dtype=np.uint8)
    shifted = np.array([[0], [64]], dtype=np.int8)
    result = EmbedResult(
        vectors=vectors,
        tokens=6,
        truncated=[],
        model="minilm",
        version="1",
        revision="r",
        request_id="r1",
        quantized={
            OutputType.INT8: signed,
            OutputType.UINT8: unsigned,
            OutputType.BINARY: shifted,
            OutputType.UBINARY: bits,
        },
    )
    kinds = ["ubinary", "float", "base64", "int8", "uint8", "binary"]
    options = cohere.decode_request(body(embedding_types=kinds)).options
    answer = json.loads(cohere.encode_response(options, result).body)
    encoded = answer["embeddings"].pop("base64")
    np.testing.assert_array_equal(
        [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in encoded], vectors
    )
    assert answer == {
        "id": "r1",
        "response_type": "embeddings_by_type",
        "embeddings": {
            "ubinary": [[128], [192]],
            "float": [[0.5, -1.0], [0.25, 2.0]],
            "int8": [[64, -127], [16, 127]],
            "uint8": [[192, 1], [144, 255]],
            "binary": [[0], [64]],
        },
        "texts": ["a", "b"],
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": 6},
            "model_version": "1",
        },
    }


def test_the_error_has_the_request_id() -> None:
    assert json.loads(cohere.encode_error("why", "r1")) == {"message": "why", "id": "r1"}
