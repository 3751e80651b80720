"""The port of the pod itself."""

import json
import socket

import httpx
import pytest

from tests.contract.admin.opened import (
    BEARER,
    MODELS,
    ROUTES,
    TOKEN,
    Served,
    default_version,
    index_of,
)
from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S


def test_admin_port_listens_on_the_pod_only(with_port: Served) -> None:
    socket.create_connection(("127.0.0.2", with_port.http_port), timeout=DEADLINE_S).close()
    socket.create_connection(("127.0.0.1", with_port.admin_port), timeout=DEADLINE_S).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", with_port.admin_port), timeout=DEADLINE_S)


def test_admin_port_needs_no_token_unless_one_is_set(with_port: Served) -> None:
    with (
        httpx.Client(base_url=with_port.admin_url, timeout=DEADLINE_S) as pod,
        httpx.Client(base_url=with_port.url, timeout=DEADLINE_S) as client,
    ):
        assert pod.post(f"{MODELS}/minilm:1/load").status_code == 200
        assert default_version(client) == "1"
        assert index_of(pod)["minilm:1"]["state"] == "READY"
        assert pod.post(f"{MODELS}/minilm/load").status_code == 200
        assert default_version(client) == "2"
        assert pod.get("/admin/log-level").json() == {"level": "info"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_admin_port_leaves_the_serving_port_closed(
    with_port: Served, method: str, path: str
) -> None:
    assert (
        httpx.request(method, with_port.url + path, headers=BEARER, timeout=DEADLINE_S).status_code
        == 404
    )
    with httpx.Client(base_url=with_port.url, timeout=DEADLINE_S) as client:
        assert default_version(client) == "2"


def test_cache_flush(with_port: Served) -> None:
    with (
        httpx.Client(base_url=with_port.admin_url, timeout=DEADLINE_S) as pod,
        httpx.Client(base_url=with_port.url, timeout=DEADLINE_S) as client,
    ):

        def misses() -> float:
            return counted(client, "predictor_cache_misses_total", version="2")

        def embed() -> None:
            body = {"model": "minilm", "input": ["flushed, one", "flushed, two"]}
            client.post("/v1/embeddings", json=body).raise_for_status()

        pod.post("/admin/cache/flush").raise_for_status()
        embed()
        before = misses()
        embed()
        assert misses() == before
        assert pod.post("/admin/cache/flush").json() == {"rows": 2}
        assert pod.post("/admin/cache/flush").json() == {"rows": 0}
        embed()
        assert misses() == before + 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/embeddings"),
        ("POST", "/embed"),
        ("POST", "/v2/models/minilm/infer"),
        ("GET", "/v2/models/minilm"),
        ("GET", "/v2/health/live"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/"),
    ],
)
def test_admin_port_serves_nothing_else(with_port: Served, method: str, path: str) -> None:
    body = json.dumps({"model": "minilm", "input": "a", "inputs": "a"})
    response = httpx.request(method, with_port.admin_url + path, content=body, timeout=DEADLINE_S)
    assert response.status_code == 404


def test_token_is_in_no_log_line(with_token: Served, operator: httpx.Client) -> None:
    operator.post("/v2/repository/index")
    httpx.post(
        f"{with_token.url}/v2/repository/index",
        headers={"x-api-key": "guess-" + TOKEN},
        timeout=DEADLINE_S,
    )
    assert with_token.lines
    assert TOKEN not in "\n".join(with_token.lines)
    assert TOKEN not in operator.get("/metrics").text
