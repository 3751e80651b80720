"""Ways in which common HTTP clients send one and the same request."""

import json
import shutil
import socket
import subprocess

import pytest

from tests.contract.helpers import MODEL, TEXTS, Reference, read_reference
from tests.deadlines import DEADLINE_S
from tests.serving import Server

BODY = json.dumps({"model": MODEL, "input": TEXTS, "encoding_format": "float"}).encode()
# What the HttpClient of JDK 17 sends: it offers HTTP/2 with every request that is not encrypted.
JDK_HEADERS = (
    "POST /v1/embeddings HTTP/1.1\r\n"
    "Connection: Upgrade, HTTP2-Settings\r\n"
    "Content-Length: {length}\r\n"
    "Host: {host}\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    "Upgrade: h2c\r\n"
    "User-Agent: Java-http-client/17.0.15\r\n"
    "Content-Type: application/json\r\n"
    "\r\n"
)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return read_reference()


def check(reference: Reference, content: bytes) -> None:
    reference.check([item["embedding"] for item in json.loads(content)["data"]], TEXTS)


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer that has a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536) or pytest.fail(f"closed after {received!r}")
    head, _, content = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    while len(content) < int(headers["content-length"]):
        content += connection.recv(65536) or pytest.fail("closed within the body")
    return int(lines[0].split()[1]), content


def test_the_bytes_of_the_jdk(server: Server, reference: Reference) -> None:
    """The body comes in a packet of its own, and the connection is used again."""
    host = f"127.0.0.1:{server.http_port}"
    head = JDK_HEADERS.format(length=len(BODY), host=host).encode()
    address = ("127.0.0.1", server.http_port)
    with socket.create_connection(address, timeout=DEADLINE_S) as connection:
        for _ in range(2):
            connection.sendall(head)
            connection.sendall(BODY)
            status, content = read_answer(connection)
            assert status == 200
            check(reference, content)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--http2"],
        ["--http1.0"],
        ["--header", "Transfer-Encoding: chunked"],
        ["--header", "Expect: 100-continue"],
    ],
    ids=["plain", "http2", "http1.0", "chunked", "expect"],
)
def test_curl(server: Server, reference: Reference, options: list[str]) -> None:
    command = [
        "curl", "--silent", "--show-error", "--fail", "--max-time", str(int(DEADLINE_S)),
        "--header", "Content-Type: application/json", "--data-binary", "@-",
        f"{server.url}/v1/embeddings", *options,
    ]  # fmt: skip
    done = subprocess.run(command, input=BODY, capture_output=True, check=True)
    check(reference, done.stdout)
