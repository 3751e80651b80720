"""Load and unload, and what comes of them."""

from typing import Any

import httpx
import pytest
from tritonclient.utils import InferenceServerException

from tests.contract.admin.opened import (
    MODELS,
    Served,
    default_version,
    index_of,
)
from tests.contract.helpers import UNKNOWN


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
        assert not triton.is_model_ready("minilm")
        with pytest.raises(InferenceServerException, match="unloaded") as caught:
            triton.get_model_metadata("minilm")
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
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 60_000, 400),
        (b" " * (1 << 16) + b"{}", 413),
    ],
    ids=[
        "unknown", "misspelt", "a list", "no object", "no JSON", "no text", "deep", "large",
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
