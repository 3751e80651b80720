"""183 bytes without a key ended gRPC for good, and health said that the pod is ready."""

import grpc
import httpx
import pytest

from predictor.kserve_sdk import services
from tests.attack import http2
from tests.attack.conftest import KEY
from tests.attack.kubelet import Kubelet
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import infer_message
from tests.integration.faults.troubled import client_of, count, wait_until
from tests.serving import Server

pytestmark = pytest.mark.slow

RESTARTS = "predictor_listener_restarts_total"
PATH = b"/inference.GRPCInferenceService/\xff"


def answers(server: Server) -> bool:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        message = infer_message("hello")
        call = stub.ModelInfer(
            message, timeout=DEADLINE_S, metadata=[("x-api-key", KEY)], wait_for_ready=True
        )
    return bool(call.outputs)


def test_a_path_that_is_not_utf_8_ends_grpc_for_a_moment_only(pod: Server) -> None:
    attacks = 6
    with client_of(pod) as client, Kubelet(pod) as kubelet:
        assert answers(pod)
        for number in range(1, attacks + 1):
            with http2.connect(pod.grpc_port) as attacker:
                attacker.sendall(http2.settings() + http2.headers(1, PATH) + http2.message(1, b""))
                wait_until(lambda n=number: count(client, RESTARTS, listener="gRPC") >= n)  # type: ignore[misc]
        assert answers(pod)
        embed = {"model": MODEL, "input": "hello"}
        rest = httpx.post(
            f"{pod.url}/v1/embeddings",
            json=embed,
            headers={"x-api-key": KEY},
            timeout=DEADLINE_S,
        )
        assert rest.status_code == 200
        assert client.get("/v2/health/ready").json() == {"ready": True, "unavailable": []}
    assert kubelet.verdicts == []
    assert pod.process.poll() is None
    ended = [line for line in pod.events if "listener ended" in str(line.get("message"))]
    assert 1 <= len(ended) <= attacks
