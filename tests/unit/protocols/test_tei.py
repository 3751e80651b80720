"""TEI's routes: its defaults, its refusal of empty texts, its statuses and error types."""

import json
from typing import Any

import numpy as np
import pytest

from predictor.errors import EmptyInput, InvalidInput, MalformedBody
from predictor.protocols import tei
from predictor.types import EmbedResult


def body(**content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])],
)
def test_inputs_and_defaults(given: Any, inputs: Any) -> None:
    request = tei.decode_request(body(inputs=given)).request
    assert request.inputs == inputs
    assert request.protocol == "tei"
    assert request.normalize is True
    assert (request.truncate, request.truncation_direction) == (None, "right")
    assert (request.prompt_name, request.dimensions) == (None, None)


def test_options() -> None:
    request = tei.decode_request(
        body(inputs="a", truncate=True, prompt_name="query", normalize=False, dimensions=8)
    ).request
    assert (request.truncate, request.normalize) == (True, False)
    assert (request.prompt_name, request.dimensions) == ("query", 8)


@pytest.mark.parametrize(
    ("given", "direction"),
    [("Left", "left"), ("left", "left"), ("Right", "right"), ("right", "right")],
)
def test_truncation_direction(given: str, direction: str) -> None:
    request = tei.decode_request(body(inputs="a", truncation_direction=given)).request
    assert request.truncation_direction == direction


@pytest.mark.parametrize("given", ["", ["a", ""]])
def test_an_empty_text_is_refused_as_tei_does(given: Any) -> None:
    with pytest.raises(EmptyInput) as raised:
        tei.decode_request(body(inputs=given))
    assert str(raised.value) == "`inputs` cannot be empty"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "inputs is empty; at least one text is needed"),
        ([[]], "inputs[0] is an empty list of token ids"),
    ],
)
def test_an_empty_list(given: Any, sentence: str) -> None:
    with pytest.raises(EmptyInput) as raised:
        tei.decode_request(body(inputs=given))
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"inputs": 5},
        {"inputs": None},
        {"inputs": {"text": "a"}},
        {"inputs": "a", "truncate": "yes"},
        {"inputs": "a", "normalize": None},
        {"inputs": "a", "truncation_direction": "Up"},
        {"inputs": "a", "dimensions": 1.5},
    ],
)
def test_wrong_types(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: ") as raised:
        tei.decode_request(body(**content))
    assert not isinstance(raised.value, MalformedBody)


def test_the_answer_is_the_bare_list() -> None:
    vectors = np.array([[0.5, -1.0]], dtype=np.float32)
    result = EmbedResult(
        vectors=vectors, tokens=3, truncated=[], model="m", version="1", revision="r"
    )
    assert json.loads(tei.encode_response(None, result).body) == [[0.5, -1.0]]


# /tokenize and /decode


@pytest.mark.parametrize(("given", "texts"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_tokenize(given: Any, texts: list[str]) -> None:
    request = tei.decode_tokenize(body(inputs=given))
    assert request.inputs == texts
    assert request.add_special_tokens is True
    assert request.prompt_name is None


def test_tokenize_options() -> None:
    request = tei.decode_tokenize(body(inputs="a", add_special_tokens=False, prompt_name="q"))
    assert (request.add_special_tokens, request.prompt_name) == (False, "q")


@pytest.mark.parametrize("given", [[], "", ["a", ""]])
def test_tokenize_nothing(given: Any) -> None:
    with pytest.raises(EmptyInput) as raised:
        tei.decode_tokenize(body(inputs=given))
    assert str(raised.value) == "`inputs` cannot be empty"


@pytest.mark.parametrize("given", [5, None, [1], [["a"]]])
def test_tokenize_takes_texts_only(given: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: "):
        tei.decode_tokenize(body(inputs=given))


def test_tokens_as_tei_writes_them() -> None:
    encoded = tei.encode_tokenize([[(101, "[CLS]", True, None), (7, "hi", False, (0, 2))]])
    assert json.loads(encoded.body) == [
        [
            {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
            {"id": 7, "text": "hi", "special": False, "start": 0, "stop": 2},
        ]
    ]


@pytest.mark.parametrize(("ids", "rows"), [([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])])
@pytest.mark.parametrize("skip", [True, False])
def test_decode(ids: Any, rows: list[list[int]], skip: bool) -> None:
    assert tei.decode_decode(body(ids=ids, skip_special_tokens=skip)) == (rows, skip)


def test_decode_leaves_special_tokens_out_unless_told() -> None:
    assert tei.decode_decode(body(ids=[1]))[1] is True


@pytest.mark.parametrize(
    ("ids", "beginning"),
    [([], "ids is empty; at least one "), ([[1], []], "ids[1] is an empty list of token ids")],
)
def test_decode_nothing(ids: Any, beginning: str) -> None:
    with pytest.raises(EmptyInput) as raised:
        tei.decode_decode(body(ids=ids))
    assert str(raised.value).startswith(beginning)


def test_decode_of_mixed_rows() -> None:
    with pytest.raises(InvalidInput) as raised:
        tei.decode_decode(body(ids=[1, [2]]))
    assert str(raised.value) == (
        "ids mixes token ids and lists of token ids (at index 1); all must be of one kind"
    )


@pytest.mark.parametrize("ids", ["a", [1.5], [True], [[["a"]]], None])
def test_decode_takes_ids_only(ids: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: "):
        tei.decode_decode(body(ids=ids))


# Errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_input", "Validation"),
        ("malformed_body", "Validation"),
        ("input_too_long", "Validation"),
        ("batch_too_large", "Validation"),
        ("body_too_large", "Validation"),
        ("empty_input", "Empty"),
        ("overloaded", "Overloaded"),
        ("not_ready", "Unhealthy"),
        ("deadline_exceeded", "Backend"),
        ("engine_error", "Backend"),
        ("engine_out_of_memory", "Backend"),
        ("internal", "Backend"),
    ],
)
def test_error_types(code: str, kind: str) -> None:
    assert json.loads(tei.encode_error("why", code)) == {"error": "why", "error_type": kind}


def test_statuses_that_differ_from_the_other_protocols() -> None:
    assert tei.STATUS == {"invalid_input": 422, "input_too_long": 422, "batch_too_large": 422}
