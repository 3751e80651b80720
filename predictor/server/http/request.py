"""One HTTP request over bare ASGI, and its response.

A framework's routing, dependencies and response classes take longer than a small model takes for
its answer: 74 µs a request against 26 µs with bare ASGI, measured without an engine.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from predictor.access import credential
from predictor.errors import (
    BodyTooLarge,
    ClientGone,
    MethodNotAllowed,
    PredictorError,
    Unauthorized,
    UnsupportedEncoding,
)
from predictor.protocols.codec import JSON, Codec, Encoded
from predictor.protocols.wire import encode_json
from predictor.server.http.content_encoding import ENCODINGS, content_decoder
from predictor.server.status import retry_after

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
HeaderLines = tuple[tuple[bytes, bytes], ...]


class Request:
    """One HTTP request from ASGI."""

    __slots__ = ("_headers", "_receive", "method", "raw_path", "send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        # As it was sent, without the query.
        self.raw_path: str = scope["raw_path"].decode("latin-1")
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self.send = send

    def header(self, name: bytes) -> str | None:
        """Return a header by its name in lower case."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def credential(self) -> str | None:
        """The API key or token of the request."""
        return credential(
            self.header(b"authorization"), self.header(b"x-api-key"), self.header(b"api-key")
        )

    async def body(self, limit: int) -> bytes:
        """Read the whole body.

        Raises:
            BodyTooLarge: the body, or its Content-Length, is over `limit` bytes.
            UnsupportedEncoding: the body is compressed, and not with gzip.
            MalformedBody: it is not what gzip writes.
            ClientGone: the client disconnected before the end of the body.
        """
        announced = self.header(b"content-length") or ""
        if announced.isascii() and announced.isdigit() and int(announced) > limit:
            raise BodyTooLarge(f"the body has {announced} bytes; the limit is {limit}")
        encoding = self.header(b"content-encoding")
        unpacked = None if encoding is None else content_decoder(encoding, limit)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("the client went away")
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(f"the body has more than {limit} bytes, which is the limit")
            if unpacked is not None:
                chunk = unpacked.feed(chunk)
            if not message.get("more_body"):
                if unpacked is not None:
                    unpacked.finish()
                return b"".join((*chunks, chunk)) if chunks else chunk
            chunks.append(chunk)

    async def skip_small_body(self, limit: int) -> bool:
        """Read a body of at most `limit` bytes and drop it; False: it is larger or unknown.

        The connection can then be used for the next request.

        Raises:
            ClientGone: the client disconnected before the end of the body.
        """
        announced = self.header(b"content-length") or ""
        if not (announced.isascii() and announced.isdigit() and int(announced) <= limit):
            return False
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("the client went away")
            if not message.get("more_body"):
                return True

    async def respond(
        self, status: int, encoded: Encoded[bytes], headers: HeaderLines = ()
    ) -> None:
        lines = [
            (b"content-type", encoded.content_type.encode()),
            (b"content-length", b"%d" % len(encoded.body)),
            *headers,
        ]
        for name, value in encoded.headers:
            lines.append((name.encode(), value.encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        await self.send({"type": "http.response.body", "body": encoded.body})

    async def respond_json(self, content: object) -> None:
        """Send content as JSON with status 200."""
        await self.respond(200, Encoded(encode_json(content)))

    async def disconnected(self) -> None:
        """Return when the client has disconnected; call it after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def send_error(
    request: Request,
    error: PredictorError,
    codec: Codec[bytes],
    *,
    request_id: str = "",
    headers: HeaderLines = (),
    closing: bool = False,
) -> None:
    """Answer with an error in the protocol's own shape.

    Args:
        request_id: sent in a header, if there is one.
        headers: further headers.
        closing: close the connection, because the request's body was not read.
    """
    lines: list[tuple[bytes, bytes]] = [*headers]
    if request_id:
        lines.append((b"x-request-id", request_id.encode()))
    if (seconds := retry_after(error)) is not None:
        lines.append((b"retry-after", seconds.encode()))
    if isinstance(error, MethodNotAllowed):
        lines.append((b"allow", error.allowed.encode()))
    if isinstance(error, UnsupportedEncoding):
        lines.append((b"accept-encoding", ENCODINGS.encode()))
    if isinstance(error, Unauthorized):
        lines.append((b"www-authenticate", b"Bearer"))
    # If the body was not read completely, its rest would be taken for the next request.
    if closing or isinstance(error, (BodyTooLarge, Unauthorized, UnsupportedEncoding)):
        lines.append((b"connection", b"close"))
    body = Encoded(codec.encode_error(error, request_id), JSON)
    await request.respond(codec.status(error), body, tuple(lines))
