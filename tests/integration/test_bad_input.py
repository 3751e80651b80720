"""What a client can get wrong, over every protocol: the right status, a sentence, and no more.

The sentence says what was wrong, and where there is a limit, the limit and the value. No answer
shows how the server is made: no traceback, no class, no path.
"""

import gzip
import json
import logging
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import grpc
import httpx
import numpy as np
import pytest

from predictor import errors
from predictor.access import Guard
from predictor.protocols.wire import Decoded, Encoded
from predictor.repository import Answers, Repository
from predictor.server.admin import Admin
from predictor.server.drift_watch import DriftWatch
from predictor.server.grpc_server import GrpcServer
from predictor.server.inference import Call, Inference
from predictor.server.kserve_sdk import kserve_app, messages, services
from predictor.server.model import EmbeddingModel
from predictor.server.rest import Rest
from predictor.settings import ServerSettings, Settings
from predictor.types import EmbedRequest
from tests.contract.helpers import MODEL, counted
from tests.serving import Server

LIMIT_BYTES = 8 << 20
LIMIT_INPUTS = 2048
VOCABULARY = 30522
LONG = "word " * 300  # 302 tokens, the model takes 256
INFER = f"/v2/models/{MODEL}/infer"
INSIDES = re.compile(r"Traceback|\w+(Error|Exception|Input)\(|File \"|\.py\b|site-packages|/home/")

PATHS = {
    "v1": f"/v1/models/{MODEL}:predict",
    "v2": INFER,
    "openai": "/v1/embeddings",
    "tei": "/embed",
    "cohere": "/v2/embed",
}
rest_protocols = pytest.mark.parametrize("protocol", PATHS)
all_protocols = pytest.mark.parametrize("protocol", [*PATHS, "grpc"])


def show_nothing_of_the_insides(text: str) -> None:
    found = INSIDES.search(text)
    assert found is None, f"{found[0]!r} in {text[:500]}"


def body(protocol: str, inputs: Any, model: str = MODEL) -> dict[str, Any]:
    """A request for these inputs, whatever they are."""
    if protocol == "v1":
        return {"instances": inputs}
    if protocol == "v2":
        count = len(inputs) if isinstance(inputs, list) else 1
        return {"inputs": [{"name": "text", "shape": [count], "datatype": "BYTES", "data": inputs}]}
    if protocol == "openai":
        return {"model": model, "input": inputs}
    if protocol == "tei":
        return {"inputs": inputs}
    return {"model": model, "texts": inputs}


def with_parameters(protocol: str, inputs: Any, **parameters: Any) -> dict[str, Any]:
    """The same with parameters, where this protocol has them."""
    whole = body(protocol, inputs)
    return whole | ({"parameters": parameters} if protocol in ("v1", "v2") else parameters)


def message_of(protocol: str, response: httpx.Response) -> str:
    """The error's sentence; asserts that the error has this protocol's shape."""
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    if protocol == "openai":
        assert list(content) == ["error"]
        assert set(content["error"]) == {"message", "type", "param", "code"}
        return str(content["error"]["message"])
    if protocol == "tei":
        assert set(content) == {"error", "error_type"}
        return str(content["error"])
    if protocol == "cohere":
        assert set(content) == {"message", "id"}
        return str(content["message"])
    assert list(content) == ["error"]
    return str(content["error"])


def validation_status(protocol: str) -> int:
    """What a protocol answers to JSON that does not say what it should."""
    return 422 if protocol == "tei" else 400


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    """A client that looks at every answer for what must not be there."""

    def look(response: httpx.Response) -> None:
        response.read()
        if not response.request.url.path.startswith(("/docs", "/openapi")):
            show_nothing_of_the_insides(response.text)

    with httpx.Client(
        base_url=server.url, timeout=30.0, event_hooks={"response": [look]}
    ) as client:
        yield client


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[Any]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        yield services.GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_our_fault(server: Server) -> Iterator[None]:
    """No request of this file may make the server log an error."""
    seen = len(server.events)
    yield
    assert not [e for e in server.events[seen:] if e["level"] in ("error", "critical")]


def infer_message(*texts: bytes, **changes: Any) -> Any:
    """A ModelInferRequest with typed contents."""
    message = messages.ModelInferRequest(
        model_name=changes.get("model", MODEL), model_version=changes.get("version", "")
    )
    tensor = message.inputs.add(
        name=changes.get("name", "text"),
        datatype=changes.get("datatype", "BYTES"),
        shape=changes.get("shape", [len(texts)]),
    )
    tensor.contents.bytes_contents.extend(texts)
    return message


@dataclass(frozen=True)
class Refusal:
    code: grpc.StatusCode
    message: str
    trailing: dict[str, str]


def refused(stub: Any, message: Any, **options: Any) -> Refusal:
    """The error that a ModelInfer ends with."""
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelInfer(message, timeout=30.0, **options)
    error = cast(grpc.Call, raised.value)
    refusal = Refusal(error.code(), error.details() or "", dict(error.trailing_metadata() or ()))
    show_nothing_of_the_insides(refusal.message)
    return refusal


def vectors_of(protocol: str, http: httpx.Client, stub: Any, text: str) -> Any:
    """The one text's vector over any protocol."""
    if protocol == "grpc":
        answer = stub.ModelInfer(infer_message(text.encode()), timeout=30.0)
        return np.frombuffer(answer.raw_output_contents[0], "<f4")
    response = http.post(PATHS[protocol], json=body(protocol, [text]))
    assert response.status_code == 200, response.text
    content = response.json()
    if protocol == "v1":
        return content["predictions"][0]
    if protocol == "v2":
        return content["outputs"][0]["data"]
    if protocol == "openai":
        return content["data"][0]["embedding"]
    return content[0] if protocol == "tei" else content["embeddings"]["float"][0]


# Bodies that are no request at all


@rest_protocols
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b'{"a":',
        b"\x00",
        b"\xff\xfe",
        b'{"unknown": NaN}',
        b'{"unknown": -Infinity}',
        b'{"unknown": "\\ud800"}',
        b'{"unknown": ' + b"[" * 100_000,
        b'{"unknown": ' * 100_000,
    ],
    ids=range(10),
)
def test_what_is_not_json_is_400(http: httpx.Client, protocol: str, content: bytes) -> None:
    response = http.post(PATHS[protocol], content=content)
    assert response.status_code == 400
    message = message_of(protocol, response)
    assert "not valid JSON" in message or "nested too deeply" in message
    assert response.headers["x-request-id"]


@rest_protocols
@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"5", b"[" * 100_000])
def test_json_that_is_no_object(http: httpx.Client, protocol: str, content: bytes) -> None:
    response = http.post(PATHS[protocol], content=content)
    assert response.status_code == validation_status(protocol)
    assert "Expected `object`" in message_of(protocol, response)


@rest_protocols
def test_a_missing_field_is_named(http: httpx.Client, protocol: str) -> None:
    whole = body(protocol, ["a"])
    if protocol == "cohere":  # without texts is an empty request there
        del whole["model"]
    else:
        whole = {name: value for name, value in whole.items() if name == "model"}
    response = http.post(PATHS[protocol], json=whole)
    assert response.status_code == validation_status(protocol)
    assert "missing required field" in message_of(protocol, response)


# Inputs of wrong types


@rest_protocols
@pytest.mark.parametrize(
    "inputs",
    [5, None, {"text": "a"}, True, [None], [1.5], [{"text": "a"}], [True], ["a", 1], [["a", 1]]],
)
def test_inputs_of_wrong_types(http: httpx.Client, protocol: str, inputs: Any) -> None:
    response = http.post(PATHS[protocol], json=body(protocol, inputs))
    if protocol == "v2" and inputs is None:
        assert "neither data nor binary_data_size" in message_of(protocol, response)
    if protocol == "cohere" and inputs is None:
        assert response.status_code == 400
    else:
        assert response.status_code == validation_status(protocol)
    assert message_of(protocol, response)


@rest_protocols
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "[NaN]"])
def test_numbers_that_json_does_not_have(http: httpx.Client, protocol: str, number: str) -> None:
    whole = json.dumps(body(protocol, "HERE")).replace('"HERE"', number)
    response = http.post(PATHS[protocol], content=whole)
    assert response.status_code == 400
    assert "not valid JSON" in message_of(protocol, response)


@pytest.mark.parametrize("protocol", ["v1", "openai", "tei"])
def test_mixed_inputs(http: httpx.Client, protocol: str) -> None:
    response = http.post(PATHS[protocol], json=body(protocol, ["a", [1]]))
    assert response.status_code == validation_status(protocol)
    message = message_of(protocol, response)
    assert "mixes texts and lists of token ids (at index 1); all must be of one kind" in message


# Empty, odd and invalid texts


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
    given, expected = (vectors_of(protocol, http, stub, text) for text in ("a\0b", "ab"))
    np.testing.assert_allclose(given, expected, atol=1e-5)


@rest_protocols
@pytest.mark.parametrize(
    "written",
    [rb"\ud800", rb"a\udfffb", rb"\ud83d", rb"\ude00\ud83d", b"\xed\xa0\x80", b"\xff", b"\n"],
)
def test_what_is_no_text(http: httpx.Client, protocol: str, written: bytes) -> None:
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


# Shapes and datatypes of V2


WRONG_TENSORS = [
    ({"shape": [2]}, "input 'text' has shape [2] but 1 texts"),
    ({"shape": [0]}, "input 'text' is empty"),
    ({"shape": []}, "input 'text' has shape []; it must be [N] or [N, 1]"),
    ({"shape": [1, 2]}, "input 'text' has shape [1, 2]; it must be [N] or [N, 1]"),
    ({"shape": [1, 1, 1]}, "input 'text' has shape [1, 1, 1]; it must be [N] or [N, 1]"),
    ({"shape": [-1]}, "input 'text' has shape [-1]; it must be [N] or [N, 1]"),
    ({"shape": [2**63 - 1]}, f"input 'text' has shape [{2**63 - 1}] but 1 texts"),
    ({"datatype": "FP32"}, "input 'text' has datatype FP32; it must be BYTES"),
    ({"datatype": ""}, "datatype"),
    ({"name": "input_ids"}, "input 'input_ids' is unknown; this model takes 'text' (BYTES)"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG_TENSORS)
def test_wrong_tensors_over_rest(
    http: httpx.Client, changes: dict[str, Any], sentence: str
) -> None:
    tensor = body("v2", ["a"])["inputs"][0] | changes
    response = http.post(INFER, json={"inputs": [tensor]})
    assert response.status_code == 400
    assert sentence in message_of("v2", response)


@pytest.mark.parametrize(("changes", "sentence"), WRONG_TENSORS)
def test_wrong_tensors_over_grpc(stub: Any, changes: dict[str, Any], sentence: str) -> None:
    refusal = refused(stub, infer_message(b"a", **changes))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in refusal.message


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "n" * 100_000},
        {"datatype": "d" * 100_000},
        {"shape": [1] * 100_000},
        {"model": "m" * 100_000},
        {"version": "v" * 100_000},
    ],
    ids=["name", "datatype", "shape", "model", "version"],
)
def test_a_long_value_does_not_hide_the_error_over_grpc(stub: Any, changes: dict[str, Any]) -> None:
    # gRPC puts the sentence into a header, and a client drops headers of more than 8 KiB.
    refusal = refused(stub, infer_message(b"a", **changes))
    named = "model" in changes or "version" in changes
    wanted = grpc.StatusCode.NOT_FOUND if named else grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.code is wanted
    assert len(refusal.message) < 500


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_tensors(http: httpx.Client, stub: Any, count: int) -> None:
    tensors = body("v2", ["a"])["inputs"] * count
    response = http.post(INFER, json={"inputs": tensors})
    assert response.status_code == 400
    assert message_of("v2", response) == f"{count} inputs; this model takes one, 'text'"
    message = infer_message(b"a")
    tensor = messages.ModelInferRequest.InferInputTensor()
    tensor.CopyFrom(message.inputs[0])
    message.ClearField("inputs")
    message.inputs.extend([tensor] * count)
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == f"{count} inputs; this model takes one, 'text'"


def test_an_unknown_output(http: httpx.Client, stub: Any) -> None:
    sentence = "output 'logits' is unknown; this model gives 'embedding' (FP32)"
    response = http.post(INFER, json=body("v2", ["a"]) | {"outputs": [{"name": "logits"}]})
    assert response.status_code == 400
    assert message_of("v2", response) == sentence
    message = infer_message(b"a")
    message.outputs.add(name="logits")
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == sentence


# Binary tensors


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


# Limits


@rest_protocols
def test_a_body_over_the_limit(http: httpx.Client, protocol: str) -> None:
    response = http.post(PATHS[protocol], content=b" " * 10_000_000)
    assert response.status_code == 413
    sentence = f"the body has 10000000 bytes; the limit is {LIMIT_BYTES}"
    assert message_of(protocol, response) == sentence
    assert response.headers["connection"] == "close"


def test_a_body_over_the_limit_that_does_not_say_so(http: httpx.Client) -> None:
    chunks = (b" " * 100_000 for _ in range(100))
    response = http.post("/embed", content=chunks)
    assert response.status_code == 413
    assert f"more than {LIMIT_BYTES} bytes" in message_of("tei", response)


@pytest.mark.parametrize("path", ["/tokenize", "/decode"])
def test_a_body_over_the_limit_of_a_tool(http: httpx.Client, path: str) -> None:
    response = http.post(path, content=b" " * 10_000_000)
    assert response.status_code == 413
    assert f"10000000 bytes; the limit is {LIMIT_BYTES}" in message_of("tei", response)


def test_the_largest_body_is_read(http: httpx.Client) -> None:
    content = json.dumps(body("openai", "a")).encode().ljust(LIMIT_BYTES)
    assert http.post("/v1/embeddings", content=content).status_code == 200
    assert http.post("/v1/embeddings", content=content + b" ").status_code == 413


def test_a_refused_body_is_counted(http: httpx.Client) -> None:
    def refusals() -> float:
        try:
            return counted(http, "predictor_requests_total", protocol="v1", code="413")
        except LookupError:
            return 0.0

    before = refusals()
    http.post(PATHS["v1"], content=b" " * 10_000_000)
    assert refusals() == before + 1


def test_a_grpc_message_over_the_limit(stub: Any) -> None:
    refusal = refused(stub, infer_message(b" " * 10_000_000))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(LIMIT_BYTES) in refusal.message
    assert stub.ServerReady(messages.ServerReadyRequest(), timeout=10.0).ready


@all_protocols
def test_too_many_inputs(http: httpx.Client, stub: Any, protocol: str) -> None:
    if protocol == "grpc":
        refusal = refused(stub, infer_message(*[b"a"] * 100_000))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        response = http.post(PATHS[protocol], json=body(protocol, ["a"] * 100_000))
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == f"100000 inputs; the limit is {LIMIT_INPUTS} a request"


@pytest.mark.parametrize(
    ("path", "content"),
    [("/tokenize", {"inputs": ["a"] * 100_000}), ("/decode", {"ids": [[101]] * 100_000})],
    ids=["tokenize", "decode"],
)
def test_too_many_inputs_of_a_tool(http: httpx.Client, path: str, content: dict[str, Any]) -> None:
    response = http.post(path, json=content)
    assert response.status_code == 422
    assert message_of("tei", response) == f"100000 inputs; the limit is {LIMIT_INPUTS} a request"


def test_one_input_over_the_limit(http: httpx.Client) -> None:
    assert http.post("/embed", json={"inputs": ["a"] * LIMIT_INPUTS}).status_code == 200
    response = http.post("/embed", json={"inputs": ["a"] * (LIMIT_INPUTS + 1)})
    assert message_of("tei", response).startswith(f"{LIMIT_INPUTS + 1} inputs; ")


@pytest.mark.parametrize("protocol", ["v1", "v2", "tei", "cohere", "grpc"])
def test_a_text_over_the_models_length(http: httpx.Client, stub: Any, protocol: str) -> None:
    if protocol == "grpc":
        message_ = infer_message(b"fine", LONG.encode())
        message_.parameters["truncate"].bool_param = False
        refusal = refused(stub, message_)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        off = "NONE" if protocol == "cohere" else False
        content = with_parameters(protocol, ["fine", LONG], truncate=off)
        response = http.post(PATHS[protocol], json=content)
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == "inputs[1] has 302 tokens; the model takes 256 and truncation is off"


# Token ids


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


# Names


@pytest.mark.parametrize("protocol", ["v1", "v2", "openai", "cohere", "grpc"])
@pytest.mark.parametrize("name", ["nope", "minilm2", "MiniLM", "mini lm", "%", "n" * 5000])
def test_an_unknown_model(http: httpx.Client, stub: Any, protocol: str, name: str) -> None:
    if protocol == "grpc":
        refusal = refused(stub, infer_message(b"a", model=name))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        message = refusal.message
    else:
        path = PATHS[protocol].replace(MODEL, name.replace("%", "%25"))
        response = http.post(path, json=body(protocol, ["a"], model=name))
        assert response.status_code == 404
        message = message_of(protocol, response)
    assert message == f"model {name[:80]!r} is not served here; served: {MODEL}"


@pytest.mark.parametrize(
    "path", ["/v1/models/:predict", "/v2/models//infer", "/v2/models//versions/1/infer"]
)
def test_no_name_in_the_path_is_no_model(http: httpx.Client, path: str) -> None:
    protocol = "v1" if path.startswith("/v1") else "v2"
    assert http.post(path, json=body(protocol, ["a"])).status_code in (404, 405)


@pytest.mark.parametrize("suffix", ["", "/ready"])
@pytest.mark.parametrize("place", ["nope", f"{MODEL}/versions/7"])
def test_metadata_of_what_is_not_served(http: httpx.Client, place: str, suffix: str) -> None:
    response = http.get(f"/v2/models/{place}{suffix}")
    assert response.status_code == 404
    assert f"served: {'1' if 'versions' in place else MODEL}" in message_of("v2", response)


@pytest.mark.parametrize("path", ["/v1/models/nope", "/openai/v1/models/nope"])
def test_an_unknown_model_by_openais_route(http: httpx.Client, path: str) -> None:
    response = http.get(path)
    assert response.status_code == 404
    assert "model 'nope' is not served here" in response.text


@pytest.mark.parametrize("version", ["7", "0", "01", "latest", "v" * 5000])
def test_an_unknown_version(http: httpx.Client, stub: Any, version: str) -> None:
    sentence = f"model '{MODEL}' has no version {version[:80]!r}; served: 1"
    path = f"/v2/models/{MODEL}/versions/{version}/infer"
    response = http.post(path, json=body("v2", ["a"]))
    assert response.status_code == 404
    assert message_of("v2", response) == sentence
    refusal = refused(stub, infer_message(b"a", version=version))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.message == sentence


@pytest.mark.parametrize(("name", "version"), [("nope", ""), (MODEL, "7")])
@pytest.mark.parametrize("call", ["ModelReady", "ModelMetadata"])
def test_grpc_metadata_of_what_is_not_served(stub: Any, call: str, name: str, version: str) -> None:
    request = getattr(messages, f"{call}Request")(name=name, version=version)
    with pytest.raises(grpc.RpcError) as raised:
        getattr(stub, call)(request, timeout=10.0)
    assert cast(grpc.Call, raised.value).code() is grpc.StatusCode.NOT_FOUND


def test_a_wrong_path_comes_before_a_wrong_body(http: httpx.Client) -> None:
    assert http.post("/v2/models/nope/infer", content=b"nonsense").status_code == 404


# Parameters


DIMENSIONS_FIELD = {"cohere": "output_dimension"}


@all_protocols
@pytest.mark.parametrize("value", [0, -1, 385, 2**62])
def test_dimensions_that_the_model_does_not_have(
    http: httpx.Client, stub: Any, protocol: str, value: int
) -> None:
    if protocol == "grpc":
        message_ = infer_message(b"a")
        message_.parameters["dimensions"].int64_param = value
        refusal = refused(stub, message_)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        field = DIMENSIONS_FIELD.get(protocol, "dimensions")
        response = http.post(
            PATHS[protocol], json=with_parameters(protocol, ["a"], **{field: value})
        )
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == f"dimensions is {value}; this model gives 1 to 384"


@rest_protocols
@pytest.mark.parametrize("value", [True, "8", 1.5, [8], {}])
def test_dimensions_of_a_wrong_type(http: httpx.Client, protocol: str, value: Any) -> None:
    field = DIMENSIONS_FIELD.get(protocol, "dimensions")
    response = http.post(PATHS[protocol], json=with_parameters(protocol, ["a"], **{field: value}))
    assert response.status_code == validation_status(protocol)
    message = message_of(protocol, response)
    assert "Expected `int | null`" in message
    assert field in message


@pytest.mark.parametrize("kind", ["bool_param", "string_param"])
def test_dimensions_of_a_wrong_type_over_grpc(stub: Any, kind: str) -> None:
    message = infer_message(b"a")
    setattr(message.parameters["dimensions"], kind, True if kind == "bool_param" else "8")
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message.startswith("parameter 'dimensions' is a ")


@pytest.mark.parametrize("protocol", ["v1", "v2", "tei", "grpc"])
def test_an_unknown_prompt_name(http: httpx.Client, stub: Any, protocol: str) -> None:
    name = "p" * 100
    if protocol == "grpc":
        message_ = infer_message(b"a")
        message_.parameters["prompt_name"].string_param = name
        refusal = refused(stub, message_)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        content = with_parameters(protocol, ["a"], prompt_name=name)
        response = http.post(PATHS[protocol], json=content)
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == f"prompt_name {name[:80]!r} is unknown; this model has no prompts"


def test_an_unknown_prompt_name_of_tokenize(http: httpx.Client) -> None:
    response = http.post("/tokenize", json={"inputs": "a", "prompt_name": "query"})
    assert response.status_code == 422
    assert "prompt_name 'query' is unknown" in message_of("tei", response)


@all_protocols
@pytest.mark.parametrize("value", ["urgent", "3", "-1", "1.0", "x" * 1000])
def test_an_unknown_priority_header(
    http: httpx.Client, stub: Any, protocol: str, value: str
) -> None:
    if protocol == "grpc":
        refusal = refused(stub, infer_message(b"a"), metadata=[("x-priority", value)])
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        headers = {"x-priority": value}
        response = http.post(PATHS[protocol], json=body(protocol, ["a"]), headers=headers)
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == (
        f"header X-Priority: priority {value[:40]!r} is unknown; use query (1) or ingest (2)"
    )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"timeout": -1}, "timeout is negative"),
        ({"timeout_ms": -1}, "timeout is negative"),
        ({"timeout": 10**400}, "timeout"),
        ({"timeout_ms": 10**400}, "timeout_ms"),
        ({"timeout": "soon"}, "Expected `int | null`"),
        ({"priority": "urgent"}, "priority 'urgent' is unknown"),
        ({"priority": 9}, "priority '9' is unknown"),
        ({"priority": True}, "Expected `int | str | null`"),
        ({"normalize": 1}, "Expected `bool | null`"),
        ({"truncate": "no"}, "Expected `bool | null`"),
        ({"binary_data_output": "yes"}, "Expected `bool`"),
    ],
    ids=range(11),
)
def test_other_parameters_of_v2(
    http: httpx.Client, parameters: dict[str, Any], sentence: str
) -> None:
    response = http.post(INFER, json=with_parameters("v2", ["a"], **parameters))
    assert response.status_code == 400
    assert sentence in message_of("v2", response)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_timeout_that_is_no_time_over_grpc(stub: Any, value: float) -> None:
    message = infer_message(b"a")
    # Field 4 is double_param in Triton's proto, which its clients send.
    message.parameters["timeout_ms"].MergeFromString(b"\x21" + struct.pack("<d", value))
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "timeout" in refusal.message


TOO_LATE = re.compile(r"not computed within \d+\.\d+ s|the deadline passed")


def test_a_deadline_that_cannot_be_met(http: httpx.Client, stub: Any) -> None:
    response = http.post(INFER, json=with_parameters("v2", ["a"], timeout=1))
    assert response.status_code == 504
    assert TOO_LATE.match(message_of("v2", response))
    message = infer_message(b"a")
    message.parameters["timeout"].int64_param = 1
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert TOO_LATE.match(refusal.message)


def test_a_deadline_of_the_grpc_call(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelInfer(infer_message(b"a"), timeout=1e-6)
    assert cast(grpc.Call, raised.value).code() is grpc.StatusCode.DEADLINE_EXCEEDED


# HTTP itself


@rest_protocols
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_body(http: httpx.Client, protocol: str, coding: str) -> None:
    content = gzip.compress(json.dumps(body(protocol, ["a"])).encode())
    response = http.post(PATHS[protocol], content=content, headers={"content-encoding": coding})
    assert response.status_code == 400
    assert "compressed bodies are not supported" in message_of(protocol, response)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", path) for path in PATHS.values()],
        ("PUT", "/v1/embeddings"),
        ("DELETE", INFER),
        ("GET", "/tokenize"),
        ("POST", "/metrics"),
        ("POST", "/v2/health/ready"),
        ("POST", "/info"),
        ("DELETE", f"/v2/models/{MODEL}"),
        ("PATCH", "/v1/models"),
    ],
)
def test_a_wrong_method(http: httpx.Client, method: str, path: str) -> None:
    response = http.request(method, path)
    assert response.status_code == 405
    allowed = "POST" if method == "GET" or path.endswith(("infer", "/v1/embeddings")) else "GET"
    assert allowed in response.headers["allow"].split(", ")


def test_the_connection_is_good_after_every_refusal(server: Server) -> None:
    """A body that was refused unread must not be taken for the next request."""
    good = json.dumps(body("openai", "a"))
    refused_requests: list[tuple[str, str, str]] = [
        ("POST", "/rerank", "x" * 100_000),
        ("POST", "/nothing", "x" * 100_000),
        ("PUT", "/v1/embeddings", good),
        ("POST", "/v2/models/nope/infer", good),
        ("POST", "/v2/repository/models/minilm/unload", good),
        ("POST", "/embed", "x"),
    ]
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=10.0) as connection:
        answers = connection.makefile("rb")
        for method, path, content in refused_requests:
            assert _exchange(connection, answers, method, path, content) in (400, 404, 405)
            assert _exchange(connection, answers, "POST", "/v1/embeddings", good) == 200
        answers.close()


def _exchange(connection: socket.socket, answers: Any, method: str, path: str, body_: str) -> int:
    head = f"{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {len(body_)}\r\n\r\n"
    connection.sendall((head + body_).encode())
    status = int(answers.readline().split()[1])
    length = 0
    while (line := answers.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    assert len(answers.read(length)) == length
    return status


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /embed HTTP/1.1\r\ncontent-length: x"],
)
def test_what_is_not_http(server: Server, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=10.0) as connection:
        connection.sendall(request_ + b"\r\n\r\n")
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    show_nothing_of_the_insides(answer.decode())


# Every meaning on every wire, and what is our own fault


class Failing:
    """A model in KServe's registry that answers every request with one error."""

    name, version, revision = "fake", "1", "none"
    is_healthy = ready = True

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, request: EmbedRequest) -> Any:
        del request
        raise self._error


class OneModel:
    """Stands for the live versions: one, whatever is asked for."""

    is_ready = True

    def __init__(self, model: Failing) -> None:
        self._model = model

    def find(self, name: str, version: str = "") -> Failing:
        del name, version
        return self._model


def inference_with(error: Exception) -> Inference:
    models = cast(Answers[EmbeddingModel], OneModel(Failing(error)))
    return Inference(models, Guard(None), max_concurrent=8)


def application(error: Exception) -> Rest:
    return Rest(inference_with(error), Settings(), CLOSED, kserve_app)


# Nothing here asks for a change.
CLOSED = Admin(cast(Repository[EmbeddingModel], None), None, None, cast(DriftWatch, None))


STATUSES: list[tuple[errors.PredictorError, int, int, grpc.StatusCode, str | None]] = [
    (errors.InvalidInput("why"), 400, 422, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.Unauthorized("why"), 401, 401, grpc.StatusCode.UNAUTHENTICATED, None),
    (errors.Forbidden("why"), 403, 403, grpc.StatusCode.PERMISSION_DENIED, None),
    (errors.RateLimited("why", 7.0), 429, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, "7"),
    (errors.InputTooLong("why"), 400, 422, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.BatchTooLarge("why"), 400, 422, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.EmptyInput("why"), 400, 400, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.MalformedBody("why"), 400, 400, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.ModelNotFound("why"), 404, 404, grpc.StatusCode.NOT_FOUND, None),
    (errors.BodyTooLarge("why"), 413, 413, grpc.StatusCode.RESOURCE_EXHAUSTED, None),
    (errors.Overloaded("why", 2.6), 429, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, "3"),
    (errors.TooManyRequests("why"), 429, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, "1"),
    (errors.DeadlineExceeded("why"), 504, 504, grpc.StatusCode.DEADLINE_EXCEEDED, None),
    (errors.NotReady("why", 5.0), 503, 503, grpc.StatusCode.UNAVAILABLE, "5"),
    (errors.EngineOutOfMemory("why"), 503, 503, grpc.StatusCode.UNAVAILABLE, "1"),
    (errors.EngineError("why"), 500, 500, grpc.StatusCode.INTERNAL, None),
]
each_status = pytest.mark.parametrize(
    ("error", "status", "tei_status", "code", "retry_after"),
    STATUSES,
    ids=[type(row[0]).__name__ for row in STATUSES],
)


@rest_protocols
@each_status
async def test_every_meaning_over_rest(
    protocol: str,
    error: errors.PredictorError,
    status: int,
    tei_status: int,
    code: grpc.StatusCode,
    retry_after: str | None,
) -> None:
    del code
    app = application(error)
    transport = httpx.ASGITransport(cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.post(
            PATHS[protocol].replace(MODEL, "fake"), json=body(protocol, ["a"], model="fake")
        )
    assert response.status_code == (tei_status if protocol == "tei" else status)
    assert response.headers.get("retry-after") == retry_after
    assert message_of(protocol, response) == "why"


@pytest.fixture
async def grpc_with() -> AsyncIterator[Callable[[Exception], Any]]:
    """Starts a gRPC server whose one model fails with that error; gives the address."""
    started: list[GrpcServer] = []

    async def start(error: Exception) -> str:
        settings = Settings(server=ServerSettings(host="127.0.0.1", grpc_port=0))
        server_ = GrpcServer(inference_with(error), CLOSED, settings)
        port = await server_.start()
        started.append(server_)
        return f"127.0.0.1:{port}"

    yield start
    for server_ in started:
        await server_.stop(0.0)


@each_status
async def test_every_meaning_over_grpc(
    grpc_with: Callable[[Exception], Any],
    error: errors.PredictorError,
    status: int,
    tei_status: int,
    code: grpc.StatusCode,
    retry_after: str | None,
) -> None:
    del status, tei_status
    async with grpc.aio.insecure_channel(await grpc_with(error)) as channel:
        stub_ = services.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub_.ModelInfer(infer_message(b"a", model="fake"))
    assert raised.value.code() is code
    assert raised.value.details() == "why"
    trailing = dict(raised.value.trailing_metadata())
    assert trailing.get("retry-after") == retry_after
    assert trailing["x-request-id"]


async def test_our_own_fault_shows_an_id_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inference = inference_with(RuntimeError("secret"))
    call = Call(
        protocol="v1",
        decode=lambda: Decoded(EmbedRequest(["a"], "v1"), None),
        encode=lambda options, result: Encoded(b""),
        request_id="r-1",
    )
    with caplog.at_level(logging.ERROR), pytest.raises(errors.Internal) as raised:
        await inference.answer(call)
    assert str(raised.value) == "internal error; request id r-1"
    (record,) = caplog.records
    assert record.__dict__["request_id"] == "r-1"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "secret"
    assert inference.in_flight == 0


@rest_protocols
async def test_our_own_fault_over_rest(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    app = application(RuntimeError("secret"))
    transport = httpx.ASGITransport(cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.post(
            PATHS[protocol].replace(MODEL, "fake"), json=body(protocol, ["a"], model="fake")
        )
    assert response.status_code == 500
    assert "secret" not in response.text
    request_id = response.headers["x-request-id"]
    assert message_of(protocol, response) == f"internal error; request id {request_id}"
    assert [r for r in caplog.records if r.__dict__.get("request_id") == request_id]


async def test_our_own_fault_over_grpc(
    grpc_with: Callable[[Exception], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with grpc.aio.insecure_channel(await grpc_with(RuntimeError("secret"))) as channel:
        stub_ = services.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub_.ModelInfer(
                infer_message(b"a", model="fake"), metadata=[("x-request-id", "r-2")]
            )
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == "internal error; request id r-2"
    assert [r for r in caplog.records if r.__dict__.get("request_id") == "r-2"]


async def test_a_fault_outside_of_inference(caplog: pytest.LogCaptureFixture) -> None:
    app = application(RuntimeError("secret"))
    transport = httpx.ASGITransport(cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/info")  # the fake model has nothing to tell
    assert response.status_code == 500
    request_id = response.headers["x-request-id"]
    assert response.json() == {"error": f"internal error; request id {request_id}"}
    assert [r for r in caplog.records if r.__dict__.get("request_id") == request_id]
