"""The programs that attack a server: each sends what once stopped it, or took all of its memory.

Each ends by itself after some seconds. Tests run them against a server in a memory cgroup,
`hack/attack.sh` beside a client that behaves well, and `hack/soak.sh` again and again.
"""

import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import grpc
import httpx

from tests.attack import http2
from tests.attack.target import MIB, Target, read_all, send
from tests.integration.bad_input.asking import infer_message

LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
BODY_BYTES = 7 * MIB
# Seconds for which programs hold what they have opened.
HOLD_S = 3.0
TIMEOUT_S = 60.0


def headers_without_end(target: Target) -> None:
    """24 MiB of one header, and 20 000 headers."""
    for part, count in ((b"y" * MIB, 24), (b"a:b\r\n" * 20_000, 4)):
        with target.connect() as client:
            send(client, b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx: a\r\nx: ")
            for _ in range(count):
                send(client, part)
            read_all(client)


def requests_without_end(target: Target) -> None:
    """100 connections that stop before, in and after their headers."""
    halves = (b"", b"POST /v1/emb", target.head("/v1/embeddings", 100) + b"{")
    with ExitStack() as stack:
        for number in range(100):
            send(stack.enter_context(target.connect()), halves[number % len(halves)])
        time.sleep(HOLD_S)


def pipelines_not_read(target: Target) -> None:
    """20 MB of small requests on each of three connections, whose answers nobody reads."""
    with ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(3)]
        end = time.monotonic() + HOLD_S
        for client in clients:
            client.setblocking(False)
        while time.monotonic() < end:
            for client in clients:
                with suppress(OSError):
                    client.send(LIVE * 500)
            time.sleep(0.001)


def silent_connections(target: Target) -> None:
    """400 connections that send nothing."""
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(target.connect())
        time.sleep(HOLD_S)


def bodies_without_end(target: Target) -> None:
    """80 bodies of 7 MiB, of which the last byte is missing."""
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        clients = [stack.enter_context(target.connect()) for _ in range(80)]
        data = target.head("/v1/embeddings", BODY_BYTES) + b"[" * (BODY_BYTES - 1)
        list(pool.map(lambda client: send(client, data), clients))
        time.sleep(HOLD_S)


def whole_bodies(target: Target) -> None:
    """40 bodies of 7 MiB of texts, 16 at once."""
    texts = [f"{number} " + "word " * 2500 for number in range(BODY_BYTES // 12_600)]
    content = target.embed_body(*texts)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: _post(target, "/v1/embeddings", content, timeout_s=5.0), range(40)))


def answers_not_read(target: Target) -> None:
    """40 answers of 9 MB, whose clients read nothing."""
    content = target.embed_body(*["a"] * 2048)
    with ExitStack() as stack:
        for _ in range(40):
            client = socket.socket()
            stack.enter_context(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(TIMEOUT_S)
            client.connect((target.host, target.http_port))
            send(client, target.head("/v1/embeddings", len(content)) + content)
        time.sleep(HOLD_S)


def long_texts(target: Target) -> None:
    """Texts of 2 and 4 MB, to embed and to tokenise."""
    for path, text in (("/v1/embeddings", "!" * 2_000_000), ("/v1/embeddings", "a " * 2_000_000)):
        _post(target, path, target.embed_body(text))
    _post(target, "/tokenize", b'{"inputs": "%b"}' % (b"a " * 2_000_000))
    _post(target, "/decode", b'{"ids": [%b1]}' % (b"7," * 2_000_000))


def many_types(target: Target) -> None:
    """A list of 14 000 names beside one of 2048 texts."""
    types = b",".join([b'"base64"'] * 14_000)
    texts = b",".join([b'"a"'] * 2048)
    body = b'{"model": "%b", "texts": [%b], "embedding_types": [%b]}'
    _post(target, "/v2/embed", body % (target.model.encode(), texts, types))


def malformed_requests(target: Target) -> None:
    """2000 connections that send nonsense."""
    for _ in range(2000):
        with suppress(OSError), target.connect() as client:
            client.sendall(b"nonsense\r\n\r\n")
            client.recv(100)


def clients_that_leave(target: Target) -> None:
    """200 requests whose clients close the connection after the body."""
    content = target.embed_body(*[f"leaving {time.monotonic_ns()} {n}" for n in range(16)])
    for _ in range(200):
        with suppress(OSError), target.connect() as client:
            client.sendall(target.head("/v1/embeddings", len(content)) + content)


def messages_of_empty_inputs(target: Target) -> None:
    """16 gRPC messages of 8 MiB that would take 40 times as much when parsed."""
    content = b"\x2a\x00" * (4 * MIB - 512)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: _call(target, content, is_known=n % 2 == 0), range(16)))


def malformed_messages(target: Target) -> None:
    """300 gRPC messages that are no protobuf."""
    for number in range(100):
        for content in (b"\xff\xff\xff", b"\x2a\xff\xff\xff\x7f", b"\x0a\x02\xff\xfe"):
            _call(target, content, is_known=number % 2 == 0)


def messages_without_end(target: Target) -> None:
    """400 calls, each with 1 kB of 8 MiB."""
    with ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(http2.connect(target.grpc_port))
            frames = [http2.settings()]
            for stream in range(1, 100, 2):
                frames.append(http2.headers(stream, http2.INFER_PATH, *_key(target)))
                frames.append(http2.message(stream, bytes(1000), announced=8 * MIB - 1))
            send(client, b"".join(frames))
        time.sleep(HOLD_S)


def calls_not_read(target: Target) -> None:
    """40 answers over gRPC, whose client has a window of nothing."""
    texts = infer_message(*["a"] * 256).SerializeToString()
    with http2.connect(target.grpc_port) as client:
        send(client, http2.settings(initial_window_size=0))
        for stream in range(1, 80, 2):
            head = http2.headers(stream, http2.INFER_PATH, *_key(target))
            send(client, head + http2.message(stream, texts))
        time.sleep(HOLD_S)


def calls_reset(target: Target) -> None:
    """Calls that are reset as soon as they begin, for some seconds on two connections."""
    with ExitStack() as stack:
        clients = [stack.enter_context(http2.connect(target.grpc_port)) for _ in range(2)]
        for client in clients:
            client.settimeout(1.0)
            send(client, http2.settings())
        stream = 1
        end = time.monotonic() + HOLD_S
        while time.monotonic() < end:
            frames = []
            for _ in range(100):
                frames.append(http2.headers(stream, http2.INFER_PATH))
                frames.append(http2.reset(stream))
                stream += 2
            for client in clients:
                send(client, b"".join(frames))


def path_not_utf_8(target: Target) -> None:
    """A path that ends grpcio's server, twice."""
    for _ in range(2):
        with suppress(OSError), http2.connect(target.grpc_port) as client:
            frames = http2.headers(1, b"/inference.GRPCInferenceService/\xff")
            client.sendall(http2.settings() + frames + http2.message(1, b""))
            read_all(client)


def _post(target: Target, path: str, content: bytes, *, timeout_s: float = TIMEOUT_S) -> None:
    with suppress(httpx.HTTPError):
        httpx.post(target.url + path, content=content, headers=target.headers, timeout=timeout_s)


def _call(target: Target, content: bytes, *, is_known: bool) -> None:
    with grpc.insecure_channel(f"{target.host}:{target.grpc_port}") as channel:
        method = channel.unary_unary(http2.INFER_PATH.decode())
        with suppress(grpc.RpcError):
            method(content, timeout=TIMEOUT_S, metadata=target.metadata if is_known else [])


def _key(target: Target) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in target.metadata]


_PROGRAMS = (
    headers_without_end,
    requests_without_end,
    pipelines_not_read,
    silent_connections,
    bodies_without_end,
    whole_bodies,
    answers_not_read,
    long_texts,
    many_types,
    malformed_requests,
    clients_that_leave,
    messages_of_empty_inputs,
    malformed_messages,
    messages_without_end,
    calls_not_read,
    calls_reset,
    path_not_utf_8,
)
PROGRAMS: Mapping[str, Callable[[Target], None]] = {
    program.__name__: program for program in _PROGRAMS
}
# Those after which calls that others have in progress may have failed.
ENDS_CALLS = frozenset({"path_not_utf_8"})
