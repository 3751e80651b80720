"""Canaries that answer as a test wants, over real HTTP: good ones and every kind of bad one."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.deadlines import DEADLINE_S

Answer = Callable[[BaseHTTPRequestHandler, list[str]], None]


class Canary:
    """texts: what it was sent, in order; parameters: of the last request."""

    def __init__(self, answer: Answer) -> None:
        self.texts: list[str] = []
        self.parameters: dict[str, object] = {}
        self.headers: dict[str, str] = {}
        self.path = ""
        canary = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                texts = body["inputs"][0]["data"]
                canary.texts += texts
                canary.parameters, canary.path = body["parameters"], self.path
                canary.headers = dict(self.headers)
                with contextlib.suppress(OSError):
                    answer(self, texts)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def canary(answer: Answer) -> Iterator[Canary]:
    running = Canary(answer)
    try:
        yield running
    finally:
        running.stop()


def say(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def inferred(rows: list[list[float]]) -> bytes:
    width = len(rows[0])
    output = {
        "name": "embedding",
        "shape": [len(rows), width],
        "data": [number for row in rows for number in row],
    }
    return json.dumps({"outputs": [output], "model_name": "m"}).encode()


def vectors(of: Callable[[str], list[float]]) -> Answer:
    """A canary with this vector for each text."""
    return lambda handler, texts: say(handler, inferred([of(text) for text in texts]))


def content(body: bytes, status: int = 200) -> Answer:
    """A canary that answers this to everything."""
    return lambda handler, texts: say(handler, body, status)


def hanging(handler: BaseHTTPRequestHandler, texts: list[str]) -> None:
    """Until who asks has gone."""
    del texts
    handler.rfile.read(1)


def hang_up(handler: BaseHTTPRequestHandler, texts: list[str]) -> None:
    del texts
    handler.connection.close()


class Dripping:
    """Answers a byte now and then, so that no single wait is long, until told to end."""

    def __init__(self) -> None:
        self.enough = threading.Event()

    def __call__(self, handler: BaseHTTPRequestHandler, texts: list[str]) -> None:
        del texts
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        end = time.monotonic() + DEADLINE_S
        while not self.enough.wait(0.01) and time.monotonic() < end:
            handler.wfile.write(b" ")
            handler.wfile.flush()
