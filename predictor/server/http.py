"""The REST side as a bare ASGI application in front of KServe's.

A framework's routing, dependencies and response classes cost more than the whole of an answer from
a small model (74 against 26 µs a request, measured without an engine), so the routes that this
server has are looked up in a dict. What is not there goes to KServe's own FastAPI application.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from predictor.access import credential
from predictor.errors import (
    BodyTooLarge,
    ClientGone,
    MalformedBody,
    MethodNotAllowed,
    PredictorError,
    RateLimited,
    Unauthorized,
)
from predictor.protocols.wire import JSON, Encoded
from predictor.server.status import http_status, retry_after
from predictor.types import Protocol

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
HeaderLines = tuple[tuple[bytes, bytes], ...]

# A request that takes longer than once or twice this is watched for its client going away, seconds.
# Shorter ones are not worth the task.
WATCH_AFTER_S = 0.025


class Request:
    """One HTTP request as ASGI gives it."""

    __slots__ = ("_headers", "_receive", "method", "path", "send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self.send = send

    def header(self, name: bytes) -> str | None:
        """A header by its name in lower case."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def credential(self) -> str | None:
        """The API key or token that came with it."""
        return credential(self.header(b"authorization"), self.header(b"x-api-key"))

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            BodyTooLarge: it is, or says it is, over `limit` bytes.
            ClientGone: the client left while sending.
        """
        announced = self.header(b"content-length") or ""
        if announced.isascii() and announced.isdigit() and int(announced) > limit:
            raise BodyTooLarge(f"the body has {announced} bytes; the limit is {limit}")
        if self.header(b"content-encoding") not in (None, "identity"):
            raise MalformedBody("compressed bodies are not supported; send it as it is")
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
            if not message.get("more_body"):
                return b"".join((*chunks, chunk)) if chunks else chunk
            chunks.append(chunk)

    async def respond(self, status: int, encoded: Encoded, headers: HeaderLines = ()) -> None:
        lines = [
            (b"content-type", encoded.content_type.encode()),
            (b"content-length", b"%d" % len(encoded.body)),
            *headers,
        ]
        for name, value in encoded.headers:
            lines.append((name.encode(), value.encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        await self.send({"type": "http.response.body", "body": encoded.body})

    async def gone(self) -> None:
        """Return when the client has left; to be called after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Watch:
    """Cancels a request's task when its client leaves, once the request has taken a while.

    Made by `Watches`. left: the client has.
    """

    __slots__ = ("_request", "_task", "_watcher", "left", "seen")

    def __init__(self, request: Request) -> None:
        self.left = self.seen = False
        self._request = request
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await self._request.gone()
        self.left = True
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()


class Watches:
    """Those of one event loop: one timer for all, for most requests end long before it."""

    def __init__(self) -> None:
        self._running: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, request: Request) -> Watch:
        """To be called in the request's task, and `end` at its end."""
        watch = Watch(request)
        self._running.add(watch)
        if self._timer is None:
            self._set_timer()
        return watch

    def end(self, watch: Watch) -> None:
        self._running.discard(watch)
        watch.end()

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._look)

    def _look(self) -> None:
        """Whoever was here at the look before has taken that long."""
        self._timer = None
        for watch in self._running:
            if watch.seen:
                watch.begin()
            watch.seen = True
        if self._running:
            self._set_timer()


async def refuse(
    request: Request,
    error: PredictorError,
    protocol: Protocol,
    body: bytes,
    *,
    request_id: str = "",
    closing: bool = False,
) -> None:
    """Answer with an error in the protocol's own shape."""
    headers: list[tuple[bytes, bytes]] = []
    if request_id:
        headers.append((b"x-request-id", request_id.encode()))
    if (seconds := retry_after(error)) is not None:
        headers.append((b"retry-after", seconds.encode()))
    if isinstance(error, RateLimited):
        headers += [(name.encode(), value.encode()) for name, value in error.headers]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    # The rest of a body that was not read would be taken for the next request.
    if closing or isinstance(error, (BodyTooLarge, Unauthorized)):
        headers.append((b"connection", b"close"))
    await request.respond(http_status(error, protocol), Encoded(body, JSON), tuple(headers))
