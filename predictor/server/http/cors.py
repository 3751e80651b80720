"""Requests of browsers from other origins (CORS): off, unless the operator names the origins.

It wraps the application, so errors have the headers too and a server without the setting does not
pay for it. Admin routes are never open to another origin.
"""

import re
from collections.abc import Callable

from predictor.protocols.codec import Encoded
from predictor.server.http.request import AsgiApp, Message, Receive, Request, Scope, Send

ANY = "*"
METHODS = b"GET, HEAD, POST"
# Seconds for which a browser may remember the answer to a preflight.
MAX_AGE = b"600"
EXPOSED = (
    b"retry-after, x-request-id, x-model-version, x-model-revision, x-truncated-inputs, "
    b"x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, "
    b"x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens"
)
# Names of headers as a preflight lists them. Clients add headers of their own, so any is allowed.
_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,1024}")


def origins_of(setting: str) -> frozenset[str]:
    """The origins that `--cors-origin` lists."""
    return frozenset(
        part.strip().rstrip("/").lower() for part in setting.split(",") if part.strip()
    )


class CorsApplication:
    """An application that browsers may call from some other origins."""

    def __init__(
        self, app: AsgiApp, origins: frozenset[str], is_admin: Callable[[str], bool]
    ) -> None:
        """Prepare.

        Args:
            origins: as in the header `Origin`, in lower case, or `*` for any.
            is_admin: whether a raw path is one of an admin route.
        """
        self._app = app
        self._origins = origins
        self._is_admin = is_admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        origin = request.header(b"origin")
        if origin is None or self._is_admin(request.raw_path):
            await self._app(scope, receive, send)
            return
        is_allowed = ANY in self._origins or origin.lower() in self._origins
        if request.method == "OPTIONS" and request.header(b"access-control-request-method"):
            await self._answer_preflight(request, origin, is_allowed)
            return
        if not is_allowed:
            await self._app(scope, receive, send)
            return
        added = [*self._allowing(origin), (b"access-control-expose-headers", EXPOSED)]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    async def _answer_preflight(self, request: Request, origin: str, is_allowed: bool) -> None:
        if not is_allowed:
            why = f"the origin {origin[:100]!r} is not one of --cors-origin"
            await request.respond(403, Encoded(why.encode(), "text/plain; charset=utf-8"))
            return
        lines = [
            *self._allowing(origin),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", MAX_AGE),
        ]
        names = request.header(b"access-control-request-headers") or ""
        if _NAMES.fullmatch(names):
            lines.append((b"access-control-allow-headers", names.encode()))
        await request.respond(200, Encoded(b"", "text/plain"), tuple(lines))

    def _allowing(self, origin: str) -> tuple[tuple[bytes, bytes], ...]:
        if ANY in self._origins:
            return ((b"access-control-allow-origin", b"*"),)
        return (b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")
