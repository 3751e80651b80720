"""SIGTERM under load: at once unready, and nothing that was accepted is lost."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from predictor.kserve_sdk import messages, services
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import infer_message
from tests.integration.faults.troubled import (
    LONG_TEXT,
    client_of,
    code_of,
    count,
    wait_until,
)
from tests.serving import Server, model_flags

pytestmark = pytest.mark.slow

# Between two requests of one client of the load, so that the server gets some of the CPU, seconds.
PAUSE_S = 0.02


@dataclass
class Exchange:
    """One request of the load: when it was sent, what came back (None: no answer)."""

    sent: float
    response: httpx.Response | None


class Load:
    """Eight clients that ask until told to stop or until nobody is there to ask."""

    def __init__(self, server: Server) -> None:
        self.exchanges: list[Exchange] = []
        self._server = server
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._clients = [self._pool.submit(self._ask) for _ in range(8)]

    def _ask(self) -> None:
        with client_of(self._server) as client:
            while not self._stop.is_set():
                sent = time.monotonic()
                try:
                    response = client.post("/embed", json={"inputs": "hello world"})
                except httpx.TransportError:
                    self.exchanges.append(Exchange(sent, None))
                    return
                self.exchanges.append(Exchange(sent, response))
                self._stop.wait(PAUSE_S)

    def end(self) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()


@dataclass
class Drained:
    """What was seen of a server that was terminated under load."""

    server: Server
    code: int
    terminated: float
    ready: httpx.Response
    alive: httpx.Response
    refused: httpx.Response
    refused_grpc: grpc.StatusCode
    ready_grpc: bool
    accepted: httpx.Response
    accepted_grpc: Any
    exchanges: list[Exchange]


@pytest.fixture(scope="module")
def drained(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Drained:
    """Accepted when SIGTERM comes: more work than fits into the drain delay of a second."""
    del bundle_dir
    flags = model_flags(model_dir, cache_dir)
    server = Server(*flags, "--drain-delay-s=1", "--grace-period-s=90")
    load = Load(server)
    try:
        with (
            client_of(server) as client,
            ThreadPoolExecutor(1) as pool,
            grpc.insecure_channel(server.grpc) as channel,
        ):
            stub = services.GRPCInferenceServiceStub(channel)
            accepted = pool.submit(client.post, "/embed", json={"inputs": [LONG_TEXT] * 60})
            accepted_grpc = stub.ModelInfer.future(
                infer_message(*[LONG_TEXT] * 10), timeout=DEADLINE_S
            )
            wait_until(lambda: count(client, "predictor_queue_rows") > 30)
            wait_until(lambda: len(load.exchanges) > 20)
            terminated = time.monotonic()
            server.terminate()
            server.wait_for_log("draining")
            return Drained(
                ready=client.get("/v2/health/ready"),
                alive=client.get("/v2/health/live"),
                refused=client.post("/embed", json={"inputs": "hello"}),
                refused_grpc=code_of(stub, infer_message("hello")),
                ready_grpc=stub.ServerReady(
                    messages.ServerReadyRequest(), timeout=DEADLINE_S
                ).ready,
                accepted=accepted.result(timeout=DEADLINE_S),
                accepted_grpc=accepted_grpc.result(timeout=DEADLINE_S),
                code=server.stop(),
                server=server,
                terminated=terminated,
                exchanges=load.exchanges,
            )
    finally:
        server.stop()
        load.end()


def test_sigterm_makes_unready_at_once(drained: Drained) -> None:
    assert drained.ready.status_code == 503
    assert drained.ready.json() == {"ready": False, "unavailable": []}
    assert int(drained.ready.headers["retry-after"]) >= 1
    assert drained.ready_grpc is False
    assert drained.alive.status_code == 200


def test_new_requests_are_refused_after_sigterm(drained: Drained) -> None:
    refused = drained.refused
    assert refused.status_code == 503
    assert refused.headers["connection"] == "close"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json() == {"error": "the server is shutting down", "error_type": "Unhealthy"}
    assert drained.refused_grpc is grpc.StatusCode.UNAVAILABLE


def test_accepted_requests_finish_after_sigterm(drained: Drained) -> None:
    assert drained.accepted.status_code == 200
    assert len(drained.accepted.json()) == 60
    assert list(drained.accepted_grpc.outputs[0].shape) == [10, 384]


def test_nobody_goes_without_an_answer_before_the_listener_closes(drained: Drained) -> None:
    answers = [e.response for e in drained.exchanges if e.response is not None]
    assert {answer.status_code for answer in answers} == {200, 503}
    closing = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.headers["connection"] == "close" for answer in closing)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in closing)
    unanswered = [e.sent - drained.terminated for e in drained.exchanges if e.response is None]
    assert all(after > 0.8 for after in unanswered)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_the_listeners_are_closed_at_the_end(drained: Drained, kind: str) -> None:
    port = drained.server.http_port if kind == "http" else drained.server.grpc_port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()


def test_the_process_ends_well_after_sigterm(drained: Drained) -> None:
    assert drained.code == 0
    levels = {event["level"] for event in drained.server.events}
    assert levels <= {"info", "warning"}
    assert [e["message"] for e in drained.server.events][-1] == "stopped"
