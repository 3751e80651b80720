"""V2's binary tensors, whose lengths the client says."""

import json
import struct
from typing import Any

import grpc
import httpx
import pytest

from tests.integration.bad_input.asking import (
    INFER,
    infer_message,
    message_of,
    refused,
)


def binary_request(raw: bytes, size: int, count: int = 1) -> tuple[bytes, dict[str, str]]:
    tensor = {
        "name": "text",
        "shape": [count],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": size},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    return header + raw, {"inference-header-content-length": str(len(header))}


def element(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


@pytest.mark.parametrize(
    ("raw", "size", "count", "sentence"),
    [
        (element(b"a"), 4, 1, "says binary_data_size 4, 5 bytes follow"),
        (element(b"a"), 6, 1, "says binary_data_size 6, 5 bytes follow"),
        (element(b"a"), -5, 1, "says binary_data_size -5, 5 bytes follow"),
        (b"", 0, 1, "has shape [1] but 0 texts"),
        (element(b"a"), 5, 2, "has shape [2] but 1 texts"),
        (element(b"a") * 3, 15, 2, "has shape [2] but 3 texts"),
        (b"\x01\0\0", 3, 1, "binary input ends inside a length, after 0 elements"),
        (b"\x02\0\0\0a", 5, 1, "binary input: element 0 has 2 bytes, 1 are left"),
        (b"\xff\xff\xff\xffa", 5, 1, "binary input: element 0 has 4294967295 bytes, 1 are left"),
        (element(b"\xff"), 5, 1, "input 'text'[0] is not valid UTF-8"),
    ],
)
def test_binary_lengths_that_do_not_add_up(
    http: httpx.Client, raw: bytes, size: int, count: int, sentence: str
) -> None:
    content, headers = binary_request(raw, size, count)
    response = http.post(INFER, content=content, headers=headers)
    assert response.status_code == 400
    assert sentence in message_of("v2", response)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"\x01\0\0", "binary input ends inside a length, after 0 elements"),
        (b"\x02\0\0\0a", "binary input: element 0 has 2 bytes, 1 are left"),
        (element(b"a") * 2, "input 'text' has shape [1] but 2 texts"),
    ],
)
def test_raw_contents_that_do_not_add_up_over_grpc(stub: Any, raw: bytes, sentence: str) -> None:
    message = infer_message(shape=[1])
    message.raw_input_contents.append(raw)
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == sentence


def test_raw_and_typed_contents_at_once_over_grpc(stub: Any) -> None:
    message = infer_message(b"a")
    message.raw_input_contents.append(element(b"a"))
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == "one input takes one raw_input_contents and no contents"


def test_no_contents_at_all_over_grpc(stub: Any) -> None:
    refusal = refused(stub, infer_message(shape=[1]))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == "input 'text' has neither bytes_contents nor raw_input_contents"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"100000", "Inference-Header-Content-Length is 100000, the body has "),
        (b"-1", "Inference-Header-Content-Length '-1' is not a number"),
        (b"ten", "Inference-Header-Content-Length 'ten' is not a number"),
        (b"1.5", "Inference-Header-Content-Length '1.5' is not a number"),
        (b"", "Inference-Header-Content-Length '' is not a number"),
        (b"\xb2", "Inference-Header-Content-Length '\u00b2' is not a number"),
        (b"9" * 5000, "Inference-Header-Content-Length"),
        (b"10", "not valid JSON"),
        (b"0", "not valid JSON"),
    ],
    ids=range(9),
)
def test_a_wrong_json_length(http: httpx.Client, value: bytes, sentence: str) -> None:
    content, _ = binary_request(element(b"a"), 5)
    headers = {b"inference-header-content-length": value}
    response = http.post(INFER, content=content, headers=headers)
    assert response.status_code == 400
    assert sentence in message_of("v2", response)
    assert len(message_of("v2", response)) < 500


def test_a_json_length_that_ends_in_the_binary_part(http: httpx.Client) -> None:
    content, headers = binary_request(element(b"a"), 5)
    longer = {name: str(int(value) + 2) for name, value in headers.items()}
    response = http.post(INFER, content=content, headers=longer)
    assert response.status_code == 400
    assert "not valid JSON" in message_of("v2", response)
