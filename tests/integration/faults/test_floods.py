"""More than there is room for, and the window for those who want bigger batches."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import grpc
import httpx
import numpy as np
import pytest

from predictor.kserve_sdk import messages, services
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import infer_message
from tests.integration.faults.troubled import (
    FLOOD_ROWS,
    LONG_TEXT,
    client_of,
    count,
    flooded,
    running,
)
from tests.serving import Server, model_flags

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    """A server with a queue of 2000 tokens."""
    del bundle_dir
    with running(*model_flags(model_dir, cache_dir), "--max-queue-tokens=2000") as server:
        yield server


def test_overload_refuses_some_and_answers_the_others_right(small: Server, server: Server) -> None:
    rows = 10
    requests = [[f"request {n} row {row} " * 8 for row in range(rows)] for n in range(48)]

    def ask(texts: list[str]) -> httpx.Response:
        with client_of(small) as client:
            return client.post("/embed", json={"inputs": texts})

    with client_of(small) as client, client_of(server) as calm:
        embedded = count(client, "predictor_inputs_total")
        full = count(client, "predictor_rejected_total", reason="queue_full")
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, requests))
        accepted = [n for n, answer in enumerate(answers) if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert accepted
        assert refused
        for answer in refused:
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error_type"] == "Overloaded"
            assert "the limit is 2000" in answer.json()["error"]
        for n in accepted[:5]:
            expected = calm.post("/embed", json={"inputs": requests[n]}).json()
            np.testing.assert_allclose(answers[n].json(), expected, atol=1e-4)
        rejected = count(client, "predictor_rejected_total", reason="queue_full") - full
        assert rejected == len(refused)
        assert count(client, "predictor_inputs_total") - embedded == rows * len(accepted)


def test_a_request_is_admitted_whole_or_not_at_all(small: Server) -> None:
    with client_of(small) as client, grpc.insecure_channel(small.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        with flooded(small, client):
            # The flood leaves half of its lane free. Some of these rows would find room, not all.
            ingest = count(client, "predictor_inputs_total", lane="ingest")
            texts = ["hello", *[LONG_TEXT] * 5]
            headers = {"x-priority": "ingest"}
            response = client.post("/embed", json={"inputs": texts}, headers=headers)
            with pytest.raises(grpc.RpcError) as raised:
                stub.ModelInfer(
                    infer_message(*texts), timeout=DEADLINE_S, metadata=list(headers.items())
                )
            flood = count(client, "predictor_queue_rows")
            computed = count(client, "predictor_inputs_total", lane="ingest") - ingest
            assert computed + flood <= FLOOD_ROWS
    assert response.status_code == 429
    assert response.json()["error"].startswith("the queue holds ")
    assert response.json()["error"].endswith(" this request has 1263; the limit is 2000")
    call = cast(grpc.Call, raised.value)
    assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(call.trailing_metadata() or ())["retry-after"]) >= 1


def test_queries_are_answered_beside_ingest_that_is_larger_than_the_queue(small: Server) -> None:
    with client_of(small) as client, flooded(small, client):
        for _ in range(20):
            assert client.post("/embed", json={"inputs": "hello"}).status_code == 200
        assert count(client, "predictor_queue_rows") > 0


def test_too_many_requests_at_once(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> None:
    del bundle_dir
    flags = [*model_flags(model_dir, cache_dir), "--max-concurrent-requests=1"]
    with running(*flags) as server, client_of(server) as client:
        with flooded(server, client):
            response = client.post("/v1/embeddings", json={"model": MODEL, "input": "hello"})
        assert count(client, "predictor_rejected_total", reason="too_many_requests") == 1
    assert response.status_code == 429
    assert response.json()["error"]["message"] == "2 requests at once; the limit is 1"
    assert response.json()["error"]["type"] == "rate_limit_error"
    assert int(response.headers["retry-after"]) >= 1


def _mean_batch(client: httpx.Client) -> float:
    return count(client, "predictor_batch_rows_sum") / count(client, "predictor_batch_rows_count")


def _burst(server: Server, rounds: int) -> None:
    """32 requests of one text at once, several times."""
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        stub.ServerReady(messages.ServerReadyRequest(), timeout=DEADLINE_S)
        message = infer_message("hello")
        for _ in range(rounds):
            calls = [stub.ModelInfer.future(message, timeout=DEADLINE_S) for _ in range(32)]
            for call in calls:
                call.result()


@pytest.fixture
def null_flags(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> list[str]:
    del bundle_dir
    return [*model_flags(model_dir, cache_dir), "--null-engine", "--max-batch-rows=32"]


def test_the_window_makes_batches_bigger(null_flags: list[str]) -> None:
    means = {}
    for delay_ms in (0, 10):
        flags = [*null_flags, f"--max-queue-delay-ms={delay_ms}"]
        with running(*flags) as server, client_of(server) as client:
            _burst(server, rounds=10)
            means[delay_ms] = _mean_batch(client)
            assert count(client, "predictor_batch_rows_bucket", le="32.0") == count(
                client, "predictor_batch_rows_count"
            )
    assert means[10] > means[0]


def test_a_full_batch_does_not_wait_for_the_window(null_flags: list[str]) -> None:
    window_ms = int(3 * DEADLINE_S * 1000)  # no call waits that long
    with running(*null_flags, f"--max-queue-delay-ms={window_ms}") as server:
        _burst(server, rounds=2)
        with client_of(server) as client:
            assert count(client, "predictor_batch_rows_count") == 2
            assert count(client, "predictor_batch_rows_sum") == 64
