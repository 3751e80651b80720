"""Whatever bytes arrive: a decoder gives a well-formed request or an error that is the client's.

Three kinds of input for each decoder: any bytes, any JSON, and valid requests with something in
them changed, which get further than both.
"""

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from predictor.errors import InvalidInput, PredictorError
from predictor.kserve_sdk import messages
from predictor.protocols.v2_grpc import parameters_of
from predictor.protocols.v2_tensors import InferParameters, split_bytes
from predictor.tasks import TaskRequest
from predictor.tasks.embed import EmbedRequest
from predictor.tasks.tokenizer import DecodeRequest, TokenizeRequest
from predictor.types import Lane, OutputType
from tests.unit.protocols.calls import GRPC, Sent, codec, decode, decode_v2

FUZZ = settings(
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
CLIENT_FAULTS = {400, 404, 413, 422}

# One decoder: what it is called with, what it gives for a body that it takes.
Decoder = Callable[[bytes], None]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(i) is int for i in value)


def check_request(request: TaskRequest) -> None:
    """Assert all that the code behind the decoders takes for granted."""
    assert type(request) is EmbedRequest
    assert isinstance(request.inputs, list)
    assert request.inputs
    assert all(map(_is_text, request.inputs)) or all(map(_is_ids, request.inputs))
    assert _is_text(request.model)
    assert request.dimensions is None or type(request.dimensions) is int
    assert request.normalize in (None, True, False)
    assert request.truncate in (None, True, False)
    assert request.truncation_direction in ("left", "right")
    assert request.prompt_name is None or _is_text(request.prompt_name)
    assert request.lane is None or type(request.lane) is Lane
    timeout = request.timeout_s
    assert timeout is None or (type(timeout) is float and math.isfinite(timeout) and timeout >= 0)
    assert request.output_types
    assert all(type(kind) is OutputType for kind in request.output_types)


def check_error(error: PredictorError, protocol: str) -> None:
    speaking = GRPC if protocol == "v2_grpc" else codec(protocol)
    assert speaking.status(error) in CLIENT_FAULTS
    assert str(error)
    assert "\n" not in str(error)


def _tokenize(body: bytes) -> None:
    request = decode("tei", body, "tokenize").request
    assert type(request) is TokenizeRequest
    assert request.texts
    assert all(map(_is_text, request.texts))


def _decode(body: bytes) -> None:
    request = decode("tei", body, "decode").request
    assert type(request) is DecodeRequest
    assert request.ids
    assert all(map(_is_ids, request.ids))
    assert type(request.skip_special_tokens) is bool


DECODERS: dict[str, tuple[str, Decoder]] = {
    "v1": ("v1", lambda body: check_request(decode("v1", body).request)),
    "v2": ("v2", lambda body: check_request(decode("v2", body).request)),
    "openai": ("openai", lambda body: check_request(decode("openai", body).request)),
    "tei": ("tei", lambda body: check_request(decode("tei", body).request)),
    "tei_tokenize": ("tei", _tokenize),
    "tei_decode": ("tei", _decode),
    "cohere": ("cohere", lambda body: check_request(decode("cohere", body).request)),
    "ollama": ("ollama", lambda body: check_request(decode("ollama", body).request)),
    "ollama_prompt": (
        "ollama_prompt",
        lambda body: check_request(decode("ollama_prompt", body).request),
    ),
}

VALID: dict[str, list[dict[str, Any]]] = {
    "v1": [
        {"instances": ["a", "b"]},
        {"instances": [[101, 102], [101, 7, 102]], "parameters": {"dimensions": 8}},
        {
            "instances": [1, 2],
            "parameters": {"normalize": False, "truncate": True, "prompt_name": "query"},
        },
    ],
    "v2": [
        {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]},
        {
            "id": "7",
            "inputs": [
                {"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [["a"], ["b"]]}
            ],
            "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}],
            "parameters": {
                "dimensions": 8,
                "normalize": True,
                "truncate": False,
                "prompt_name": "query",
                "priority": "ingest",
                "timeout": 1000,
                "timeout_ms": 2.5,
                "binary_data_output": True,
            },
        },
    ],
    "openai": [
        {"model": "minilm", "input": "a"},
        {"model": "minilm", "input": [1, 2], "encoding_format": "base64", "dimensions": 8},
        {"model": "minilm", "input": ["a", "b"], "user": "u"},
    ],
    "tei": [
        {"inputs": "a"},
        {
            "inputs": ["a", "b"],
            "truncate": True,
            "truncation_direction": "Left",
            "prompt_name": "query",
            "normalize": False,
            "dimensions": 8,
        },
        {"inputs": [[1, 2], [3]]},
    ],
    "tei_tokenize": [{"inputs": ["a", "b"], "add_special_tokens": False, "prompt_name": "query"}],
    "tei_decode": [
        {"ids": [1, 2], "skip_special_tokens": False},
        {"ids": [[1, 2], [3]]},
    ],
    "ollama": [
        {"model": "minilm:latest", "input": "a", "keep_alive": "5m"},
        {"model": "minilm", "input": ["a", "b"], "truncate": False, "dimensions": 8},
    ],
    "ollama_prompt": [{"model": "minilm", "prompt": "a", "options": {"seed": 1}}],
    "cohere": [
        {"model": "minilm", "texts": ["a"]},
        {
            "model": "minilm",
            "texts": ["a", "b"],
            "input_type": "search_query",
            "embedding_types": ["float", "ubinary", "base64"],
            "output_dimension": 8,
            "truncate": "START",
            "images": [],
            "priority": 1,
        },
    ],
}


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set()


KEYS = sorted(_keys(list(VALID.values())))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**400)])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "text", "embedding", "BYTES", "FP32", "query", "\0", "\ud800"])
)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=10,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a JSON value, the value itself left out."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    return [
        place for key, inner in items for place in ((*path, key), *_places(inner, (*path, key)))
    ]


@st.composite
def changed_request(draw: st.DrawFn, kind: str) -> Any:
    """A valid request with one to three of its values replaced, removed, wrapped or repeated."""
    request = json.loads(json.dumps(draw(st.sampled_from(VALID[kind]))))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(request)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        holder = request
        for key in path:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "replace", "remove", "wrap", "repeat"]))
        if change == "replace":
            holder[last] = draw(ANY_JSON)
        elif change == "remove":
            del holder[last]
        elif change == "wrap":
            holder[last] = [holder[last]]
        elif isinstance(holder, list):
            holder.append(holder[last])
        else:
            holder[last] = [holder[last], holder[last]]
    return request


@st.composite
def changed_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """The same bytes, cut off, or with some replaced by any others."""
    start = draw(st.integers(0, len(body)))
    stop = draw(st.integers(start, min(len(body), start + 3)))
    tail = b"" if draw(st.booleans()) and start > 2 else body[stop:]
    return body[:start] + draw(st.binary(max_size=4)) + tail


def attempt(kind: str, body: bytes) -> None:
    protocol, decoder = DECODERS[kind]
    try:
        decoder(body)
    except PredictorError as error:
        check_error(error, protocol)


decoders = pytest.mark.parametrize("kind", DECODERS)


@decoders
def test_the_unchanged_requests_are_valid(kind: str) -> None:
    for request in VALID[kind]:
        DECODERS[kind][1](json.dumps(request).encode())


@decoders
@FUZZ
@given(body=st.binary(max_size=200))
@example(body=b"")
@example(body=b"\xff\xfe{\0}\0")
@example(body=b"[" * 100_000)
@example(body=b'{"a":' * 100_000)
@example(body=b'{"unknown":' + b"[" * 100_000)
def test_any_bytes(kind: str, body: bytes) -> None:
    attempt(kind, body)


@decoders
@FUZZ
@given(content=ANY_JSON)
def test_any_json(kind: str, content: Any) -> None:
    attempt(kind, json.dumps(content).encode())


@decoders
@FUZZ
@given(data=st.data())
def test_valid_requests_with_values_changed(kind: str, data: st.DataObject) -> None:
    attempt(kind, json.dumps(data.draw(changed_request(kind))).encode())


@decoders
@FUZZ
@given(data=st.data())
def test_valid_requests_with_bytes_changed(kind: str, data: st.DataObject) -> None:
    body = json.dumps(data.draw(st.sampled_from(VALID[kind]))).encode()
    attempt(kind, data.draw(changed_bytes(body)))


# Numbers that are integers in JSON and too large for any machine type.
@pytest.mark.parametrize("digits", [19, 20, 40, 309, 400, 4300, 5000])
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", ["timeout", "timeout_ms", "priority", "dimensions"])
def test_v2_parameters_of_any_size(name: str, sign: str, digits: int) -> None:
    tensor = b'{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}'
    number = f"{sign}{'9' * digits}".encode()
    attempt("v2", b'{"inputs":[%s],"parameters":{"%s":%s}}' % (tensor, name.encode(), number))


# Binary tensors


def _attempt_binary(body: bytes, json_length: int | None) -> None:
    try:
        decoded = decode_v2(body, json_length)
    except PredictorError as error:
        check_error(error, "v2")
    else:
        check_request(decoded.request)


def _with_length(element: bytes) -> bytes:
    return struct.pack("<I", len(element)) + element


ELEMENTS = st.lists(st.text(max_size=6).map(str.encode) | st.binary(max_size=6), max_size=5)


@FUZZ
@given(body=st.binary(max_size=100), json_length=st.none() | st.integers(-5, 110))
def test_any_bytes_with_any_json_length(body: bytes, json_length: int | None) -> None:
    _attempt_binary(body, json_length)


@FUZZ
@given(
    elements=ELEMENTS,
    count=st.none() | st.integers(-2, 8) | st.just(2**70),
    size=st.none() | st.integers(-2, 60) | st.just(2**70),
    off=st.integers(-3, 3) | st.integers(-300, 300),
    data=st.data(),
)
def test_binary_requests_with_lengths_changed(
    elements: list[bytes], count: int | None, size: int | None, off: int, data: st.DataObject
) -> None:
    binary = b"".join(map(_with_length, elements))
    if data.draw(st.booleans()):
        binary = data.draw(changed_bytes(binary))
    tensor = {
        "name": "text",
        "datatype": "BYTES",
        "shape": [len(elements) if count is None else count],
        "parameters": {"binary_data_size": len(binary) if size is None else size},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    _attempt_binary(header + binary, len(header) + off)


@FUZZ
@given(texts=st.lists(st.text(max_size=6), min_size=1, max_size=5))
def test_binary_requests_are_read_as_written(texts: list[str]) -> None:
    binary = b"".join(_with_length(text.encode()) for text in texts)
    tensor = {
        "name": "text",
        "datatype": "BYTES",
        "shape": [len(texts)],
        "parameters": {"binary_data_size": len(binary)},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    request = decode_v2(header + binary, len(header)).request
    assert isinstance(request, EmbedRequest)
    assert request.inputs == texts


@FUZZ
@given(elements=ELEMENTS)
def test_split_bytes_takes_apart_what_was_put_together(elements: list[bytes]) -> None:
    assert split_bytes(b"".join(map(_with_length, elements))) == elements


@FUZZ
@given(raw=st.binary(max_size=60))
@example(raw=b"\xff\xff\xff\xff")
@example(raw=b"\0\0\0")
def test_split_bytes_loses_nothing(raw: bytes) -> None:
    try:
        elements = split_bytes(raw)
    except InvalidInput as error:
        check_error(error, "v2")
    else:
        assert b"".join(map(_with_length, elements)) == raw


# gRPC

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
NAMES = st.sampled_from(["text", "embedding", ""]) | st.text(max_size=6)


def _varint(number: int) -> bytes:
    """A number as protobuf writes it, seven bits a byte, the lowest first."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


@st.composite
def parameter(draw: st.DrawFn) -> Any:
    value = messages.InferParameter()
    kind = draw(
        st.sampled_from(
            [None, "bool_param", "int64_param", "string_param", "double_param", "uint64_param"]
        )
    )
    if kind == "double_param":  # the last two are Triton's, unknown fields to KServe's proto
        value.MergeFromString(b"\x21" + struct.pack("<d", draw(st.floats())))
    elif kind == "uint64_param":
        value.MergeFromString(b"\x28" + _varint(draw(st.integers(0, 3) | UINT64)))
    elif kind == "bool_param":
        value.bool_param = draw(st.booleans())
    elif kind == "int64_param":
        value.int64_param = draw(st.integers(-3, 3) | INT64)
    elif kind == "string_param":
        value.string_param = draw(st.sampled_from(["query", "ingest", "1"]) | st.text(max_size=6))
    return value


PARAMETERS = st.dictionaries(
    st.sampled_from(sorted(InferParameters.__struct_fields__)) | st.text(max_size=4),
    parameter(),
    max_size=5,
)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "bytes_contents": ELEMENTS,
        "int64_contents": st.lists(INT64, max_size=3),
        "fp32_contents": st.lists(st.floats(width=32), max_size=3),
        "bool_contents": st.lists(st.booleans(), max_size=3),
    },
)


@st.composite
def infer_message(draw: st.DrawFn) -> Any:
    """A ModelInferRequest, valid but for what happens to be drawn otherwise."""
    message = messages.ModelInferRequest(model_name=draw(NAMES), id=draw(NAMES))
    for name, value in draw(PARAMETERS).items():
        message.parameters[name].CopyFrom(value)
    for _ in range(draw(st.sampled_from([1, 1, 1, 1, 0, 2]))):
        elements = draw(ELEMENTS)
        tensor = messages.ModelInferRequest.InferInputTensor(
            name=draw(st.just("text") | NAMES),
            datatype=draw(st.just("BYTES") | st.sampled_from(["FP32", "INT64", "", "bytes"])),
            shape=draw(st.just([len(elements)]) | st.lists(st.integers(-1, 5) | INT64, max_size=3)),
        )
        tensor.contents.bytes_contents.extend(elements)
        for name, values in draw(st.just({}) | CONTENTS).items():
            getattr(tensor.contents, name).extend(values)
        message.inputs.append(tensor)
    raw = ELEMENTS.map(lambda elements: b"".join(map(_with_length, elements)))
    message.raw_input_contents.extend(
        draw(st.just([]) | st.lists(raw | st.binary(max_size=9), max_size=2))
    )
    for name in draw(st.just([]) | st.lists(NAMES, max_size=2)):
        message.outputs.add(name=name)
    return message


def _attempt_message(message: Any) -> None:
    try:
        request = GRPC.decode(message, Sent({}), ("embed",)).request
    except PredictorError as error:
        check_error(error, "v2_grpc")
    else:
        check_request(request)


@FUZZ
@given(message=infer_message())
def test_any_grpc_message(message: Any) -> None:
    _attempt_message(message)


@FUZZ
@given(data=st.data())
def test_grpc_messages_with_bytes_changed(data: st.DataObject) -> None:
    wire = data.draw(infer_message()).SerializeToString()
    try:
        message = messages.ModelInferRequest.FromString(data.draw(changed_bytes(wire)))
    except DecodeError:
        return  # gRPC itself refuses it
    _attempt_message(message)


@FUZZ
@given(given_parameters=PARAMETERS)
def test_any_grpc_parameters(given_parameters: dict[str, Any]) -> None:
    try:
        parameters = parameters_of(given_parameters)
    except InvalidInput as error:
        check_error(error, "v2_grpc")
        return
    assert parameters.dimensions is None or type(parameters.dimensions) is int
    assert parameters.normalize in (None, True, False)
    assert parameters.truncate in (None, True, False)
    assert parameters.prompt_name is None or type(parameters.prompt_name) is str
    assert parameters.timeout is None or type(parameters.timeout) is int
    assert parameters.timeout_ms is None or type(parameters.timeout_ms) in (int, float)


@pytest.mark.parametrize("name", sorted(InferParameters.__struct_fields__))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0, 0.5])
def test_grpc_parameters_of_tritons_double(name: str, value: float) -> None:
    message = messages.ModelInferRequest()
    tensor = message.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"a")
    message.parameters[name].MergeFromString(b"\x21" + struct.pack("<d", value))
    _attempt_message(message)
