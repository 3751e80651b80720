"""A server that gives out the real page, and figures that a test has made up."""

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from predictor.server.http.page import DOCUMENT, HEADERS

VERSION_LINE: dict[str, Any] = {
    "name": "minilm", "version": "1", "state": "READY", "reason": "", "failed": False,
    "default": True, "healthy": True, "variant": "fp32", "dimensions": 384,
    "revision": "0123456789abcdef",
    "reference": "torch", "tolerance": 0.99999, "cosine": 0.9999999, "checked_s": 30.0,
    "learning": None, "drift": {}, "alarms": [], "requests": 0.0, "texts": 0.0, "tokens": 0.0,
}  # fmt: skip
BOUNDS = [0.01, 0.02, 0.04]


def snapshot(at: float = 100.0, instance: str = "one", **totals: Any) -> dict[str, Any]:
    """What /page.json answers; `totals` replaces some of them."""
    return {
        "at": at,
        "server": {
            "version": "1.2.3", "instance": instance, "uptime_s": 7200.0, "ready": True,
            "draining": False, "default": "minilm", "batch_tokens": 256, "queue_tokens": 1000,
        },
        "totals": {
            "requests": {"answered": 0.0, "refused": 0.0, "failed": 0.0},
            "latency": {"bounds": BOUNDS, "counts": [0.0, 0.0, 0.0, 0.0]},
            "texts": 0.0, "tokens": 0.0, "truncated": 0.0,
            "queue": {"tokens": 0.0, "rows": 0.0, "age_s": 0.0},
            "batch_tokens": {"count": 0.0, "sum": 0.0}, "batch_rows": {"count": 0.0, "sum": 0.0},
            "padding": {"count": 0.0, "sum": 0.0},
            "cache_hits": 0.0, "cache_misses": 0.0, "cache_saved_tokens": 0.0,
        } | totals,
        "versions": [copy.deepcopy(VERSION_LINE)],
        "left_out": 0,
    }  # fmt: skip


class Scripted:
    """`answers` are given one after the other, the last one again and again; none: it hangs up."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = [snapshot()]
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/":
                    headers = {name.decode(): value.decode() for name, value in HEADERS}
                    self._answer(DOCUMENT.body, {"content-type": DOCUMENT.content_type, **headers})
                elif (body := outer.next()) is not None:
                    self._answer(body, {"content-type": "application/json"})
                else:
                    self.close_connection = True

            def _answer(self, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(200)
                for name, value in (*headers.items(), ("content-length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def next(self) -> bytes | None:
        self.requests += 1
        if not self.answers:
            return None
        answer = self.answers[0]
        if len(self.answers) > 1:
            self.answers.pop(0)
        return json.dumps(answer).encode()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
