"""Before any key: headers, connections, clocks, pipelines, upgrades, and messages over gRPC.

Each of these ended the server, or its memory, or stayed for ever, before the transport had limits.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import httpx
import pytest

from predictor.kserve_sdk import messages, services
from tests.attack import http2
from tests.attack.conftest import DESCRIPTORS, KEY
from tests.attack.kubelet import Kubelet
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import infer_message
from tests.integration.faults.troubled import client_of, count
from tests.serving import Server

pytestmark = pytest.mark.slow

MIB = 1 << 20
AUTHORIZED = {"authorization": f"Bearer {KEY}"}
CALL_KEY = [("x-api-key", KEY)]
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.http_port), timeout=DEADLINE_S)


def memory_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def refusals(server: Server, transport: str, reason: str) -> float:
    with client_of(server) as client:
        return count(
            client, "predictor_transport_refusals_total", transport=transport, reason=reason
        )


def answers_of(client: socket.socket) -> bytes:
    """All that comes until the end of the connection."""
    received = b""
    with suppress(ConnectionError):
        while data := client.recv(1 << 16):
            received += data
    return received


@pytest.fixture(autouse=True)
def good_afterwards(pod: Server) -> Iterator[None]:
    """The pod is probed during each attack; after it REST and gRPC answer, in bounded memory."""
    embed = {"model": MODEL, "input": "hello"}
    warm = httpx.post(
        f"{pod.url}/v1/embeddings", json=embed, headers=AUTHORIZED, timeout=DEADLINE_S
    )
    before = memory_mb(pod)
    with Kubelet(pod) as kubelet:
        yield
    assert kubelet.verdicts == []
    assert pod.process.poll() is None
    assert memory_mb(pod) - before < 64
    after = httpx.post(
        f"{pod.url}/v1/embeddings", json=embed, headers=AUTHORIZED, timeout=DEADLINE_S
    )
    assert after.json()["data"] == warm.json()["data"]
    with grpc.insecure_channel(pod.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        message = infer_message("hello")
        assert stub.ModelInfer(message, timeout=DEADLINE_S, metadata=CALL_KEY).outputs


def test_headers_without_end(pod: Server) -> None:
    before = refusals(pod, "http", "header_bytes")
    with connect(pod) as client:
        client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx: ")
        sent = 0
        with suppress(ConnectionError):
            for _ in range(24):
                client.sendall(b"y" * MIB)
                sent += 1
        assert answers_of(client).startswith(b"HTTP/1.1 431 ")
    assert refusals(pod, "http", "header_bytes") == before + 1


def test_many_headers_and_a_long_line(pod: Server) -> None:
    with connect(pod) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n" + b"a:b\r\n" * 20_000)
        assert answers_of(client).startswith(b"HTTP/1.1 431 ")
    with connect(pod) as client:
        client.sendall(b"GET /" + b"a" * 100_000)
        assert answers_of(client).startswith(b"HTTP/1.1 414 ")


def test_requests_that_do_not_end(pod: Server) -> None:
    """Each of them is closed by its own clock; before, all of them stayed for ever."""
    halves = {
        "first_byte": b"",
        "header_time": b"POST /v1/emb",
        "body_time": b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx-api-key: %b\r\n"
        b"content-length: 100\r\n\r\n{" % KEY.encode(),
    }
    before = {reason: refusals(pod, "http", reason) for reason in halves}
    with ExitStack() as stack:
        clients = []
        for half in (*halves.values(), halves["body_time"].replace(
            b"content-length: 100", b"transfer-encoding: chunked"
        ).replace(b"{", b"1\r\n{\r\n")):  # fmt: skip
            clients.append(stack.enter_context(connect(pod)))
            clients[-1].sendall(half)
        for client in clients:
            assert answers_of(client) == b""
    for reason, refused in before.items():
        assert refusals(pod, "http", reason) > refused


def test_a_pipeline_that_is_not_read(pod: Server) -> None:
    """20 MB of small requests on each of three connections; one of them ended the pod."""
    with ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(connect(pod))
            client.setblocking(False)
            sent = 0
            end = time.monotonic() + 3
            while sent < 20 * MIB and time.monotonic() < end:
                try:
                    sent += client.send(LIVE * 500)
                except BlockingIOError:
                    time.sleep(0.01)
            assert sent < 20 * MIB  # the server has stopped reading


def test_silent_connections_over_the_limit_of_descriptors(pod: Server) -> None:
    before = refusals(pod, "http", "replaced")
    with ExitStack() as stack:
        for _ in range(2 * DESCRIPTORS):
            stack.enter_context(connect(pod))
        response = httpx.get(f"{pod.url}/v2/health/ready", timeout=DEADLINE_S)
        assert response.status_code == 200
        assert refusals(pod, "http", "replaced") > before
        assert len(os.listdir(f"/proc/{pod.process.pid}/fd")) < DESCRIPTORS


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_an_offer_to_upgrade_smuggles_no_request(pod: Server, offer: str) -> None:
    inner = (
        f"POST /embed HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 14\r\n\r\n"
        '{"inputs":"a"}'
    )
    content = json.dumps({"model": MODEL, "input": inner}).encode()
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nupgrade: {offer}\r\n"
        f"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    ).encode()
    with connect(pod) as client:
        client.sendall(head)
        time.sleep(0.1)  # so that the body comes as data of its own
        client.sendall(content + head.replace(b"HTTP2-Settings\r", b"close\r") + content)
        received = answers_of(client)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.count(b"HTTP/1.1 ") == 2


def empty_inputs(size: int) -> bytes:
    """A ModelInferRequest of empty inputs, which take 40 times as much memory when parsed."""
    return b"\x2a\x00" * (size // 2)


def call(pod: Server, content: bytes, metadata: list[tuple[str, str]]) -> grpc.StatusCode:
    with grpc.insecure_channel(pod.grpc) as channel:
        method = channel.unary_unary(http2.INFER_PATH.decode())
        with pytest.raises(grpc.RpcError) as raised:
            method(content, timeout=DEADLINE_S, metadata=metadata)
    code: grpc.StatusCode = raised.value.code()
    return code


def test_a_message_is_not_parsed_before_the_key(pod: Server) -> None:
    content = empty_inputs(8 * MIB - 1024)
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: call(pod, content, []), range(8)))
    assert set(codes) == {grpc.StatusCode.UNAUTHENTICATED}


def test_a_message_of_many_fields_is_not_parsed(pod: Server) -> None:
    content = empty_inputs(8 * MIB - 1024)
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: call(pod, content, CALL_KEY), range(4)))
    assert set(codes) == {grpc.StatusCode.INVALID_ARGUMENT}


def test_a_malformed_message_is_the_clients_error(pod: Server) -> None:
    lines = len(pod.lines)
    for content in (b"\xff\xff\xff", b"\x2a\xff\xff\xff\x7f", b"\x0a\x02\xff\xfe"):
        assert call(pod, content, CALL_KEY) is grpc.StatusCode.INVALID_ARGUMENT
        assert call(pod, content, []) is grpc.StatusCode.UNAUTHENTICATED
    assert not [line for line in pod.lines[lines:] if "Traceback" in line or "exception" in line]


def test_messages_that_do_not_end(pod: Server) -> None:
    """Without a key no more is held than windows; with one, a clock ends the call."""
    before = refusals(pod, "grpc", "body_time")
    part = b"\0" * 60_000
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(http2.connect(pod.grpc_port))
            frames = [http2.settings()]
            for stream in range(1, 100, 2):
                frames.append(http2.headers(stream, http2.INFER_PATH))
                frames.append(http2.message(stream, part[:1000], announced=8 * MIB - 1))
            client.sendall(b"".join(frames))
        client = stack.enter_context(http2.connect(pod.grpc_port))
        key = (b"x-api-key", KEY.encode())
        client.sendall(
            http2.settings()
            + http2.headers(1, http2.INFER_PATH, key)
            + http2.message(1, part, announced=8 * MIB - 1)
        )
        end = time.monotonic() + DEADLINE_S
        while refusals(pod, "grpc", "body_time") == before and time.monotonic() < end:
            time.sleep(0.2)
    assert refusals(pod, "grpc", "body_time") == before + 1


def test_answers_over_grpc_that_are_not_read(pod: Server) -> None:
    """Streams with a window of nothing: the answers of one connection are bounded."""
    texts = infer_message(*["a"] * 256).SerializeToString()
    with grpc.insecure_channel(pod.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(
            messages.ModelInferRequest.FromString(texts), timeout=DEADLINE_S, metadata=CALL_KEY
        )
    before = refusals(pod, "grpc", "unread")
    key = (b"x-api-key", KEY.encode())
    with http2.connect(pod.grpc_port) as client:
        client.sendall(http2.settings(initial_window_size=0))
        for stream in range(1, 80, 2):  # within the window of the connection
            client.sendall(
                http2.headers(stream, http2.INFER_PATH, key) + http2.message(stream, texts)
            )
        end = time.monotonic() + DEADLINE_S
        while refusals(pod, "grpc", "unread") < before + 30 and time.monotonic() < end:
            time.sleep(0.1)
    assert refusals(pod, "grpc", "unread") >= before + 30
