"""V2 tensors in JSON and in binary: each rule of reading and writing them."""

import json
import struct
from typing import Any

import numpy as np
import pytest

from predictor.bundle.manifest import Bundle
from predictor.errors import EmptyInput, InvalidInput, MalformedBody
from predictor.protocols.v2 import InferOptions
from predictor.protocols.v2_embed import EmbedTensors
from predictor.protocols.v2_tensors import model_metadata, parse_priority
from predictor.tasks.embed import EmbedResult
from predictor.types import Lane, Pooling
from tests.unit.protocols.calls import decode_v2, encode

VECTORS = np.array([[0.5, -0.25, 0.0], [1.0, 2.0, -3.5]], dtype=np.float32)


def tensor(**changes: Any) -> dict[str, Any]:
    """A valid input tensor of one text, with changes; a value of `...` removes the key."""
    whole = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]} | changes
    return {key: value for key, value in whole.items() if value is not ...}


def body(*tensors: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"inputs": list(tensors or (tensor(),)), **others}).encode()


def binary(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def binary_body(raw: bytes, **changes: Any) -> tuple[bytes, int]:
    """A body with a binary tensor, and its `Inference-Header-Content-Length`."""
    parameters = {"binary_data_size": len(raw)}
    header = body(tensor(**({"data": ..., "parameters": parameters} | changes)))
    return header + raw, len(header)


def result(**changes: Any) -> EmbedResult:
    whole: dict[str, Any] = {
        "vectors": VECTORS,
        "tokens": 7,
        "truncated": [],
        "model": "minilm",
        "version": "1",
        "revision": "abc",
    }
    return EmbedResult(**(whole | changes))


# Reading


@pytest.mark.parametrize(
    ("shape", "data"),
    [([2], ["a", "b"]), ([2, 1], ["a", "b"]), ([2, 1], [["a"], ["b"]]), ([2], ["a", ["b"]])],
)
def test_texts_of_both_shapes(shape: list[int], data: list[Any]) -> None:
    decoded = decode_v2(body(tensor(shape=shape, data=data)), None)
    assert decoded.request.inputs == ["a", "b"]


def test_what_is_left_out_is_left_to_the_server() -> None:
    decoded = decode_v2(body(), None)
    request = decoded.request
    assert (request.dimensions, request.normalize, request.truncate) == (None, None, None)
    assert (request.prompt_name, request.lane, request.timeout_s) == (None, None, None)
    assert decoded.options == InferOptions("", binary=False)


def test_all_parameters() -> None:
    parameters = {
        "dimensions": 8,
        "normalize": False,
        "truncate": True,
        "prompt_name": "query",
        "priority": 2,
        "timeout": 1_500_000,
    }
    request = decode_v2(body(parameters=parameters), None).request
    assert (request.dimensions, request.normalize, request.truncate) == (8, False, True)
    assert (request.prompt_name, request.lane, request.timeout_s) == ("query", Lane.INGEST, 1.5)


def test_parameters_of_other_servers_are_ignored() -> None:
    parameters = {"sequence_id": 7, "binary_data_output": False}
    assert decode_v2(body(parameters=parameters), None).request.inputs == ["a"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "ids"}, "input 'ids' is unknown; this model takes 'text' (BYTES)"),
        ({"datatype": "FP32"}, "input 'text' has datatype FP32; it must be BYTES"),
        ({"shape": []}, "input 'text' has shape []; it must be [N] or [N, 1]"),
        ({"shape": [-1]}, "input 'text' has shape [-1]; it must be [N] or [N, 1]"),
        ({"shape": [1, 2]}, "input 'text' has shape [1, 2]; it must be [N] or [N, 1]"),
        ({"shape": [1, 1, 1]}, "input 'text' has shape [1, 1, 1]; it must be [N] or [N, 1]"),
        ({"shape": [2]}, "input 'text' has shape [2] but 1 texts"),
        ({"shape": [1], "data": []}, "input 'text' has shape [1] but 0 texts"),
        (
            {"shape": [2, 1], "data": [["a"], ["b", "c"]]},
            "input 'text'[1] has 2 elements; its shape says 1",
        ),
        ({"data": [[]]}, "input 'text'[0] has 0 elements; its shape says 1"),
        ({"data": ...}, "input 'text' has neither data nor binary_data_size"),
        (
            {"parameters": {"binary_data_size": 0}},
            "input 'text' has both data and binary_data_size",
        ),
        (
            {"data": ..., "parameters": {"binary_data_size": 5}},
            "input 'text' says binary_data_size 5, 0 bytes follow",
        ),
    ],
)
def test_a_wrong_tensor_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_v2(body(tensor(**changes)), None)
    assert str(raised.value) == sentence


def test_a_request_without_texts_is_refused() -> None:
    with pytest.raises(EmptyInput) as raised:
        decode_v2(body(tensor(shape=[0], data=[])), None)
    assert str(raised.value) == "input 'text' is empty; at least one text is needed"


@pytest.mark.parametrize("count", [0, 2])
def test_one_tensor_is_taken(count: int) -> None:
    tensors = json.dumps({"inputs": [tensor()] * count}).encode()
    with pytest.raises(InvalidInput) as raised:
        decode_v2(tensors, None)
    assert str(raised.value) == f"{count} inputs; this model takes one, 'text'"


def test_an_unknown_output_is_named() -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_v2(body(outputs=[{"name": "embedding"}, {"name": "logits"}]), None)
    assert str(raised.value) == "output 'logits' is unknown; this model gives 'embedding' (FP32)"


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({"datatype": "x" * 100_000}, {}),
        ({"name": "x" * 100_000}, {}),
        ({"shape": [1] * 100_000}, {}),
        ({}, {"parameters": {"priority": "x" * 100_000}}),
        ({}, {"outputs": [{"name": "x" * 100_000}]}),
    ],
    ids=["datatype", "name", "shape", "priority", "output"],
)
def test_a_message_does_not_repeat_a_long_value(
    changes: dict[str, Any], others: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_v2(body(tensor(**changes), **others), None)
    assert len(str(raised.value)) < 500


# Priority and timeout


@pytest.mark.parametrize(
    ("value", "lane"),
    [
        (None, None), (0, None), ("0", None), ("", None),
        (1, Lane.QUERY), ("1", Lane.QUERY), ("query", Lane.QUERY),
        (2, Lane.INGEST), ("2", Lane.INGEST), ("ingest", Lane.INGEST),
    ],
)  # fmt: skip
def test_priorities(value: str | int | None, lane: Lane | None) -> None:
    assert parse_priority(value) is lane


@pytest.mark.parametrize("value", ["urgent", "3", 3, -1, "x" * 100])
def test_an_unknown_priority(value: str | int) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_priority(value)
    assert str(raised.value) == (
        f"priority {str(value)[:40]!r} is unknown; use query (1) or ingest (2)"
    )


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [
        ({}, None),
        ({"timeout": 0}, None),  # Triton: no timeout
        ({"timeout": 1}, 1e-6),
        ({"timeout": 2_000_000}, 2.0),
        ({"timeout_ms": 2.5}, 0.0025),
        ({"timeout": 1, "timeout_ms": 30}, 0.03),
    ],
)
def test_timeouts(parameters: dict[str, Any], seconds: float | None) -> None:
    request = decode_v2(body(parameters=parameters), None).request
    assert request.timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize("parameters", [{"timeout": -1}, {"timeout_ms": -0.5}])
def test_a_negative_timeout(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_v2(body(parameters=parameters), None)
    assert str(raised.value) == "timeout is negative"


# Binary


def test_a_binary_tensor() -> None:
    raw, length = binary_body(binary(b"a\0", "ö".encode(), b""), shape=[3])
    assert decode_v2(raw, length).request.inputs == ["a\0", "ö", ""]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"\x01\0", "binary input ends inside a length, after 0 elements"),
        (binary(b"a") + b"\x01\0\0", "binary input ends inside a length, after 1 elements"),
        (binary(b"a")[:-1], "binary input: element 0 has 1 bytes, 0 are left"),
        (
            binary(b"a") + b"\xff\xff\xff\xff",
            "binary input: element 1 has 4294967295 bytes, 0 are left",
        ),
    ],
)
def test_binary_lengths_that_do_not_add_up(raw: bytes, sentence: str) -> None:
    whole, length = binary_body(raw)
    with pytest.raises(InvalidInput) as raised:
        decode_v2(whole, length)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("size", [0, 4, 6, -1])
def test_a_binary_size_that_is_not_what_follows(size: int) -> None:
    whole, length = binary_body(binary(b"a"), parameters={"binary_data_size": size})
    with pytest.raises(InvalidInput) as raised:
        decode_v2(whole, length)
    assert str(raised.value) == f"input 'text' says binary_data_size {size}, 5 bytes follow"


def test_bytes_that_no_input_claims() -> None:
    header = body()
    with pytest.raises(InvalidInput) as raised:
        decode_v2(header + b"rest", len(header))
    assert str(raised.value) == "4 bytes follow the JSON, but no input claims them"


def test_bytes_that_are_not_utf8() -> None:
    whole, length = binary_body(binary(b"a", b"\xff"), shape=[2])
    with pytest.raises(InvalidInput) as raised:
        decode_v2(whole, length)
    assert str(raised.value) == "input 'text'[1] is not valid UTF-8"


@pytest.mark.parametrize("length", [-1, 10**19])
def test_a_json_length_is_a_number_of_bytes(length: int) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_v2(body(), length)
    assert str(raised.value) == f"Inference-Header-Content-Length '{length}' is not a number"


@pytest.mark.parametrize("length", [1000])
def test_a_json_length_outside_of_the_body(length: int) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_v2(body(), length)
    assert str(raised.value) == (
        f"Inference-Header-Content-Length is {length}, the body has {len(body())} bytes"
    )


@pytest.mark.parametrize("length", [0, 10])
def test_a_json_length_inside_of_the_json(length: int) -> None:
    with pytest.raises(MalformedBody):
        decode_v2(body(), length)


# Writing


@pytest.mark.parametrize(
    ("others", "wants"),
    [
        ({}, False),
        ({"outputs": []}, False),
        ({"outputs": [{"name": "embedding"}]}, False),
        ({"outputs": [{"name": "embedding", "parameters": {"binary_data": True}}]}, True),
        ({"parameters": {"binary_data_output": True}}, True),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "embedding", "parameters": {"binary_data": False}}],
            },
            False,
        ),
    ],
)
def test_who_asks_for_binary_gets_it(others: dict[str, Any], wants: bool) -> None:
    assert decode_v2(body(**others), None).options.binary is wants


def test_a_json_answer() -> None:
    encoded = encode("v2", InferOptions("mine", binary=False), result())
    assert encoded.content_type == "application/json"
    assert encoded.headers == ()
    assert json.loads(encoded.body) == {
        "model_name": "minilm",
        "model_version": "1",
        "id": "mine",
        "outputs": [
            {
                "name": "embedding",
                "datatype": "FP32",
                "shape": [2, 3],
                "data": [0.5, -0.25, 0.0, 1.0, 2.0, -3.5],
            }
        ],
    }


def test_a_binary_answer() -> None:
    encoded = encode("v2", InferOptions("", binary=True), result())
    assert encoded.content_type == "application/octet-stream"
    ((name, length),) = encoded.headers
    assert name == "inference-header-content-length"
    header = json.loads(encoded.body[: int(length)])
    assert header["id"] == "r1"
    (output,) = header["outputs"]
    assert "data" not in output
    assert output["parameters"] == {"binary_data_size": 24}
    raw = encoded.body[int(length) :]
    np.testing.assert_array_equal(np.frombuffer(raw, dtype="<f4").reshape(2, 3), VECTORS)


@pytest.mark.parametrize("as_binary", [False, True])
def test_truncated_inputs_are_told(as_binary: bool) -> None:
    encoded = encode("v2", InferOptions("", as_binary), result(truncated=[0, 1]))
    length = int(dict(encoded.headers).get("inference-header-content-length", len(encoded.body)))
    (output,) = json.loads(encoded.body[:length])["outputs"]
    assert output["parameters"]["truncated_inputs"] == "0,1"


def test_metadata() -> None:
    bundle = Bundle(
        source_digest="",
        family="bert",
        max_length=256,
        dimensions=384,
        pooling=Pooling.MEAN,
        normalize=True,
        inputs="packed",
        variants={},
    )
    assert model_metadata("minilm", ["3"], [EmbedTensors()], bundle) == {
        "name": "minilm",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}],
    }
