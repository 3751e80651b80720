"""What Prometheus says, and everything else that something on its port may say."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf, isnan
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from predictor.controller import prometheus
from predictor.controller.prometheus import Prometheus, PrometheusError
from predictor.errors import BadSetting
from tests.charts import promtool
from tests.deadlines import DEADLINE_S


class Stub:
    """Answers queries by the first word that they contain; keeps what was asked."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.status, self.raw = 200, b""
        self.hangs, self.over = False, threading.Event()
        self.queries: list[str] = []
        self.tokens: list[str | None] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                query = parse_qs(self.rfile.read(length).decode())["query"][0]
                stub.queries.append(query)
                stub.tokens.append(self.headers.get("Authorization"))
                if stub.hangs:
                    stub.over.wait(DEADLINE_S)
                result: Any = next((r for w, r in stub.results.items() if w in query), [])
                answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
                body = stub.raw or json.dumps(answer).encode()
                self.send_response(stub.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.over.set()
    made.server.shutdown()
    made.server.server_close()


def series(label: str, **values: float) -> list[Any]:
    return [{"metric": {label: key}, "value": [0, str(value)]} for key, value in values.items()]


def test_traffic_by_code_and_bound(stub: Stub) -> None:
    stub.results = {
        "by (code)": series("code", **{"200": 90.5, "503": 2.0, "500": 1.0, "429": 4.0}),
        "predictor_request_seconds": series("le", **{"0.005": 50.0, "+Inf": 90.5}),
        "predictor_computed_request_seconds": series("le", **{"0.005": 9.0, "+Inf": 40.5}),
    }
    traffic = Prometheus(stub.url + "/prefix/", "secret").traffic("search", "emb-predictor", 61.4)
    assert (traffic.answers, traffic.errors, traffic.refused) == (97.5, 3.0, 4.0)
    assert traffic.buckets == {0.005: 50.0, inf: 90.5}
    assert traffic.computed == {0.005: 9.0, inf: 40.5}
    assert all('namespace="search",deployment="emb-predictor"' in query for query in stub.queries)
    assert all("[61s]" in query for query in stub.queries)
    assert stub.tokens == ["Bearer secret"] * 3


def test_prometheus_accepts_every_query(stub: Stub, tmp_path: Path) -> None:
    if reason := promtool.why_not():
        pytest.skip(reason)
    stub.results = {"by (code)": series("code", **{"200": 1.0})}
    prometheus = Prometheus(stub.url)
    for window_s, before_s in ((0.2, 0.0), (61.4, 0.0), (600.0, 30.2)):
        prometheus.traffic("search", "emb-predictor", window_s, before_s)
    prometheus.canonical_margin("search", "emb-predictor")
    records = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(stub.queries)]
    output = promtool.check(tmp_path, {"groups": [{"name": "queries", "rules": records}]})
    assert f"{len(records)} rules found" in output


def test_scraped_once_is_no_traffic_yet(stub: Stub) -> None:
    stub.results = {"count(": [{"metric": {}, "value": [0, "8"]}]}
    assert Prometheus(stub.url).traffic("search", "emb", 5.0).answers == 0.0


def test_an_unknown_deployment_is_an_error(stub: Stub) -> None:
    with pytest.raises(PrometheusError, match="target label `deployment`"):
        Prometheus(stub.url).traffic("search", "emb", 60.0)


def test_not_a_number_is_passed_on_to_be_judged(stub: Stub) -> None:
    stub.results = {"by (code)": series("code", **{"200": float("nan")})}
    traffic = Prometheus(stub.url).traffic("search", "emb", 60.0)
    assert isnan(traffic.answers)
    assert not traffic.is_whole


def test_the_margin_of_the_canonical_texts(stub: Stub) -> None:
    prometheus = Prometheus(stub.url)
    assert prometheus.canonical_margin("search", "emb") is None
    stub.results = {"predictor_canonical_min_cosine": [{"metric": {}, "value": [0, "-0.02"]}]}
    assert prometheus.canonical_margin("search", "emb") == -0.02


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (500, b"{}"),
        (302, b""),
        (200, b"<html>a login page</html>"),
        (200, b'{"status": "error"}'),
        (200, b'{"data": {"result": [{"metric": {}, "value": [1]}]}}'),
        (200, b'{"data": {"result": [{"metric": {}, "value": [1, "x"]}]}}'),
        (200, b"[]"),
        (200, b"\xff\xfe"),
    ],
)
def test_a_server_that_is_not_prometheus_is_no_answer(stub: Stub, status: int, raw: bytes) -> None:
    stub.status, stub.raw = status, raw or b" "
    with pytest.raises(PrometheusError, match=f"status {status}|not one of Prometheus"):
        Prometheus(stub.url).traffic("search", "emb", 60.0)


def test_a_refused_connection_is_no_answer() -> None:
    with pytest.raises(PrometheusError, match="cannot be queried"):
        Prometheus("http://127.0.0.1:9").traffic("search", "emb", 60.0)


def test_a_prometheus_that_hangs_is_given_up(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "TIMEOUT_S", 0.05)
    stub.hangs = True
    with pytest.raises(PrometheusError, match="cannot be queried"):
        Prometheus(stub.url).traffic("search", "emb", 60.0)


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "http://", ""])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(BadSetting, match="must be http"):
        Prometheus(url)
