"""The server that is attacked, and what the programs that attack it share."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass

from tests.deadlines import DEADLINE_S
from tests.serving import Server

MIB = 1 << 20


@dataclass(frozen=True)
class Target:
    """Where a server listens, and the key of a client of it."""

    http_port: int
    grpc_port: int
    key: str = ""
    model: str = "minilm"
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends with its requests."""
        return {"x-api-key": self.key} if self.key else {}

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """The same for calls."""
        return list(self.headers.items())

    def connect(self) -> socket.socket:
        """A connection to the HTTP port."""
        return socket.create_connection((self.host, self.http_port), timeout=DEADLINE_S)

    def head(self, path: str, size: int) -> bytes:
        """The head of a POST whose body has so many bytes."""
        lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {size}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def embed_body(self, *texts: str) -> bytes:
        """The body of a request of OpenAI's protocol."""
        return json.dumps({"model": self.model, "input": texts}).encode()


def target_of(server: Server, key: str = "") -> Target:
    """A server that a test has started."""
    return Target(server.http_port, server.grpc_port, key)


def send(client: socket.socket, data: bytes) -> None:
    """Send what the server takes; it may close the connection at any time."""
    with suppress(OSError):
        client.sendall(data)


def read_all(client: socket.socket) -> bytes:
    """All that comes until the end of the connection."""
    received = b""
    with suppress(OSError):
        while data := client.recv(1 << 16):
            received += data
    return received
