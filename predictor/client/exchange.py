"""One HTTP exchange on urllib3, limited in time and size, and every way it fails as one sentence.

The only HTTP client of the house: the command line, shadows and the rollout controller use it.
Nothing is retried and no redirect is followed.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from predictor.errors import BadModel, BadSetting

# The deadline of a request and its response, in timeouts of a single wait. Without it a server
# that sends a byte now and then would hold its caller for ever.
WAITS_PER_EXCHANGE = 4
# What the socket and urllib3 raise.
FAILURES = (
    OSError,
    UnicodeError,
    http.client.HTTPException,
    urllib3.exceptions.HTTPError,
)


@dataclass(frozen=True)
class Address:
    """A server, and the path of one of its models."""

    # As the user gave it; errors begin with it.
    url: str
    secure: bool
    host: str
    port: int | None
    # Of the model; empty: not known yet, the only model that the server has.
    path: str = ""
    # Sent as a bearer token; empty: none.
    key: str = field(default="", repr=False)
    # What each wait may take; None: TIMEOUT_S.
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response, whatever its status."""

    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes


class Unreachable(BadSetting):
    """The server does not answer, at the moment or at all."""


def exchange(
    address: Address,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    most_bytes: int,
) -> HttpResponse:
    """One request and its response.

    Args:
        path: with its query; of `address` only scheme, host and port are used.
        timeout_s: for each wait; the whole exchange may take WAITS_PER_EXCHANGE of these.
        most_bytes: limit of the response's body.

    Raises:
        BadModel: the response is not HTTP, or too long.
        BadSetting: the certificate is not trusted; Unreachable: the server does not answer.
    """
    connection = _connection(address, timeout_s)
    deadline = _Deadline(WAITS_PER_EXCHANGE * timeout_s)
    try:
        connection.connect()
        deadline.start(connection.sock)
        connection.request(method, path, body, headers, preload_content=False)
        response = connection.getresponse()
        announced = response.length_remaining or 0
        content = b""
        if announced <= most_bytes:
            content = response.read(most_bytes + 1, decode_content=False)
            if len(content) < announced:
                raise http.client.IncompleteRead(content, announced - len(content))
    except FAILURES as error:
        if deadline.has_passed:
            raise Unreachable(deadline.sentence(address)) from error
        raise _failure(address, error, timeout_s) from error
    finally:
        deadline.cancel()
        connection.close()
    if deadline.has_passed:  # it cut off a body of unknown length, which is no error to urllib3
        raise Unreachable(deadline.sentence(address))
    if announced > most_bytes or len(content) > most_bytes:
        raise BadModel(f"{address.url}: answers more than {most_bytes >> 20} MiB")
    return HttpResponse(response.status, response.reason or "", response.headers, content)


def _connection(address: Address, timeout_s: float) -> HTTPConnection:
    if not address.secure:
        return HTTPConnection(address.host, address.port, timeout=timeout_s)
    context = ssl.create_default_context()
    return HTTPSConnection(address.host, address.port, timeout=timeout_s, ssl_context=context)


class _Deadline:
    """Shuts a socket down after some seconds, which wakes the thread that waits for it."""

    def __init__(self, seconds: float) -> None:
        self.has_passed = False
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def start(self, connected: socket.socket) -> None:
        self._timer = threading.Timer(self._seconds, self._pass, (connected,))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def sentence(self, address: Address) -> str:
        return f"{address.url}: no complete answer within {self._seconds:.3g} s"

    def _pass(self, connected: socket.socket) -> None:
        self.has_passed = True
        with contextlib.suppress(OSError):
            # Not the method of TLS sockets: that would take the session from under the reader.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _failure(address: Address, error: Exception, timeout_s: float) -> BadModel | BadSetting:
    """An error of the exchange as one sentence; urllib3 wraps what the socket raised."""
    cause = error.__cause__ if isinstance(error, urllib3.exceptions.HTTPError) else error
    if isinstance(cause, TimeoutError):
        return Unreachable(f"{address.url}: no answer within {timeout_s:.3g} s")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return BadSetting(f"{address.url}: {cause.verify_message}")
    if isinstance(cause, http.client.HTTPException) and not isinstance(cause, OSError):
        return BadModel(f"{address.url}: does not answer HTTP: {cause!r:.200}")
    # A host name may be invalid, which is neither an OSError nor has a cause.
    why = getattr(cause, "strerror", None) or str(cause or error)
    return Unreachable(f"{address.url}: cannot be reached ({why}): is it running?")
