"""Large bodies of many clients at once, which no bound of a single connection refuses."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.attack.conftest import KEY
from tests.attack.kubelet import Kubelet
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.integration.faults.troubled import client_of, count, wait_until
from tests.serving import Server

pytestmark = pytest.mark.slow

MIB = 1 << 20
BODY = 7 * MIB
CLIENTS = 80
HEAD = (
    f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {BODY}\r\n\r\n"
).encode()


def memory(server: Server, name: str) -> int:
    """Bytes, now (VmRSS) or at most so far (VmHWM)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) << 10


def embed(server: Server) -> int:
    response = httpx.post(
        f"{server.url}/v1/embeddings",
        json={"model": MODEL, "input": "hello"},
        headers={"x-api-key": KEY},
        timeout=DEADLINE_S,
    )
    return response.status_code


def body_without_end(server: Server, stack: ExitStack) -> None:
    client = stack.enter_context(
        socket.create_connection(("127.0.0.1", server.http_port), timeout=DEADLINE_S)
    )
    with suppress(OSError):
        client.sendall(HEAD + b"[" * (BODY - 1))


def test_bodies_without_end_take_a_share_and_small_requests_go_on(pod: Server) -> None:
    """560 MiB of bodies; before, all of them were held until their clocks ended them."""
    assert embed(pod) == 200
    Path(f"/proc/{pod.process.pid}/clear_refs").write_text("5")  # the peak begins anew
    before = memory(pod, "VmRSS")
    with client_of(pod) as client, ExitStack() as stack, Kubelet(pod) as kubelet:
        refused = count(client, "predictor_transport_refusals_total", reason="waiting")
        statuses = set()
        with ThreadPoolExecutor(8) as pool:
            sending = [pool.submit(body_without_end, pod, stack) for _ in range(CLIENTS)]
            while not all(each.done() for each in sending):
                statuses.add(embed(pod))
                time.sleep(0.01)
        assert statuses == {200}
        assert count(client, "predictor_transport_refusals_total", reason="waiting") > refused
        # The request for the metrics is in it, too.
        wait_until(lambda: count(client, "predictor_waiting_bytes", account="requests") < 4096)
    assert kubelet.verdicts == []
    limit = 32 * MIB
    assert memory(pod, "VmHWM") - before < 4 * limit
    assert pod.process.poll() is None


def whole_body(server: Server) -> int:
    """The status; 0: the connection was closed while the body was sent."""
    content = b'{"model": "minilm", "input": ["' + b"a" * (BODY - 40) + b'"]}'
    try:
        response = httpx.post(
            f"{server.url}/v1/embeddings",
            content=content,
            headers={"x-api-key": KEY},
            timeout=DEADLINE_S,
        )
    except httpx.TransportError:
        return 0
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return response.status_code


def test_whole_bodies_are_refused_with_the_time_to_try_again(pod: Server) -> None:
    Path(f"/proc/{pod.process.pid}/clear_refs").write_text("5")
    before = memory(pod, "VmRSS")
    with client_of(pod) as client, Kubelet(pod) as kubelet:
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: whole_body(pod), range(CLIENTS)))
        wait_until(lambda: not count(client, "predictor_waiting_bytes", account="texts"))
    assert kubelet.verdicts == []
    assert set(statuses) <= {0, 400, 429, 503}  # 400: the text is too long
    assert statuses.count(400) >= 1
    assert memory(pod, "VmHWM") - before < 256 * MIB
    assert embed(pod) == 200
