"""No list of a request multiplies the work of another.

Every list that a body can have is repeated a thousand times beside as many texts as a test has time
for. The calls of decoding and encoding, and the bytes of the answer, may grow with the bytes of the
body, but not by the product of two lists.
"""

import copy
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from msgspec import inspect

from predictor.engine.quantize import Quantized, quantize
from predictor.engine.tokenizer import Piece
from predictor.errors import InvalidInput
from predictor.kserve_sdk import messages
from predictor.protocols import wire
from predictor.protocols.codec import Decoded
from predictor.protocols.cohere import CohereEmbedBody
from predictor.protocols.openai import VectorForm
from predictor.protocols.v2 import InferOptions
from predictor.server.application import CAPABILITIES
from predictor.tasks import TaskRequest, TaskResult
from predictor.tasks.embed import EmbedRequest, EmbedResult
from predictor.tasks.tokenizer import (
    DecodeRequest,
    DecodeResult,
    TokenizeRequest,
    TokenizeResult,
)
from predictor.types import OutputType
from tests.unit.protocols.calls import APPLICATION, GRPC, Sent

TEXTS = 300
REPEATED = 1000
DIMENSIONS = 8
# Calls, and bytes of the answer, for a byte of the body: a text of one character costs about three
# calls to decode and 200 bytes of an answer.
CALLS_A_BYTE = 12
BYTES_A_BYTE = 120

_MANY = ["a"] * TEXTS
# By route, a body with every list that there is.
BODIES: Mapping[str, Any] = {
    "/v1/embeddings": {"model": "m", "input": _MANY, "embedding_type": ["base64"]},
    "/openai/deployments/{model}/embeddings": {"input": _MANY, "embedding_type": ["base64"]},
    "/api/embed": {"model": "m", "input": _MANY},
    "/api/embeddings": {"model": "m", "prompt": "a"},
    "/v1/models/{model}:predict": {"instances": _MANY},
    "/embed": {"inputs": _MANY},
    "/tokenize": {"inputs": _MANY},
    "/decode": {"ids": [[7, 8]] * TEXTS},
    "/v2/embed": {
        "model": "m",
        "texts": _MANY,
        "images": ["a"],
        "inputs": [{"content": [{"type": "text", "text": "a"}]}],
        "embedding_types": ["base64"],
    },
    "/v1/embed": {
        "model": "m",
        "texts": _MANY,
        "images": ["a"],
        "inputs": [{"content": [{"type": "text", "text": "a"}]}],
        "embedding_types": ["base64"],
    },
    "/v2/models/{model}/infer": {
        "inputs": [{"name": "text", "shape": [TEXTS], "datatype": "BYTES", "data": _MANY}],
        "outputs": [{"name": "embedding"}],
    },
}
ROUTES = {
    route.template: route
    for route in APPLICATION.routes
    if route.method == "POST" and route.body is not None and not route.admin
}


class Work:
    """Counts the calls in a block, those of C functions included."""

    calls = 0

    def _count(self, frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1

    def __enter__(self) -> "Work":
        sys.setprofile(self._count)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)


def result_of(request: TaskRequest) -> TaskResult:
    """A result for a request, without a model."""
    common: dict[str, Any] = {
        "tokens": 1, "truncated": [], "model": "m", "version": "1", "revision": "r",
    }  # fmt: skip
    if isinstance(request, TokenizeRequest):
        piece: Piece = (7, "a", False, (0, 1))
        pieces = [[piece] * len(text) for text in request.texts]
        return TokenizeResult(texts=pieces, **common)
    if isinstance(request, DecodeRequest):
        return DecodeResult(texts=["a" * len(ids) for ids in request.ids], **common)
    assert isinstance(request, EmbedRequest)
    vectors = np.ones((len(request.inputs), DIMENSIONS), dtype=np.float32)
    others = [kind for kind in request.output_types if kind is not OutputType.FLOAT]
    quantized: dict[OutputType, Quantized] = {kind: quantize(vectors, kind) for kind in others}
    return EmbedResult(vectors=vectors, quantized=quantized, **common)


def measure(decode: Callable[[], Decoded[Any]]) -> tuple[int, int]:
    """Calls to decode a body and to encode its answer, and bytes of the answer."""
    work = Work()
    size = 0
    try:
        with work:
            decoded = decode()
        result = result_of(decoded.request)
        with work:
            answer = decoded.encode(result, "id").body
        size = len(answer) if isinstance(answer, bytes) else answer.ByteSize()
    except InvalidInput as error:
        size = len(str(error))
    return work.calls, size


def measure_rest(template: str, content: Any) -> tuple[int, int, int]:
    """Bytes of a body, calls and bytes of its answer."""
    route = ROUTES[template]
    codec = APPLICATION.codecs[route.codecs[0]]
    body = json.dumps(content).encode()
    tasks = (route.task,) if route.task else ("embed",)
    return len(body), *measure(lambda: codec.decode(body, Sent({}), tasks))


def lists_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all lists in a JSON value; of lists in a list, those of the first element."""
    if isinstance(value, list):
        yield path
        if value:
            yield from lists_in(value[0], (*path, 0))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from lists_in(item, (*path, key))


def list_fields(kind: inspect.Type, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all lists that a type may have."""
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from list_fields(field.type, (*path, field.encode_name))
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from list_fields(member, path)
    elif isinstance(kind, inspect.ListType):
        yield path
        yield from list_fields(kind.item_type, (*path, 0))


CASES = [(template, path) for template, body in BODIES.items() for path in lists_in(body)]


def test_there_is_a_body_with_each_list_of_each_route() -> None:
    assert set(BODIES) == {name for name in ROUTES if "versions" not in name}
    for template in BODIES:
        route = ROUTES[template]
        assert route.body is not None
        listed = {path for path in list_fields(inspect.type_info(route.body)) if 0 not in path[1:]}
        missing = {path for path in listed if (template, path) not in CASES}
        assert not missing, f"{template}: {missing}"


def test_every_task_of_rest_is_measured() -> None:
    tasks = {ROUTES[template].task for template in BODIES} - {""}
    assert tasks == {capability.task.name for capability in CAPABILITIES}


@pytest.mark.parametrize(("template", "path"), CASES, ids=str)
def test_work_grows_with_the_bytes_of_a_body(template: str, path: tuple[Any, ...]) -> None:
    body = copy.deepcopy(BODIES[template])
    before = measure_rest(template, body)
    place = body
    for step in path:
        place = place[step]
    place[:] = place * REPEATED if len(place) < TEXTS else place * (1 + REPEATED // TEXTS)
    if path[-1:] == ("data",):
        body["inputs"][0]["shape"] = [len(place)]
    size, calls, answered = measure_rest(template, body)
    added = size - before[0]
    assert added > 0
    assert calls <= before[1] + CALLS_A_BYTE * added
    assert answered <= before[2] + BYTES_A_BYTE * added


def message() -> Any:
    """A ModelInferRequest with every list that it can have."""
    request = messages.ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[TEXTS])
    tensor.contents.bytes_contents.extend([b"a"] * TEXTS)
    request.outputs.add(name="embedding")
    return request


def raw_message() -> Any:
    request = message()
    request.inputs[0].contents.Clear()
    request.raw_input_contents.append(b"\1\0\0\0a" * TEXTS)
    return request


def repeated_fields(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field, content in value.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            inner = content[0] if is_repeated(field) else content
            yield from repeated_fields(inner, (*path, field.name))
        if is_repeated(field):
            yield (*path, field.name)


def is_repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def field_at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = getattr(value, name)
        if name == "inputs" and path[-1] != "inputs":
            value = value[0]
    return value


@pytest.mark.parametrize(
    ("build", "path"),
    [(build, path) for build in (message, raw_message) for path in repeated_fields(build())],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_work_grows_with_the_bytes_of_a_message(
    build: Callable[[], Any], path: tuple[str, ...]
) -> None:
    def measured(request: Any) -> tuple[int, int]:
        return measure(lambda: GRPC.decode(request, Sent({}), ("embed",)))

    request = build()
    before = measured(request)
    size = request.ByteSize()
    place = field_at(request, path)
    elements = list(place)[:1] * REPEATED
    place.extend(elements)
    if path[-1] == "bytes_contents":
        request.inputs[0].shape[0] += REPEATED
    calls, answered = measured(request)
    added = request.ByteSize() - size
    assert calls <= before[0] + CALLS_A_BYTE * added
    assert answered <= before[1] + BYTES_A_BYTE * added


def test_a_list_that_multiplies_another_would_be_noticed() -> None:
    """The measure itself: base64 of all rows for each of a thousand types."""
    rows = np.ones((TEXTS, DIMENSIONS), dtype=np.float32)
    added = REPEATED * len(b'"base64", ')
    with Work() as work:
        for _ in range(REPEATED):
            wire.base64_rows(rows)
    assert work.calls > 4 * CALLS_A_BYTE * added


@pytest.mark.parametrize("rows", [1, 7, 700])
def test_slices_of_a_long_list_are_the_same_json(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(3).standard_normal((rows, 300)).astype(np.float32)
    request = EmbedRequest(inputs=["a"] * rows)
    result = result_of(request)
    assert isinstance(result, EmbedResult)
    result.vectors = vectors

    def bodies() -> list[bytes]:
        options = {
            "openai": VectorForm("float", OutputType.FLOAT), "tei": None, "v1": None,
            "v2": InferOptions("", binary=False),
            "cohere": CohereEmbedBody(model="m", texts=["a"]), "ollama": "m", "ollama_prompt": None,
        }  # fmt: skip
        forms = {name: APPLICATION.codecs[name]._forms["embed"] for name in options}  # type: ignore[attr-defined]
        return [forms[name].encode(options[name], result, "id").body for name in options]

    sliced = bodies()
    monkeypatch.setattr(wire, "SLICE_NUMBERS", 10**9)
    assert sliced == bodies()


def test_an_answer_of_grpc_is_serialised_by_its_form() -> None:
    """So that an error while it is serialised is one of the pipeline, which counts it."""
    decoded = GRPC.decode(message(), Sent({}), ("embed",))
    body = decoded.encode(result_of(decoded.request), "r1").body
    assert isinstance(body, bytes)
    assert messages.ModelInferResponse.FromString(body).id == "r1"
