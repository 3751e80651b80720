"""What changes the server: closed by default, then for who has the token, or on the pod's port."""

import http.client
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.contract.helpers import UNKNOWN, counted
from tests.serving import Server

TOKEN = "token-of-the-operator-0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}
MODELS = "/v2/repository/models"
ROUTES = [
    ("POST", f"{MODELS}/minilm/load"),
    ("POST", f"{MODELS}/minilm/unload"),
    ("POST", "/v2/repository/index"),
    ("POST", "/admin/cache/flush"),
    ("GET", "/admin/log-level"),
    ("PUT", "/admin/log-level"),
    ("GET", "/admin/shadow"),
    ("PUT", "/admin/shadow"),
    ("DELETE", "/admin/shadow"),
]
# A changed file counts within a second of the next look at it; the rest is for a busy machine.
SOON_S = 10.0


@pytest.fixture(scope="module")
def repository(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """minilm/1, minilm/2, and broken/1, of which a file is damaged."""
    root = tmp_path_factory.mktemp("admin")
    for version in ("minilm/1", "minilm/2", "broken/1"):
        shutil.copytree(bundle_dir, root / version, copy_function=os.link)
    tokenizer = root / "broken/1/tokenizer.json"
    content = tokenizer.read_bytes()
    tokenizer.unlink()  # a hard link, as all files here
    tokenizer.write_bytes(content[:-1])
    return root


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Served(Server):
    """A server of that repository, where version 2 of minilm is the latest."""

    def __init__(self, repository: Path, *flags: str) -> None:
        self.admin_port = free_port()
        super().__init__(f"--model-dir={repository}", "--drain-delay=0", *flags)

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"


@pytest.fixture(scope="module")
def closed(repository: Path) -> Iterator[Server]:
    """A server as it is by default."""
    running = Served(repository, "--null-engine")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def with_token(repository: Path, token_file: Path) -> Iterator[Served]:
    """Opened to who has the token, on both ports; without an engine, so loading takes no time."""
    port = free_port()
    flags = (f"--admin-token-file={token_file}", f"--admin-port={port}", "--null-engine")
    running = Served(repository, "--log-level=debug", *flags)
    running.admin_port = port
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def with_port(repository: Path) -> Iterator[Served]:
    """Opened to the pod itself, while it serves on every address; with an engine and a cache."""
    port = free_port()
    running = Served(repository, "--host=0.0.0.0", f"--admin-port={port}")
    running.admin_port = port
    yield running
    assert running.stop() == 0


def default_version(client: httpx.Client) -> str:
    """The version that answers now. Raises HTTPStatusError if none does."""
    response = client.post("/v1/embeddings", json={"model": "minilm", "input": "hello"})
    response.raise_for_status()
    return str(response.json()["model_version"])


@pytest.fixture
def anybody(with_token: Served) -> Iterator[httpx.Client]:
    """Somebody without a token."""
    with httpx.Client(base_url=with_token.url, timeout=30.0) as client:
        yield client


@pytest.fixture
def operator(with_token: Served) -> Iterator[httpx.Client]:
    """Somebody with the token; leaves version 2 as the one that answers, and no shadow."""
    with httpx.Client(base_url=with_token.url, headers=BEARER, timeout=30.0) as client:
        yield client
        client.delete("/admin/shadow").raise_for_status()
        client.post(f"{MODELS}/minilm/load").raise_for_status()
        assert default_version(client) == "2"


# Closed by default


@pytest.fixture(scope="module")
def outsider(closed: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=closed.url, headers=BEARER) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_closed(outsider: httpx.Client, method: str, path: str) -> None:
    response = outsider.request(method, path)
    assert response.status_code == 404
    assert "--admin-token-file" in response.json()["error"]
    assert default_version(outsider) == "2"


UNLOAD = f"{MODELS}/minilm/unload"
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
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=5.0)
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


Change = Callable[..., Any]


def kserve_stub(channel: grpc.Channel, call: str) -> Change:
    """`RepositoryModelLoad` or `-Unload` by KServe's proto: the name is in field 1."""
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services

    stub = getattr(services.GRPCInferenceServiceStub(channel), call)
    request = getattr(messages, f"{call}Request")

    def change(name: str, **metadata: str) -> Any:
        return stub(request(model_name=name), metadata=list(metadata.items()))

    return change


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
        socket.create_connection(("127.0.0.1", closed.admin_port), timeout=5.0)


# The token


def assert_unauthorized(response: httpx.Response) -> None:
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong-token-0123456789abcdef"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Bearer {TOKEN}0"},
        {"authorization": f"Bearer {TOKEN.upper()}"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"authorization": TOKEN},
        {"x-api-key": "wrong-token-0123456789abcdef"},
    ],
    ids=[
        "another", "shorter", "longer", "upper case", "Basic", "no token", "no scheme",
        "another in x-api-key",
    ],
)  # fmt: skip
def test_with_a_wrong_token(anybody: httpx.Client, headers: dict[str, str]) -> None:
    assert_unauthorized(anybody.post(UNLOAD, headers=headers))
    assert default_version(anybody) == "2"


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/admin/nothing")])
def test_without_a_token(with_token: Served, anybody: httpx.Client, method: str, path: str) -> None:
    assert_unauthorized(anybody.request(method, path))
    assert_unauthorized(httpx.request(method, with_token.admin_url + path))
    assert default_version(anybody) == "2"


def test_refused_body_is_not_read(with_token: Served) -> None:
    """Who has no token may not make the server wait, nor take its memory."""
    with socket.create_connection(("127.0.0.1", with_token.http_port), timeout=5.0) as connection:
        head = f"POST {UNLOAD} HTTP/1.1\r\nhost: test\r\ncontent-length: {8 << 20}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "headers",
    [BEARER, {"authorization": f"bearer  {TOKEN}"}, {"x-api-key": TOKEN}],
    ids=["Bearer", "bearer", "x-api-key"],
)
@pytest.mark.parametrize("url", ["url", "admin_url"])
def test_with_the_token(with_token: Served, url: str, headers: dict[str, str]) -> None:
    url = getattr(with_token, url) + "/v2/repository/index"
    assert httpx.post(url, headers=headers).status_code == 200


def test_token_is_not_for_inference(anybody: httpx.Client) -> None:
    assert default_version(anybody) == "2"


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it holds before long."""
    end = time.monotonic() + SOON_S
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def replace_token(anybody: httpx.Client, token_file: Path) -> Iterator[Callable[[str], None]]:
    """Puts another token into the file, as a whole; at the end the usual one is back."""

    def replace(content: str) -> None:
        fresh = token_file.with_name("fresh")
        fresh.write_text(content)
        fresh.replace(token_file)

    yield replace
    replace(TOKEN)
    assert soon(lambda: is_let_in(anybody, TOKEN))


def is_let_in(client: httpx.Client, token: str) -> bool:
    headers = {"authorization": f"Bearer {token}"}
    return client.get("/admin/log-level", headers=headers).status_code == 200


def test_token_is_replaced_with_its_file(
    anybody: httpx.Client, replace_token: Callable[[str], None]
) -> None:
    new = "the-next-token-0123456789abcdef"
    assert is_let_in(anybody, TOKEN)
    assert not is_let_in(anybody, new)
    replace_token(new)
    assert soon(lambda: is_let_in(anybody, new))
    assert not is_let_in(anybody, TOKEN)


def test_token_stays_when_the_new_one_is_too_short(
    anybody: httpx.Client, with_token: Served, replace_token: Callable[[str], None]
) -> None:
    replace_token("short")
    # The file is looked at when somebody asks.
    assert soon(
        lambda: is_let_in(anybody, TOKEN) and "at least 16 are needed" in with_token.lines[-1]
    )
    assert is_let_in(anybody, TOKEN)
    assert not is_let_in(anybody, "short")


# Load and unload


def index_of(client: httpx.Client) -> dict[str, dict[str, str]]:
    """The lines of the index by `name:version`."""
    entries = client.post("/v2/repository/index").json()
    assert all(set(entry) == {"name", "version", "state", "reason"} for entry in entries)
    return {f"{entry['name']}:{entry['version']}": entry for entry in entries}


def test_index(operator: httpx.Client) -> None:
    entries = index_of(operator)
    assert {name: entry["state"] for name, entry in entries.items()} == {
        "broken:1": "UNAVAILABLE", "minilm:1": "UNAVAILABLE", "minilm:2": "READY",
    }  # fmt: skip
    assert "latest:1" in entries["minilm:1"]["reason"]
    assert "tokenizer.json" in entries["broken:1"]["reason"]
    ready = operator.post("/v2/repository/index", json={"ready": True}).json()
    assert [(entry["name"], entry["version"]) for entry in ready] == [("minilm", "2")]


@pytest.mark.parametrize(
    ("name", "version"),
    [("minilm", "1"), ("minilm", 1), ("minilm:1", None), ("minilm%3A1", None)],
    ids=["in the body", "as a number", "in the name", "in the name, encoded"],
)
def test_load_of_a_version(operator: httpx.Client, name: str, version: object) -> None:
    body = {"parameters": {"version": version}} if version else None
    response = operator.post(f"{MODELS}/{name}/load", json=body)
    assert response.status_code == 200, response.text
    assert default_version(operator) == "1"
    entries = index_of(operator)
    assert entries["minilm:1"]["state"] == "READY"
    assert entries["minilm:2"]["state"] == "UNAVAILABLE"
    # What the policy says again.
    assert operator.post(f"{MODELS}/minilm/load").status_code == 200
    assert default_version(operator) == "2"


def test_unload_of_a_version(operator: httpx.Client) -> None:
    body = {"parameters": {"version": "2"}}
    assert operator.post(f"{MODELS}/minilm/unload", json=body).status_code == 200
    assert default_version(operator) == "1"
    assert "request" in index_of(operator)["minilm:2"]["reason"]


def test_unload_of_a_version_by_name(operator: httpx.Client) -> None:
    assert operator.post(f"{MODELS}/minilm:2/unload").status_code == 200
    assert default_version(operator) == "1"


def test_unloaded_model_is_not_ready_and_says_why(
    operator: httpx.Client, with_token: Served, tritonclient_grpc: Any
) -> None:
    assert operator.post(f"{MODELS}/minilm/unload").status_code == 200
    response = operator.post("/v1/embeddings", json={"model": "minilm", "input": "hello"})
    assert response.status_code == 503
    assert "unloaded by request" in response.json()["error"]["message"]
    assert response.headers["retry-after"]
    assert operator.get("/v2/models/minilm/ready").status_code == 503
    assert operator.get("/v2/health/ready").status_code == 503
    assert operator.get("/v2/health/live").status_code == 200
    with tritonclient_grpc.InferenceServerClient(with_token.grpc) as triton:
        assert not triton.is_server_ready()
        with pytest.raises(InferenceServerException, match="unloaded") as caught:
            triton.is_model_ready("minilm")
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
    assert operator.post(f"{MODELS}/minilm/load").status_code == 200
    assert operator.get("/v2/models/minilm/ready").status_code == 200


@pytest.mark.parametrize("name", ["broken", "broken:1"])
def test_load_of_a_damaged_version(operator: httpx.Client, name: str) -> None:
    response = operator.post(f"{MODELS}/{name}/load")
    assert response.status_code == 409
    assert "tokenizer.json" in response.json()["error"]
    assert default_version(operator) == "2"


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize(
    "version",
    ["", "0", "01", "-1", "+1", "1.0", "1 ", "1\n", "latest", "\uff11", "1" * 10, "9" * 5000, 0,
     1.0, -1, True, False, [], ["1"], {}, {"1": 1}],
    ids=repr,
)  # fmt: skip
def test_bad_version(operator: httpx.Client, version: object, action: str) -> None:
    body = {"parameters": {"version": version}}
    response = operator.post(f"{MODELS}/minilm/{action}", json=body)
    assert response.status_code == 400
    assert "version" in response.json()["error"]
    assert default_version(operator) == "2"


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize("name", ["minilm:0", "minilm:", "minilm:x", "minilm:1:2:y"])
def test_bad_version_in_the_name(operator: httpx.Client, name: str, action: str) -> None:
    assert operator.post(f"{MODELS}/{name}/{action}").status_code == 400
    assert default_version(operator) == "2"


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize(
    "name", [UNKNOWN, "minilm:9", "a/b", "..%2Fminilm", "minilm/versions/2", "%00"]
)
def test_unknown_model_or_version(operator: httpx.Client, name: str, action: str) -> None:
    response = operator.post(f"{MODELS}/{name}/{action}")
    assert response.status_code == 404
    assert "not in the repository" in response.json()["error"]
    assert default_version(operator) == "2"


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"parameters": {"config": "{}"}}', 400),
        (b'{"parameters": {"version": "1", "verison": "1"}}', 400),
        (b'{"parameters": []}', 400),
        (b'{"parameters": null}', 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 60_000, 400),
        (b" " * (1 << 16) + b"{}", 413),
    ],
    ids=[
        "unknown", "misspelt", "a list", "null", "no object", "no JSON", "no text", "deep", "large",
    ],
)  # fmt: skip
def test_bad_body(operator: httpx.Client, body: bytes, status: int, action: str) -> None:
    response = operator.post(f"{MODELS}/minilm/{action}", content=body)
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    assert default_version(operator) == "2"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", f"{MODELS}/minilm/load", "POST"),
        ("DELETE", f"{MODELS}/minilm/unload", "POST"),
        ("GET", "/v2/repository/index", "POST"),
        ("GET", "/admin/cache/flush", "POST"),
        ("DELETE", "/admin/log-level", "GET, POST, PUT"),
    ],
)
def test_another_method(operator: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = operator.request(method, path)
    assert response.status_code == 405
    assert allowed in response.json()["error"]
    assert response.headers["allow"] == allowed
    assert default_version(operator) == "2"


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/nothing", "/v2/repository/", "/v2/repository/models/minilm"]
)
def test_unknown_admin_route(operator: httpx.Client, path: str) -> None:
    assert operator.post(path).status_code == 404


# Triton's clients, and KServe's proto


@pytest.fixture
def over_http(with_token: Served, operator: httpx.Client) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(with_token.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture
def over_grpc(with_token: Served, operator: httpx.Client, tritonclient_grpc: Any) -> Iterator[Any]:
    with tritonclient_grpc.InferenceServerClient(with_token.grpc) as client:
        yield client


@pytest.mark.parametrize("headers", [None, {"authorization": "Bearer wrong"}], ids=["none", "bad"])
@pytest.mark.parametrize(
    ("call", "arguments"),
    [("load_model", ["minilm"]), ("unload_model", ["minilm"]), ("get_model_repository_index", [])],
)
def test_tritonclient_over_http_without_the_token(
    over_http: InferenceServerClient,
    operator: httpx.Client,
    call: str,
    arguments: list[str],
    headers: dict[str, str] | None,
) -> None:
    with pytest.raises(InferenceServerException, match="admin token") as caught:
        getattr(over_http, call)(*arguments, headers=headers)
    assert caught.value.status() == "401"
    assert default_version(operator) == "2"


def test_tritonclient_over_http(over_http: InferenceServerClient, operator: httpx.Client) -> None:
    over_http.load_model("minilm:1", headers=BEARER)
    assert default_version(operator) == "1"
    over_http.unload_model("minilm", headers=BEARER)
    assert not over_http.is_model_ready("minilm")
    over_http.load_model("minilm", headers=BEARER)
    assert over_http.is_model_ready("minilm")
    assert default_version(operator) == "2"
    index = over_http.get_model_repository_index(headers=BEARER)
    assert [(entry["name"], entry["version"]) for entry in index if entry["state"] == "READY"] == [
        ("minilm", "2")
    ]


def test_tritonclient_over_http_with_unload_dependents(
    over_http: InferenceServerClient, operator: httpx.Client
) -> None:
    over_http.unload_model("minilm:2", headers=BEARER, unload_dependents=True)
    assert default_version(operator) == "1"


# Silently loading something else than was asked for would be worse than refusing.
@pytest.mark.parametrize(
    "options", [{"config": "{}"}, {"config": "{}", "files": {"file:1/model.onnx": b"x"}}]
)
def test_tritonclient_over_grpc_with_a_config(
    over_grpc: Any, operator: httpx.Client, options: dict[str, Any]
) -> None:
    with pytest.raises(InferenceServerException, match="parameter") as caught:
        over_grpc.load_model("minilm:1", headers=BEARER, **options)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert default_version(operator) == "2"


@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        ("string_param", "1", None),
        ("int64_param", 1, None),
        ("string_param", "0", "INVALID_ARGUMENT"),
        ("bool_param", True, "INVALID_ARGUMENT"),
        ("bytes_param", b"1", "INVALID_ARGUMENT"),
        ("string_param", "9", "NOT_FOUND"),
    ],
)
def test_version_in_a_parameter_over_grpc(
    with_token: Served,
    operator: httpx.Client,
    tritonclient_grpc: Any,
    kind: str,
    value: object,
    status: str | None,
) -> None:
    types = tritonclient_grpc.service_pb2
    request = types.RepositoryModelLoadRequest(model_name="minilm")
    setattr(request.parameters["version"], kind, value)
    with grpc.insecure_channel(with_token.grpc) as channel:
        stub = tritonclient_grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        if status is None:
            stub.RepositoryModelLoad(request, metadata=list(BEARER.items()))
            assert default_version(operator) == "1"
            return
        with pytest.raises(grpc.RpcError) as caught:
            stub.RepositoryModelLoad(request, metadata=list(BEARER.items()))
    assert caught.value.code() is getattr(grpc.StatusCode, status)
    assert default_version(operator) == "2"


def test_tritonclient_over_http_with_a_config(
    over_http: InferenceServerClient, operator: httpx.Client
) -> None:
    with pytest.raises(InferenceServerException, match="parameter 'config'") as caught:
        over_http.load_model("minilm:1", headers=BEARER, config="{}")
    assert caught.value.status() == "400"
    assert default_version(operator) == "2"


@pytest.mark.parametrize("headers", [None, {"authorization": "Bearer wrong"}], ids=["none", "bad"])
@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_tritonclient_over_grpc_without_the_token(
    over_grpc: Any, operator: httpx.Client, call: str, headers: dict[str, str] | None
) -> None:
    with pytest.raises(InferenceServerException, match="admin token") as caught:
        getattr(over_grpc, call)("minilm", headers=headers)
    assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
    assert default_version(operator) == "2"


@pytest.mark.parametrize("headers", [BEARER, {"x-api-key": TOKEN}], ids=["Bearer", "x-api-key"])
def test_tritonclient_over_grpc(
    over_grpc: Any, operator: httpx.Client, headers: dict[str, str]
) -> None:
    over_grpc.load_model("minilm:1", headers=headers)
    assert default_version(operator) == "1"
    over_grpc.unload_model("minilm:1", headers=headers, unload_dependents=True)
    assert default_version(operator) == "2"
    over_grpc.load_model("minilm", headers=headers)
    assert default_version(operator) == "2"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("minilm:0", "INVALID_ARGUMENT"),
        (UNKNOWN, "NOT_FOUND"),
        ("", "NOT_FOUND"),
        ("broken:1", "FAILED_PRECONDITION"),
    ],
)
def test_tritonclient_over_grpc_is_refused(
    over_grpc: Any, operator: httpx.Client, name: str, status: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        over_grpc.load_model(name, headers=BEARER)
    assert caught.value.status() == f"StatusCode.{status}"
    assert default_version(operator) == "2"


def test_proto_of_kserve(with_token: Served, operator: httpx.Client, kserve: ModuleType) -> None:
    with grpc.insecure_channel(with_token.grpc) as channel:
        load = kserve_stub(channel, "RepositoryModelLoad")
        unload = kserve_stub(channel, "RepositoryModelUnload")
        with pytest.raises(grpc.RpcError) as caught:
            unload("minilm")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        answer = load("minilm:1", **BEARER)
        assert (answer.model_name, answer.isLoaded) == ("minilm:1", True)
        assert default_version(operator) == "1"
        answer = unload("minilm:1", **BEARER)
        assert (answer.model_name, answer.isUnloaded) == ("minilm:1", True)
        assert default_version(operator) == "2"


# The log, and a cache that is not there


def test_flush_says_that_there_is_no_cache(operator: httpx.Client) -> None:
    response = operator.post("/admin/cache/flush")
    assert response.status_code == 404
    assert "--cache-mb" in response.json()["error"]


def test_log_level(operator: httpx.Client) -> None:
    assert operator.get("/admin/log-level").json() == {"level": "debug"}
    for method, level in (("PUT", "error"), ("POST", "warning"), ("PUT", "debug")):
        response = operator.request(method, "/admin/log-level", json={"level": level})
        assert (response.status_code, response.json()) == (200, {"level": level})
        assert operator.get("/admin/log-level").json() == {"level": level}


@pytest.mark.parametrize(
    "body", [{"level": "verbose"}, {"level": "INFO"}, {"level": 10}, {"level": None}, {}, [], None]
)
def test_bad_log_level(operator: httpx.Client, body: object) -> None:
    response = operator.put("/admin/log-level", json=body)
    assert response.status_code == 400
    assert operator.get("/admin/log-level").json() == {"level": "debug"}


# Copies for a canary

SHADOW: dict[str, Any] = {
    "url": "http://127.0.0.1:9",
    "model": "minilm",
    "share": 0.5,
    "seconds": 60,
}


def test_shadow(with_token: Served, operator: httpx.Client) -> None:
    assert operator.get("/admin/shadow").json()["active"] is False
    begun = operator.put("/admin/shadow", json=SHADOW | {"key": "key-of-the-canary"})
    assert begun.status_code == 200
    told = begun.json()
    assert told["active"] is True
    assert (told["url"], told["model"], told["version"]) == (SHADOW["url"], "minilm", "2")
    assert told["share"] == 0.5
    assert 50 < told["left_s"] <= 60
    assert (told["totals"]["compared"], told["totals"]["smallest"]) == (0, None)
    again = operator.put("/admin/shadow", json=SHADOW | {"seconds": 600}).json()
    assert 500 < again["left_s"] <= 600
    assert 0 < again["age_s"] < 60
    assert operator.get("/admin/shadow").json()["active"] is True
    assert operator.delete("/admin/shadow").json()["active"] is False
    assert operator.get("/admin/shadow").json()["active"] is False
    assert "key-of-the-canary" not in begun.text + "\n".join(with_token.lines)


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        ({"url": "canary:8080"}, 400, "url: canary:8080: not a server's URL"),
        ({"url": "ftp://canary"}, 400, "url: "),
        ({"url": "http://canary/v2/models/m"}, 400, "url: without a path"),
        ({"url": "http://user:word@canary"}, 400, "url: "),
        ({"url": 5}, 400, "$.url"),
        ({"url": "http://" + "a" * 3000}, 400, "$.url"),
        ({"model": ""}, 400, "$.model"),
        ({"model": UNKNOWN}, 404, "is not served here"),
        ({"share": 0}, 400, "$.share"),
        ({"share": 1.01}, 400, "$.share"),
        ({"share": "all"}, 400, "$.share"),
        ({"seconds": 0}, 400, "$.seconds"),
        ({"seconds": 601}, 400, "$.seconds"),
        ({"key": "two words"}, 400, "$.key"),
        ({"key": "a\r\nHost: b"}, 400, "$.key"),
        ({"id": "a" * 201}, 400, "$.id"),
    ],
    ids=str,
)
def test_bad_shadow(
    operator: httpx.Client, wrong: dict[str, object], status: int, words: str
) -> None:
    response = operator.put("/admin/shadow", json=SHADOW | wrong)
    assert (response.status_code, words in response.json()["error"]) == (status, True)
    assert operator.get("/admin/shadow").json()["active"] is False


@pytest.mark.parametrize("missing", SHADOW)
def test_shadow_without(operator: httpx.Client, missing: str) -> None:
    body = {name: value for name, value in SHADOW.items() if name != missing}
    response = operator.put("/admin/shadow", json=body)
    assert response.status_code == 400
    assert missing in response.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"share": NaN}'])
def test_shadow_of_no_json(operator: httpx.Client, body: bytes) -> None:
    assert operator.put("/admin/shadow", content=body).status_code == 400
    assert operator.get("/admin/shadow").json()["active"] is False


def test_shadow_has_three_methods(operator: httpx.Client) -> None:
    response = operator.post("/admin/shadow", json=SHADOW)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, PUT, DELETE")
    assert operator.get("/admin/shadow").json()["active"] is False


# The port of the pod itself


def test_admin_port_listens_on_the_pod_only(with_port: Served) -> None:
    socket.create_connection(("127.0.0.2", with_port.http_port), timeout=5.0).close()
    socket.create_connection(("127.0.0.1", with_port.admin_port), timeout=5.0).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", with_port.admin_port), timeout=5.0)


def test_admin_port_needs_no_token_unless_one_is_set(with_port: Served) -> None:
    with (
        httpx.Client(base_url=with_port.admin_url) as pod,
        httpx.Client(base_url=with_port.url) as client,
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
    assert httpx.request(method, with_port.url + path, headers=BEARER).status_code == 404
    with httpx.Client(base_url=with_port.url) as client:
        assert default_version(client) == "2"


def test_cache_flush(with_port: Served) -> None:
    with (
        httpx.Client(base_url=with_port.admin_url) as pod,
        httpx.Client(base_url=with_port.url) as client,
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
    response = httpx.request(method, with_port.admin_url + path, content=body)
    assert response.status_code == 404


def test_token_is_in_no_log_line(with_token: Served, operator: httpx.Client) -> None:
    operator.post("/v2/repository/index")
    httpx.post(f"{with_token.url}/v2/repository/index", headers={"x-api-key": "guess-" + TOKEN})
    assert with_token.lines
    assert TOKEN not in "\n".join(with_token.lines)
    assert TOKEN not in operator.get("/metrics").text
