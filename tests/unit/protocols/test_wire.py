"""What all formats share: strict JSON, rows of one kind, base64; and V1, which is little more."""

import base64
import json
from typing import Any

import msgspec
import numpy as np
import pytest

from predictor.errors import EmptyInput, Internal, InvalidInput, MalformedBody
from predictor.protocols.wire import as_inputs, base64_rows, decode_json, encode_json
from predictor.tasks.embed import EmbedResult
from tests.unit.protocols.calls import decode, embed_request, encode, encode_error


class Shape(msgspec.Struct):
    number: float | None = None
    text: str | None = None


def test_unknown_fields_are_ignored() -> None:
    assert decode_json(b'{"text": "a", "more": [1, {"x": null}]}', Shape) == Shape(text="a")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"number": 1,}',
        b"{'number': 1}",
        b'{"number": NaN}',
        b'{"number": Infinity}',
        b'{"number": 01}',
        b'{"text": "\xff"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\\ud800"}',
        b'{"text": "\\udc00a"}',
        b'{"text": "\n"}',
        b'{} {"number": 1}',
        b"\xef\xbb\xbf{}",
        '{"number": 1}'.encode("utf-16"),
        b"nonsense",
    ],
)
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"^request body is not valid JSON: "):
        decode_json(body, Shape)


@pytest.mark.parametrize("body", [b'{"x":' + b"[" * 100_000, b'{"x":' * 100_000])
def test_nested_too_deeply(body: bytes) -> None:
    with pytest.raises(MalformedBody) as raised:
        decode_json(body, Shape)
    assert str(raised.value) == "request body is nested too deeply"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[]", "request body: Expected `object`, got `array`"),
        (b'"a"', "request body: Expected `object`, got `str`"),
        (b"null", "request body: Expected `object`, got `null`"),
        (b'{"text": 5}', "request body: Expected `str | null`, got `int` - at `$.text`"),
        (b'{"number": "5"}', "request body: Expected `float | null`, got `str` - at `$.number`"),
        (b'{"number": 1e999}', "request body: Number out of range - at `$.number`"),
    ],
)
def test_json_of_another_shape(body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_json(body, Shape)
    assert not isinstance(raised.value, MalformedBody)
    assert str(raised.value) == sentence


def test_arrays_are_written_as_lists() -> None:
    content = {
        "floats": np.array([[0.1, 2.0]], dtype=np.float32),
        "bytes": np.array([[-128, 127]], dtype=np.int8),
    }
    assert json.loads(encode_json(content)) == {
        "floats": [[pytest.approx(0.1, abs=1e-7), 2.0]],
        "bytes": [[-128, 127]],
    }


def test_float32_survives_the_text() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    read = np.array(json.loads(encode_json(values)), dtype=np.float32)
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        ("a", ["a"]),
        ("", [""]),
        (["a"], ["a"]),
        (["", ""], ["", ""]),
        ([1, 2], [[1, 2]]),
        ([[1], [2]], [[1], [2]]),
    ],
)
def test_inputs_become_rows(raw: Any, rows: Any) -> None:
    assert as_inputs(raw, "things") == rows


@pytest.mark.parametrize(
    ("raw", "error", "sentence"),
    [
        ([], EmptyInput, "things is empty; at least one text is needed"),
        ([[]], EmptyInput, "things[0] is an empty list of token ids"),
        ([[1], []], EmptyInput, "things[1] is an empty list of token ids"),
        (
            ["a", [1]],
            InvalidInput,
            "things mixes texts and lists of token ids (at index 1); all must be of one kind",
        ),
        (
            [1, "a"],
            InvalidInput,
            "things mixes token ids and texts (at index 1); all must be of one kind",
        ),
    ],
)
def test_a_malformed_list_of_rows_is_refused(
    raw: Any, error: type[InvalidInput], sentence: str
) -> None:
    with pytest.raises(error) as raised:
        as_inputs(raw, "things")
    assert str(raised.value) == sentence


@pytest.mark.parametrize("order", ["<", ">"])
def test_base64_is_little_endian_everywhere(order: str) -> None:
    rows = np.array([[1.5, -2.0], [0.0, 3.0]], dtype=f"{order}f4")
    decoded = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in base64_rows(rows)]
    np.testing.assert_array_equal(decoded, [[1.5, -2.0], [0.0, 3.0]])


# V1


def v1_body(**content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("instances", "rows"),
    [(["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]]), ([""], [""])],
)
def test_v1_instances(instances: Any, rows: Any) -> None:
    request = embed_request("v1", v1_body(instances=instances))
    assert request.inputs == rows
    assert (request.dimensions, request.normalize, request.truncate) == (None, None, None)


def test_v1_parameters() -> None:
    parameters = {"dimensions": 8, "normalize": False, "truncate": True, "prompt_name": "query"}
    request = embed_request("v1", v1_body(instances=["a"], parameters=parameters))
    assert (request.dimensions, request.normalize) == (8, False)
    assert (request.truncate, request.prompt_name) == (True, "query")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"instances": []}, "instances is empty; at least one text is needed"),
        (
            {"instances": ["a", 1]},
            "instances mixes texts and token ids (at index 1); all must be of one kind",
        ),
        ({"instances": "a"}, "request body: Expected `array`, got `str` - at `$.instances`"),
        ({"inputs": ["a"]}, "request body: Object missing required field `instances`"),
        (
            {"instances": ["a"], "parameters": {"dimensions": True}},
            "request body: Expected `int | null`, got `bool` - at `$.parameters.dimensions`",
        ),
    ],
)
def test_v1_errors(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode("v1", v1_body(**content))
    assert str(raised.value) == sentence


def test_v1_answers() -> None:
    result = EmbedResult(
        vectors=np.array([[0.5, -1.0]], dtype=np.float32),
        tokens=3,
        truncated=[],
        model="m",
        version="1",
        revision="r",
    )
    assert json.loads(encode("v1", None, result).body) == {
        "predictions": [[0.5, -1.0]],
        "model_version": "1",
    }
    assert json.loads(encode_error("v1", Internal("why"))) == {"error": "why"}
