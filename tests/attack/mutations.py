"""Requests that are nearly right: valid ones of every protocol, changed at random by a seed.

Pure functions: the same seed gives the same request.
"""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.attack import http2
from tests.integration.bad_input.asking import infer_message

MODEL = "minilm"
TEXT = "a text to embed"
# What may stand where something else is expected.
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64,
    10**30,
    1e308,
    -0.0,
    "",
    "a",
    "\0",
    "\ud800",
    "\u202e",
    "😀" * 300,
    "word " * 400,
    [],
    {},
    [[]],
    [None],
    [[[["a"]]]],
    ["a", 1],
    {"a": 1},
    "NaN",
    "base64",
    "float",
)
BODIES: dict[str, Any] = {
    "/v1/embeddings": {
        "model": MODEL,
        "input": [TEXT, "b"],
        "dimensions": 8,
        "encoding_format": "base64",
        "user": "u",
    },
    "/openai/v1/embeddings": {"model": MODEL, "input": [[101, 7592, 102]]},
    "/embed": {"inputs": [TEXT], "normalize": True, "truncate": True, "prompt_name": None},
    "/": {"inputs": TEXT},
    "/tokenize": {"inputs": [TEXT], "add_special_tokens": True},
    "/decode": {"ids": [[101, 7592, 102]], "skip_special_tokens": True},
    "/v2/embed": {
        "model": MODEL,
        "texts": [TEXT],
        "input_type": "search_query",
        "embedding_types": ["float", "int8"],
        "truncate": "END",
    },
    f"/v1/models/{MODEL}:predict": {"instances": [TEXT], "parameters": {"dimensions": 8}},
    f"/v2/models/{MODEL}/infer": {
        "id": "1",
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": False}}],
        "parameters": {"dimensions": 8, "priority": "query", "timeout_ms": 30000},
    },
    f"/v2/models/{MODEL}/versions/1/infer": {
        "inputs": [{"name": "input_ids", "shape": [1, 3], "datatype": "INT64", "data": [1, 2, 3]}]
    },
}
HEADERS = (
    "x-request-id: a",
    "x-priority: ingest",
    "x-cache: off",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate: a=b",
    "accept: */*",
    "content-encoding: gzip",
    "expect: 100-continue",
    "inference-header-content-length: 20",
    "connection: upgrade, http2-settings",
    "upgrade: h2c",
    "authorization: Bearer x",
)
GETS = (
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v1/models",
    f"/v2/models/{MODEL}",
    f"/v2/models/{MODEL}/ready",
    "/info",
    "/metrics",
    "/v2/repository/index",
    "/openapi.json",
    "/",
)


@dataclass(frozen=True)
class Mutant:
    """One request."""

    kind: str
    data: bytes
    # Whether it is complete HTTP, so that an answer is due.
    is_whole: bool = True


def mutant(seed: int) -> Mutant:
    """The request of a seed."""
    rng = random.Random(seed)
    make = rng.choices([_json_body, _raw_body, _head, _protobuf, _frames], [6, 3, 3, 4, 2])[0]
    return make(rng)


def _json_body(rng: random.Random) -> Mutant:
    """Right JSON, of which some values are others."""
    path = rng.choice(list(BODIES))
    body = json.loads(json.dumps(BODIES[path]))
    for _ in range(rng.randrange(1, 4)):
        body = _changed(body, rng)
    return Mutant("json", _post(path, json.dumps(body).encode(), rng))


def _changed(value: Any, rng: random.Random) -> Any:
    """The value, of which one part is another, is missing, or is there twice."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        return _changed_object(value, rng)
    if isinstance(value, list) and value and rng.random() < 0.7:
        return _changed_list(value, rng)
    return rng.choice(ODD)


def _changed_object(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    key = rng.choice(list(value))
    action = rng.randrange(6)
    if action == 0:
        return {name: each for name, each in value.items() if name != key}
    if action == 1:
        return value | {rng.choice(["x", key.upper(), "parameters", ""]): rng.choice(ODD)}
    return value | {key: _changed(value[key], rng)}


def _changed_list(value: list[Any], rng: random.Random) -> list[Any]:
    number = rng.randrange(len(value))
    action = rng.randrange(4)
    if action == 0:
        return value * rng.choice([2, 3, 50])
    if action == 1:
        return value[:number] + value[number + 1 :]
    return [*value[:number], _changed(value[number], rng), *value[number + 1 :]]


def _raw_body(rng: random.Random) -> Mutant:
    path = rng.choice(list(BODIES))
    body = _garbled(json.dumps(BODIES[path]).encode(), rng)
    return Mutant("body", _post(path, body, rng))


def _post(path: str, body: bytes, rng: random.Random) -> bytes:
    """A complete request, with a header that may matter."""
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    if rng.random() < 0.3:
        lines.append(rng.choice(HEADERS))
    return "\r\n".join([*lines, "", ""]).encode() + body


def _head(rng: random.Random) -> Mutant:
    """A request of which anything may be garbled, so that it may have no end."""
    if rng.random() < 0.5:
        path = rng.choice(GETS)
        data = f"GET {path} HTTP/1.1\r\nhost: x\r\n{rng.choice(HEADERS)}\r\n\r\n".encode()
    else:
        path = rng.choice(list(BODIES))
        data = _post(path, json.dumps(BODIES[path]).encode(), rng)
    return Mutant("head", _garbled(data, rng), is_whole=False)


def _protobuf(rng: random.Random) -> Mutant:
    """The message of a call."""
    message = infer_message(TEXT, "b")
    if rng.random() < 0.5:
        message.raw_input_contents.append(struct.pack("<I", 3) + b"abc")
    message.parameters["dimensions"].int64_param = 8
    return Mutant("grpc", _garbled(message.SerializeToString(), rng))


def _frames(rng: random.Random) -> Mutant:
    """The frames of a connection, each of which may be garbled, missing or there twice."""
    content = infer_message(TEXT).SerializeToString()
    frames = [http2.settings()]
    for stream in (1, 3):
        frames.append(http2.headers(stream, http2.INFER_PATH, (b"x-cache", b"off")))
        frames.append(http2.message(stream, content))
    frames.append(http2.reset(rng.choice([1, 3, 5])))
    frames.append(http2.frame(rng.randrange(12), rng.randrange(256), rng.randrange(8), bytes(8)))
    actions: list[Callable[[int], None]] = [
        lambda n: frames.__setitem__(n, _garbled(frames[n], rng)),
        frames.__delitem__,
        lambda n: frames.insert(n, frames[n]),
        lambda n: frames.sort(key=lambda _: rng.random()) if n else None,
    ]
    for _ in range(rng.randrange(1, 4)):
        rng.choice(actions)(rng.randrange(len(frames)))
    return Mutant("frames", b"".join(frames), is_whole=False)


def _garbled(data: bytes, rng: random.Random) -> bytes:
    """The bytes, of which a few are others, missing, or there twice."""
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice([1, 1, 2, 4, 30]))
        action = rng.randrange(5)
        if action == 0:
            del content[start:end]
        elif action == 1:
            content[start:start] = content[start:end] * rng.choice([1, 2, 100])
        elif action == 2:
            content[start:end] = rng.randbytes(end - start)
        elif action == 3:
            content[start:start] = rng.choice(
                [b"\0", b"\xff", b'"', b"[", b"{", b"\r\n", b"9" * 20]
            )
        elif start < len(content):
            content[start] ^= 1 << rng.randrange(8)
    return bytes(content)
