"""Servers whose admin routes are closed, or open to somebody."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx

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
UNLOAD = f"{MODELS}/minilm/unload"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Served(Server):
    """A server of that repository, where version 2 of minilm is the latest."""

    def __init__(self, repository: Path, *flags: str) -> None:
        self.admin_port = free_port()
        super().__init__(f"--model-dir={repository}", "--drain-delay-s=0", *flags)

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"


def default_version(client: httpx.Client) -> str:
    """The version that answers now. Raises HTTPStatusError if none does."""
    response = client.post("/v1/embeddings", json={"model": "minilm", "input": "hello"})
    response.raise_for_status()
    return str(response.json()["model_version"])


def index_of(client: httpx.Client) -> dict[str, dict[str, str]]:
    """The lines of the index by `name:version`."""
    entries = client.post("/v2/repository/index").json()
    assert all(set(entry) == {"name", "version", "state", "reason"} for entry in entries)
    return {f"{entry['name']}:{entry['version']}": entry for entry in entries}


def kserve_stub(channel: grpc.Channel, call: str) -> Callable[..., Any]:
    """`RepositoryModelLoad` or `-Unload` by KServe's proto: the name is in field 1."""
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services

    stub = getattr(services.GRPCInferenceServiceStub(channel), call)
    request = getattr(messages, f"{call}Request")

    def change(name: str, **metadata: str) -> Any:
        return stub(request(model_name=name), metadata=list(metadata.items()))

    return change
