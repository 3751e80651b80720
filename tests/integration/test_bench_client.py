"""What wrk really sends, against a server of the test's own; skipped where there is no wrk."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hack.bench import wrk
from hack.bench.wrk import LoadPlan, RequestTemplate

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk in the PATH")
ROUTE = RequestTemplate("/embed", '{"input":[', "]}")


class Bodies:
    """What came, in order; `enough` is set when there are as many as wanted."""

    def __init__(self, count: int) -> None:
        self._count, self.enough = count, threading.Event()
        self.received: list[str] = []

    def take(self, body: str) -> None:
        self.received.append(body)
        if len(self.received) >= self._count:
            self.enough.set()


@contextmanager
def answering(bodies: Bodies) -> Iterator[int]:
    """A port where every POST is answered with nothing."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.take(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@needs_wrk
@pytest.mark.parametrize(
    ("serial", "sent"),
    [(None, ["c", "a b", "c", "a b"]), (7, ["7 c", "8 a b", "8 c", "9 a b"])],
)
def test_texts_are_repeated_only_without_a_serial_number(
    tmp_path: Path, serial: int | None, sent: list[str]
) -> None:
    """wrk has the first request made to look at it, and never sends it."""
    texts = tmp_path / "texts"
    texts.write_text("a b\nc\n")
    bodies = Bodies(len(sent))
    load = LoadPlan(texts, 1, seconds=60, serial=serial)
    with answering(bodies) as port, wrk.background(port, ROUTE, load) as running:
        assert bodies.enough.wait(30)
        answered = running.stop()
    assert bodies.received[: len(sent)] == [f'{{"input":["{text}"]}}' for text in sent]
    # Stopped long before its time, it tells what it saw; the last answer may not have come.
    assert answered.requests >= len(sent) - 1
    assert (answered.errors, answered.seconds < 60) == (0, True)
