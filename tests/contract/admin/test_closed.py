"""Closed by default, whatever a client tries."""

import http.client
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.contract.admin.opened import (
    BEARER,
    ROUTES,
    UNLOAD,
    Served,
    default_version,
    kserve_stub,
)
from tests.deadlines import DEADLINE_S
from tests.serving import Server


@pytest.fixture(scope="module")
def outsider(closed: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=closed.url, headers=BEARER, timeout=DEADLINE_S) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_closed(outsider: httpx.Client, method: str, path: str) -> None:
    response = outsider.request(method, path)
    assert response.status_code == 404
    assert "--admin-token-file" in response.json()["error"]
    assert default_version(outsider) == "2"


METHODS = ("POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "UNLOAD", "post")
# What a proxy, a router or a framework might take for UNLOAD.
VARIATIONS = [
    UNLOAD,
    f"{UNLOAD}/",
    f"{UNLOAD}//",
    f"{UNLOAD}?x=1",
    f"{UNLOAD}#x",
    f"{UNLOAD};x",
    f"{UNLOAD}%0A",
    f"{UNLOAD}%00",
    f"{UNLOAD}%20",
    f"{UNLOAD}%2F",
    f"{UNLOAD}/.",
    f"/{UNLOAD}",
    f"//{UNLOAD}",
    f"/.{UNLOAD}",
    f"/x/..{UNLOAD}",
    "/v2//repository/models/minilm/unload",
    "/v2/repository//models/minilm/unload",
    "/v2/./repository/models/minilm/unload",
    "/v2/models/../repository/models/minilm/unload",
    "/v2/repository%0A/models/minilm/unload",
    "/V2/Repository/Models/minilm/Unload",
    "/v2/repository/models/minilm/UNLOAD",
    "/%76%32/repository/models/minilm/unload",
    "/v2/%72epository/models/minilm/unload",
    "/v2%2Frepository%2Fmodels%2Fminilm%2Funload",
    "%2Fv2/repository/models/minilm/unload",
    "/v2/repository%2fmodels/minilm%2funload",
    "/v2/repository/models/m%69nilm/unload",
    "/v2/%2572epository/models/minilm/unload",
    "/v2\\repository\\models\\minilm\\unload",
    "/v2/repository/models/minilm:2/unload",
    "/v2/repository/models/minilm%3A2/unload",
    "/v2/repository/models/minilm/versions/2/unload",
    "/v2/models/minilm/unload",
    "/v1/models/minilm/unload",
    "/v1/models/minilm:unload",
    "/v1/repository/models/minilm/unload",
    "/openai/v2/repository/models/minilm/unload",
    "/repository/models/minilm/unload",
    "http://localhost/v2/repository/models/minilm/unload",
    "http://localhost//v2/repository/models/minilm/unload",
]  # fmt: skip
FORWARDED = {
    "x-http-method-override": "POST",
    "x-original-url": UNLOAD,
    "x-rewrite-url": UNLOAD,
    "x-forwarded-prefix": "/x",
    "x-forwarded-for": "127.0.0.1",
    "forwarded": "for=127.0.0.1",
}


def raw(server: Server, method: str, target: str, headers: dict[str, str] | None = None) -> int:
    """The status of a request with this very target, which httpx would put in order.

    Raises:
        OSError: there is no answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=DEADLINE_S)
    try:
        connection.request(method, target, body=b"{}", headers=headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("target", VARIATIONS)
def test_no_way_to_unload(closed: Server, outsider: httpx.Client, target: str) -> None:
    for method in METHODS:
        status = raw(closed, method, target)
        assert 400 <= status < 500, method
        assert default_version(outsider) == "2", method


@pytest.mark.parametrize("path", ["/", "/v2/models/minilm/ready", UNLOAD])
def test_headers_of_proxies_open_nothing(closed: Server, outsider: httpx.Client, path: str) -> None:
    for method in ("POST", "GET"):
        raw(closed, method, path, FORWARDED)
        assert default_version(outsider) == "2"


# There are no websockets here. With a body, uvicorn's would never answer, and fail at shutdown.
@pytest.mark.parametrize("path", [UNLOAD, "/v1/embeddings", "/nothing"])
def test_websocket_opens_nothing(closed: Server, outsider: httpx.Client, path: str) -> None:
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert 400 <= raw(closed, "GET", path, upgrade) < 500
    assert default_version(outsider) == "2"


@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_closed_to_tritonclient_over_http(
    closed: Server, outsider: httpx.Client, call: str
) -> None:
    with InferenceServerClient(closed.url.removeprefix("http://")) as triton:
        with pytest.raises(InferenceServerException) as caught:
            getattr(triton, call)("minilm", headers=BEARER)
        assert caught.value.status() == "404"
    assert default_version(outsider) == "2"


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("load_model", ["minilm"]), ("unload_model", ["minilm"]), ("get_model_repository_index", [])],
)
def test_closed_to_tritonclient_over_grpc(
    closed: Server,
    outsider: httpx.Client,
    tritonclient_grpc: Any,
    call: str,
    arguments: list[str],
) -> None:
    with tritonclient_grpc.InferenceServerClient(closed.grpc) as triton:
        with pytest.raises(InferenceServerException) as caught:
            getattr(triton, call)(*arguments, headers=BEARER)
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
    assert default_version(outsider) == "2"


@pytest.mark.parametrize("call", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_closed_to_the_proto_of_kserve(
    closed: Server, outsider: httpx.Client, kserve: ModuleType, call: str
) -> None:
    with grpc.insecure_channel(closed.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        kserve_stub(channel, call)("minilm", **BEARER)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert default_version(outsider) == "2"


def test_admin_port_is_off_by_default(closed: Served) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", closed.admin_port), timeout=DEADLINE_S)
