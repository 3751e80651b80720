"""An exchange ends in time however slowly a server sends, and says why in one sentence."""

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from predictor.client.exchange import Unreachable, exchange
from predictor.client.http import parse
from predictor.errors import BadSetting

TIMEOUT_S = 0.2
START = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket that takes one connection; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with listening.accept()[0] as connection:
                try:
                    serve(connection)
                except OSError:  # the client hung up
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def get(url: str) -> bytes:
    response = exchange(parse(url), "GET", "/", None, {}, timeout_s=TIMEOUT_S, most_bytes=1 << 20)
    return response.content


def self_signed(folder: Path) -> Path:
    """A file with a key and its own certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(
    "start",
    [
        START + b"x-slow: ",
        START + b"content-length: 1000\r\n\r\n",
        START + b"connection: close\r\n\r\n",
    ],
    ids=["headers", "body of known length", "body until the end"],
)
def test_a_server_that_drips_bytes_meets_the_deadline(start: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"a")
            time.sleep(TIMEOUT_S / 4)

    started = time.monotonic()
    with server(drip) as url, pytest.raises(Unreachable, match=r"no complete answer within 0\.8 s"):
        get(url)
    assert time.monotonic() - started < 20 * TIMEOUT_S


def test_a_redirect_is_an_answer() -> None:
    def redirect(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\nelsewhere")

    with server(redirect) as url:
        assert get(url) == b"elsewhere"


def test_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))

    def handshake(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True)

    with (
        server(handshake) as url,
        pytest.raises(BadSetting, match="self-signed certificate") as caught,
    ):
        get(url.replace("http://", "https://"))
    assert not isinstance(caught.value, Unreachable)
