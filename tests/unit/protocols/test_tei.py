"""TEI's routes: its defaults, its refusal of empty texts, its statuses and error types."""

import json
from typing import Any

import numpy as np
import pytest

from predictor import errors
from predictor.engine.tokenizer import Piece
from predictor.errors import EmptyInput, InvalidInput, MalformedBody
from predictor.tasks.embed import EmbedResult
from predictor.tasks.tokenizer import TokenizeResult
from tests.unit.protocols.calls import codec, decode, embed_request, encode, encode_error


def body(**content: Any) -> bytes:
    return json.dumps(content).encode()


def tokenized(content: bytes) -> Any:
    """The request in a body of /tokenize."""
    return decode("tei", content, task="tokenize").request


def detokenized(content: bytes) -> Any:
    """The request in a body of /decode."""
    return decode("tei", content, task="decode").request


@pytest.mark.parametrize(
    ("value", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])],
)
def test_inputs_and_defaults(value: Any, inputs: Any) -> None:
    request = embed_request("tei", body(inputs=value))
    assert request.inputs == inputs
    assert request.normalize is None
    assert (request.truncate, request.truncation_direction) == (None, "right")
    assert (request.prompt_name, request.dimensions) == (None, None)


def test_options() -> None:
    request = embed_request(
        "tei", body(inputs="a", truncate=True, prompt_name="query", normalize=False, dimensions=8)
    )
    assert (request.truncate, request.normalize) == (True, False)
    assert (request.prompt_name, request.dimensions) == ("query", 8)


@pytest.mark.parametrize(
    ("value", "direction"),
    [("Left", "left"), ("left", "left"), ("Right", "right"), ("right", "right")],
)
def test_truncation_direction(value: str, direction: str) -> None:
    request = embed_request("tei", body(inputs="a", truncation_direction=value))
    assert request.truncation_direction == direction


@pytest.mark.parametrize("value", ["", ["a", ""]])
def test_an_empty_text_is_refused_as_tei_does(value: Any) -> None:
    with pytest.raises(EmptyInput) as raised:
        decode("tei", body(inputs=value))
    assert str(raised.value) == "`inputs` cannot be empty"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "inputs is empty; at least one text is needed"),
        ([[]], "inputs[0] is an empty list of token ids"),
    ],
)
def test_an_empty_list(value: Any, sentence: str) -> None:
    with pytest.raises(EmptyInput) as raised:
        decode("tei", body(inputs=value))
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"inputs": 5},
        {"inputs": None},
        {"inputs": {"text": "a"}},
        {"inputs": "a", "truncate": "yes"},
        {"inputs": "a", "normalize": "yes"},
        {"inputs": "a", "truncation_direction": "Up"},
        {"inputs": "a", "dimensions": 1.5},
    ],
)
def test_wrong_types(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: ") as raised:
        decode("tei", body(**content))
    assert not isinstance(raised.value, MalformedBody)


def test_the_answer_is_the_bare_list() -> None:
    vectors = np.array([[0.5, -1.0]], dtype=np.float32)
    result = EmbedResult(
        vectors=vectors, tokens=3, truncated=[], model="m", version="1", revision="r"
    )
    assert json.loads(encode("tei", None, result).body) == [[0.5, -1.0]]


# /tokenize and /decode


@pytest.mark.parametrize(("value", "texts"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_tokenize(value: Any, texts: list[str]) -> None:
    request = tokenized(body(inputs=value))
    assert request.texts == texts
    assert request.add_special_tokens is True
    assert request.prompt_name is None


def test_tokenize_options() -> None:
    request = tokenized(body(inputs="a", add_special_tokens=False, prompt_name="q"))
    assert (request.add_special_tokens, request.prompt_name) == (False, "q")


@pytest.mark.parametrize("value", [[], "", ["a", ""]])
def test_tokenize_nothing(value: Any) -> None:
    with pytest.raises(EmptyInput) as raised:
        tokenized(body(inputs=value))
    assert str(raised.value) == "`inputs` cannot be empty"


@pytest.mark.parametrize("value", [5, None, [1], [["a"]]])
def test_tokenize_takes_texts_only(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: "):
        tokenized(body(inputs=value))


def test_tokens_as_tei_writes_them() -> None:
    pieces: list[list[Piece]] = [[(101, "[CLS]", True, None), (7, "hi", False, (0, 2))]]
    result = TokenizeResult(
        texts=pieces, tokens=2, truncated=[], model="minilm", version="1", revision="abc"
    )
    encoded = encode("tei", None, result, task="tokenize")
    assert json.loads(encoded.body) == [
        [
            {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
            {"id": 7, "text": "hi", "special": False, "start": 0, "stop": 2},
        ]
    ]


@pytest.mark.parametrize(("ids", "rows"), [([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])])
@pytest.mark.parametrize("skip", [True, False])
def test_decode(ids: Any, rows: list[list[int]], skip: bool) -> None:
    request = detokenized(body(ids=ids, skip_special_tokens=skip))
    assert (request.ids, request.skip_special_tokens) == (rows, skip)


def test_decode_leaves_special_tokens_out_unless_told() -> None:
    assert detokenized(body(ids=[1])).skip_special_tokens is True


@pytest.mark.parametrize(
    ("ids", "beginning"),
    [([], "ids is empty; at least one "), ([[1], []], "ids[1] is an empty list of token ids")],
)
def test_decode_nothing(ids: Any, beginning: str) -> None:
    with pytest.raises(EmptyInput) as raised:
        detokenized(body(ids=ids))
    assert str(raised.value).startswith(beginning)


def test_decode_of_mixed_rows() -> None:
    with pytest.raises(InvalidInput) as raised:
        detokenized(body(ids=[1, [2]]))
    assert str(raised.value) == (
        "ids mixes token ids and lists of token ids (at index 1); all must be of one kind"
    )


@pytest.mark.parametrize("ids", ["a", [1.5], [True], [[["a"]]], None])
def test_decode_takes_ids_only(ids: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^request body: "):
        detokenized(body(ids=ids))


# Errors


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (errors.InvalidInput("why"), "Validation", 422),
        (errors.MalformedBody("why"), "Validation", 400),
        (errors.InputTooLong("why"), "Validation", 422),
        (errors.BatchTooLarge("why"), "Validation", 422),
        (errors.BodyTooLarge("why"), "Validation", 413),
        (errors.EmptyInput("why"), "Empty", 400),
        (errors.Overloaded("why"), "Overloaded", 429),
        (errors.NotReady("why"), "Unhealthy", 503),
        (errors.DeadlineExceeded("why"), "Backend", 504),
        (errors.TaskNotSupported("why"), "Backend", 424),
        (errors.EngineError("why"), "Backend", 500),
        (errors.EngineOutOfMemory("why"), "Backend", 503),
        (errors.Internal("why"), "Backend", 500),
    ],
)
def test_errors_have_the_types_and_statuses_of_tei(
    error: errors.PredictorError, kind: str, status: int
) -> None:
    assert json.loads(encode_error("tei", error)) == {"error": "why", "error_type": kind}
    assert codec("tei").status(error) == status


def test_the_model_is_named_by_a_header() -> None:
    headers = {"x-model": "other"}
    assert embed_request("tei", body(inputs="a"), headers).model == "other"
    assert embed_request("tei", body(inputs="a")).model == ""
