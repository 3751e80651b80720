"""Requests that are wrong as HTTP already."""

import gzip
import json
import socket
from typing import Any

import httpx
import pytest

from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import (
    INFER,
    PATHS,
    body,
    message_of,
    rest_protocols,
    show_nothing_of_the_insides,
)
from tests.serving import Server


@rest_protocols
@pytest.mark.parametrize("coding", ["br", "deflate", "deflate, gzip", "zstd"])
def test_a_body_that_is_compressed_in_another_way(
    http: httpx.Client, protocol: str, coding: str
) -> None:
    content = gzip.compress(json.dumps(body(protocol, ["a"])).encode())
    response = http.post(PATHS[protocol], content=content, headers={"content-encoding": coding})
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "gzip, identity"
    assert "supported: gzip, identity" in message_of(protocol, response)


@rest_protocols
@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "identity", "IDENTITY"])
def test_a_body_in_gzip(http: httpx.Client, protocol: str, coding: str) -> None:
    content = json.dumps(body(protocol, ["a"])).encode()
    expected = http.post(PATHS[protocol], content=content)
    if "gzip" in coding.lower():
        content = gzip.compress(content)
    response = http.post(PATHS[protocol], content=content, headers={"content-encoding": coding})
    assert response.status_code == expected.status_code == 200


def test_a_body_that_is_not_gzip(http: httpx.Client) -> None:
    whole = gzip.compress(json.dumps(body("tei", ["a"])).encode())
    for content in (b"{}", whole[:-4], whole + b"x", b""):
        response = http.post(PATHS["tei"], content=content, headers={"content-encoding": "gzip"})
        assert response.status_code == 400
        assert "gzip" in message_of("tei", response)


def test_a_body_that_unpacks_to_too_much(http: httpx.Client) -> None:
    bomb = gzip.compress(bytes(200 << 20), compresslevel=9)
    assert len(bomb) < 1 << 20
    response = http.post(PATHS["tei"], content=bomb, headers={"content-encoding": "gzip"})
    assert response.status_code == 413
    assert "after decompression" in message_of("tei", response)


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
    with socket.create_connection(
        ("127.0.0.1", server.http_port), timeout=DEADLINE_S
    ) as connection:
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
def test_a_request_that_is_not_http_is_refused(server: Server, request_: bytes) -> None:
    with socket.create_connection(
        ("127.0.0.1", server.http_port), timeout=DEADLINE_S
    ) as connection:
        connection.sendall(request_ + b"\r\n\r\n")
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    show_nothing_of_the_insides(answer.decode())
