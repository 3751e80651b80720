"""Cohere's embed: types by name, dimensions, truncation; several types in one answer."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from predictor.errors import EmptyInput, Internal, InvalidInput
from predictor.tasks.embed import EmbedResult
from predictor.types import OutputType
from tests.unit.protocols.calls import decode, embed_request, encode, encode_error


def body(**content: Any) -> bytes:
    return json.dumps({"model": "minilm", "texts": ["a", "b"], **content}).encode()


def test_the_least_that_is_needed() -> None:
    request = embed_request("cohere", body())
    assert request.inputs == ["a", "b"]
    assert request.model == "minilm"
    assert request.output_types == (OutputType.FLOAT,)
    assert request.normalize is None
    assert (request.truncate, request.truncation_direction) == (True, "right")
    assert (request.dimensions, request.input_type) == (None, None)


@pytest.mark.parametrize(
    ("value", "truncate", "direction"),
    [("NONE", False, "right"), ("END", True, "right"), ("START", True, "left")],
)
def test_truncate(value: str, truncate: bool, direction: str) -> None:
    request = embed_request("cohere", body(truncate=value))
    assert (request.truncate, request.truncation_direction) == (truncate, direction)


@pytest.mark.parametrize(
    "name", ["search_query", "search_document", "classification", "clustering"]
)
def test_input_type(name: str) -> None:
    assert embed_request("cohere", body(input_type=name)).input_type == name


def test_output_dimension() -> None:
    assert embed_request("cohere", body(output_dimension=64)).dimensions == 64


@pytest.mark.parametrize(
    ("names", "types"),
    [
        (["float"], {OutputType.FLOAT}),
        (["base64"], {OutputType.FLOAT}),
        (["int8", "base64"], {OutputType.FLOAT, OutputType.INT8}),
        (
            ["float", "int8", "uint8", "binary", "ubinary"],
            set(OutputType),
        ),
    ],
)
def test_embedding_types(names: list[str], types: set[OutputType]) -> None:
    requested = embed_request("cohere", body(embedding_types=names)).output_types
    assert set(requested) == types
    assert len(requested) == len(types)


@pytest.mark.parametrize("content", [{"images": ["data:"]}, {"input_type": "image"}])
def test_images_are_not_served(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode("cohere", body(**content))
    assert str(raised.value) == "this model embeds texts; images are not served"


@pytest.mark.parametrize("texts", [[], None])
def test_a_request_without_texts_is_refused(texts: Any) -> None:
    with pytest.raises(EmptyInput) as raised:
        decode("cohere", body(texts=texts))
    assert str(raised.value) == "texts is empty; at least one text is needed"


@pytest.mark.parametrize(
    ("kinds", "name"),
    [(["base64"] * 14_000, "base64"), (["float", "int8", "float"], "float")],
)
def test_a_type_that_is_asked_for_twice_is_named(kinds: list[str], name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode("cohere", body(embedding_types=kinds))
    sentence = f"embedding_types has {name!r} twice; each type may be asked for once"
    assert str(raised.value) == sentence


def test_an_empty_list_of_embedding_types_is_refused() -> None:
    with pytest.raises(InvalidInput) as raised:
        decode("cohere", body(embedding_types=[]))
    assert str(raised.value) == "embedding_types is empty; leave it out for float"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"texts": "a"}, "$.texts"),
        ({"texts": ["a", 1]}, "$.texts[1]"),
        ({"texts": [[1, 2]]}, "$.texts[0]"),
        ({"model": 1}, "$.model"),
        ({"input_type": "search"}, "$.input_type"),
        ({"embedding_types": ["float", "int4"]}, "$.embedding_types[1]"),
        ({"truncate": "none"}, "$.truncate"),
        ({"output_dimension": "64"}, "$.output_dimension"),
    ],
)
def test_a_wrong_type_is_told_with_its_place(content: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: ") as raised:
        decode("cohere", body(**content))
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
        quantized={
            OutputType.INT8: signed,
            OutputType.UINT8: unsigned,
            OutputType.BINARY: shifted,
            OutputType.UBINARY: bits,
        },
    )
    kinds = ["ubinary", "float", "base64", "int8", "uint8", "binary"]
    options = decode("cohere", body(embedding_types=kinds)).options
    answer = json.loads(encode("cohere", options, result).body)
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
    assert json.loads(encode_error("cohere", Internal("why"))) == {"message": "why", "id": "r1"}


def test_a_mixed_input_of_one_text_is_a_text() -> None:
    mixed = [{"content": [{"type": "text", "text": text}]} for text in ("a", "b")]
    for name in ("cohere", "cohere_v1"):
        assert embed_request(name, body(texts=None, inputs=mixed)).inputs == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        [],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        [{"type": "text"}],
    ],
    ids=["empty", "image", "two texts", "no text"],
)
def test_another_mixed_input_is_refused_by_its_place(content: list[Any]) -> None:
    with pytest.raises(InvalidInput, match=r"inputs\[0\]\.content") as refused:
        decode("cohere", body(texts=None, inputs=[{"content": content}]))
    assert refused.value.param == "inputs"


def test_texts_and_inputs_together_are_refused() -> None:
    mixed = [{"content": [{"type": "text", "text": "a"}]}]
    with pytest.raises(InvalidInput, match="texts and inputs are both given"):
        decode("cohere", body(inputs=mixed))


def test_version_1_answers_with_a_list_of_vectors() -> None:
    vectors = np.array([[0.5, -0.25]], dtype=np.float32)
    result = EmbedResult(
        vectors=vectors, tokens=3, truncated=[], model="m", version="2", revision="r"
    )
    _, options = decode("cohere_v1", body(texts=["a"], truncate=None))
    answer = json.loads(encode("cohere_v1", options, result).body)
    assert answer["response_type"] == "embeddings_floats"
    assert answer["embeddings"] == [[0.5, -0.25]]
    assert answer["meta"]["api_version"] == {"version": "1"}
    _, options = decode("cohere_v1", body(texts=["a"], embedding_types=["float"]))
    answer = json.loads(encode("cohere_v1", options, result).body)
    assert answer["response_type"] == "embeddings_by_type"
    assert answer["embeddings"] == {"float": [[0.5, -0.25]]}
