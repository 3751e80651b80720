"""What a server may answer, and each way it can be wrong as one sentence."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

from predictor.client import http, v2
from predictor.errors import BadModel, BadSetting
from predictor.progress import Progress

QUIET = Progress(quiet=True)
# Path and decoded body of a request, to status and body of the answer.
Answering = Callable[[str, Any], tuple[int, bytes]]


@contextmanager
def answering(answer: Answering) -> Iterator[str]:
    """A server that answers as told; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            content = self.rfile.read(length)
            status, body = answer(self.path, json.loads(content) if content else None)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-model-revision", "abc123")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def inferred(texts: list[str], width: int = 3, **more: Any) -> bytes:
    """A right answer: each text's vector is its length, repeated."""
    output = {
        "name": "embedding",
        "datatype": "FP32",
        "shape": [len(texts), width],
        "data": [float(len(text)) for text in texts for _ in range(width)],
    } | more
    return json.dumps({"model_name": "m", "model_version": "4", "outputs": [output]}).encode()


def good(path: str, body: Any) -> tuple[int, bytes]:
    if body is None:
        return 200, b'{"object": "list", "data": [{"id": "my model"}]}'
    assert path == "/v2/models/my%20model/infer"
    assert body["parameters"] == {"normalize": False}
    (tensor,) = body["inputs"]
    assert (tensor["name"], tensor["datatype"]) == ("text", "BYTES")
    assert tensor["shape"] == [len(tensor["data"])]
    return 200, inferred(tensor["data"], parameters={"truncated_inputs": "0"})


def embed(url: str, texts: list[str]) -> v2.V2Vectors:
    return v2.embed(v2.find(http.parse(url)), texts, QUIET)


def test_vectors_come_in_order_over_several_requests() -> None:
    texts = ["x" * (1 + number % 50) for number in range(100)]
    with answering(good) as url:
        answer = embed(url, texts)
    np.testing.assert_array_equal(answer.raw[:, 0], [len(text) for text in texts])
    assert answer.raw.shape == (100, 3)
    assert answer.raw.dtype == np.float32
    assert answer.truncated == 4  # one in each of four requests
    assert answer.description == "m, version 4, revision abc123"


def test_a_named_model_is_asked_for_by_its_path() -> None:
    paths: list[str] = []

    def answer(path: str, body: Any) -> tuple[int, bytes]:
        paths.append(path)
        return 200, inferred(["a"]) if body else b"{}"

    with answering(answer) as url:
        embed(f"{url}/v2/models/m/versions/4/infer", ["a"])
    path = "/v2/models/m/versions/4"
    assert paths == [path, f"{path}/infer", "/info", path]


WRONG: dict[str, tuple[Answering, str]] = {
    "a refusal": (
        lambda path, body: (404, b'{"error": "model\\n\'x\' is not served"}'),
        "GET /v1/models is answered 404 Not Found: model 'x' is not served",
    ),
    "a refusal in plain text": (
        lambda path, body: (503, b"upstream is gone\n"),
        "is answered 503 Service Unavailable: upstream is gone",
    ),
    "a web page": (lambda path, body: (200, b"<html>"), "not V2's JSON: "),
    "another kind of list": (lambda path, body: (200, b'{"data": [1]}'), "not V2's JSON: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_server_that_does_not_tell_its_model(name: str) -> None:
    answer, sentence = WRONG[name]
    with answering(answer) as url, pytest.raises(BadModel) as caught:
        embed(url, ["a"])
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)


WRONG_VECTORS: dict[str, tuple[bytes, str]] = {
    "no outputs": (b'{"outputs": []}', "has no output 'embedding'; its outputs: none"),
    "another output": (
        b'{"outputs": [{"name": "logits", "shape": [1, 1], "data": [0.5]}]}',
        "its outputs: logits",
    ),
    "too few vectors": (inferred(["a"]), r"answers 3 numbers of shape [1, 3] to 2 texts"),
    "a shape that lies": (inferred(["a", "b"], shape=[2, 9]), "answers 6 numbers of shape [2, 9]"),
    "one number a text": (inferred(["a", "b"], 1, shape=[2]), "of shape [2] to 2 texts"),
    "numbers that are none": (inferred(["a", "b"], data=[None] * 6), "not V2's JSON"),
    "nothing": (b"", "not V2's JSON"),
}


@pytest.mark.parametrize("name", WRONG_VECTORS)
def test_an_answer_that_is_no_vectors(name: str) -> None:
    content, sentence = WRONG_VECTORS[name]
    with (
        answering(lambda path, body: (200, content if body else b"{}")) as url,
        pytest.raises(BadModel) as caught,
    ):
        embed(f"{url}/v2/models/m", ["a", "b"])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_vectors_that_change_their_width() -> None:
    widths = iter([3, 4])

    def answer(path: str, body: Any) -> tuple[int, bytes]:
        return 200, inferred(body["inputs"][0]["data"], next(widths)) if body else b"{}"

    with answering(answer) as url, pytest.raises(BadModel, match="of different dimensions"):
        embed(f"{url}/v2/models/m", ["a"] * 33)


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        (b'{"data": []}', "serves no model"),
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', "serves a, b"),
    ],
)
def test_a_server_without_one_model_asks_for_a_name(models: bytes, sentence: str) -> None:
    with (
        answering(lambda path, body: (200, models)) as url,
        pytest.raises(BadSetting, match=f"{sentence}; name one: "),
    ):
        embed(url, ["a"])


def test_a_refused_connection_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(BadSetting, match=r"cannot be reached \(Connection refused\)"):
        embed(f"http://127.0.0.1:{port}", ["a"])


def one_shot(reply: bytes) -> tuple[str, threading.Thread]:
    """A socket that takes one connection, sends this and closes; its URL."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    return f"http://127.0.0.1:{server.getsockname()[1]}", thread


@pytest.mark.parametrize(
    "reply",
    [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort"],
    ids=["another protocol", "cut off"],
)
def test_an_answer_that_is_not_http_is_one_line(reply: bytes) -> None:
    url, thread = one_shot(reply)
    with pytest.raises(BadModel, match="does not answer HTTP") as caught:
        embed(url, ["a"])
    thread.join()
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BadSetting, match=r"no answer within 0\.1 s"):
            embed(url, ["a"])


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host", "http://", "http://host:99999", "http://host/other", "http://host/?a=b"),
        *("http://user:secret@host", "http://host/v2/models/"),
        "http://[::1",
    ],
)
def test_a_malformed_server_url_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match="not a"):
        http.parse(url)


def test_a_host_that_can_be_none() -> None:
    with pytest.raises(BadSetting, match="cannot be reached"):
        embed("http://a..b", ["a"])


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h:1", ""),
        ("https://h/", ""),
        ("http://h/v2/models/m/", "/v2/models/m"),
        ("http://h/v2/models/modèle", "/v2/models/mod%C3%A8le"),
        ("http://h/v2/models/m/versions/2", "/v2/models/m/versions/2"),
    ],
)
def test_the_path_of_a_model(url: str, path: str) -> None:
    address = http.parse(url)
    assert (address.host, address.path) == ("h", path)
    assert address.secure == url.startswith("https")
