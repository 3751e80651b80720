"""Clients that leave, and deadlines that pass."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from predictor.kserve_sdk import services
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import infer_message
from tests.integration.faults.troubled import (
    FLOOD_ROWS,
    LONG_TEXT,
    client_of,
    code_of,
    count,
    flooded,
    running,
    wait_until,
)
from tests.serving import Server, model_flags


def test_a_client_that_leaves_takes_its_rows_along(server: Server, http: httpx.Client) -> None:
    labels = {"protocol": "tei", "code": "499"}
    left = count(http, "predictor_requests_total", **labels)
    rejected = count(http, "predictor_rejected_total", reason="client_gone")
    embedded = count(http, "predictor_inputs_total", lane="ingest")
    with flooded(server, http):
        pass
    wait_until(lambda: count(http, "predictor_requests_total", **labels) == left + 1)
    assert count(http, "predictor_rejected_total", reason="client_gone") == rejected + 1
    assert count(http, "predictor_queue_rows") == 0
    assert count(http, "predictor_inputs_total", lane="ingest") - embedded < FLOOD_ROWS - 50
    assert http.post("/embed", json={"inputs": "hello"}).status_code == 200


def test_a_cancelled_grpc_call_takes_its_rows_along(server: Server, http: httpx.Client) -> None:
    labels = {"protocol": "v2_grpc", "code": "499"}
    embedded = count(http, "predictor_inputs_total", lane="ingest")
    left = count(http, "predictor_requests_total", **labels)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(infer_message(*[LONG_TEXT] * FLOOD_ROWS))
        wait_until(lambda: count(http, "predictor_queue_rows") > 100)
        call.cancel()
        wait_until(lambda: count(http, "predictor_queue_tokens") == 0)
    wait_until(lambda: count(http, "predictor_requests_total", **labels) == left + 1)
    assert count(http, "predictor_inputs_total", lane="ingest") - embedded < FLOOD_ROWS - 50


def test_a_client_that_leaves_while_it_sends(server: Server, http: httpx.Client) -> None:
    logged = len(server.events)
    for _ in range(3):
        with socket.create_connection(
            ("127.0.0.1", server.http_port), timeout=DEADLINE_S
        ) as connection:
            connection.sendall(b"POST /embed HTTP/1.1\r\nhost: test\r\ncontent-length: 99\r\n\r\n{")
    assert http.post("/embed", json={"inputs": "hello"}).status_code == 200
    assert not server.events[logged:]


def test_a_request_that_waits_too_long(server: Server, http: httpx.Client) -> None:
    """Behind the flood, in its lane, where a query would be let through."""
    body = {
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hello"]}],
        "parameters": {"timeout_ms": 150, "priority": "ingest"},
    }
    message = infer_message("hello")
    message.parameters["timeout"].int64_param = 150_000
    late = count(http, "predictor_rejected_total", reason="deadline")
    with flooded(server, http), grpc.insecure_channel(server.grpc) as channel:
        began = time.monotonic()
        response = http.post(f"/v2/models/{MODEL}/infer", json=body)
        waited = time.monotonic() - began
        assert count(http, "predictor_queue_rows") > 0, "refused before its turn"
        stub = services.GRPCInferenceServiceStub(channel)
        code = code_of(stub, message, metadata=[("x-priority", "ingest")])
    assert response.status_code == 504
    assert response.json()["error"].startswith("not computed within ")
    assert waited >= 0.15
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert count(http, "predictor_rejected_total", reason="deadline") == late + 2


@pytest.fixture(scope="module")
def hurried(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    """A server whose own deadline is so short that no large request meets it."""
    del bundle_dir
    with running(*model_flags(model_dir, cache_dir), "--request-timeout-ms=20") as server:
        yield server


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/v1/models/{MODEL}:predict", {"instances": [LONG_TEXT] * 100}),
        ("/v1/embeddings", {"model": MODEL, "input": [LONG_TEXT] * 100}),
        ("/embed", {"inputs": [LONG_TEXT] * 100}),
        ("/v2/embed", {"model": MODEL, "texts": [LONG_TEXT] * 100}),
    ],
    ids=["v1", "openai", "tei", "cohere"],
)
def test_the_servers_own_deadline(hurried: Server, path: str, body: dict[str, Any]) -> None:
    with client_of(hurried) as client:
        response = client.post(path, json=body)
        assert response.status_code == 504
        wait_until(lambda: count(client, "predictor_queue_tokens") == 0)
