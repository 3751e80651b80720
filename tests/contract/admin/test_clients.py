"""Triton's clients, and KServe's proto."""

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
    TOKEN,
    Served,
    default_version,
    kserve_stub,
)
from tests.contract.helpers import UNKNOWN


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
