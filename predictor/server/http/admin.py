"""The admin routes: V2's repository API and our own; all of them require the admin token."""

from typing import Any, Literal, cast

import msgspec

from predictor.errors import RouteNotFound
from predictor.protocols.codec import Encoded
from predictor.protocols.wire import decode_json
from predictor.server.admin import version_of
from predictor.server.http.request import Request
from predictor.server.http.route import Match
from predictor.server.http.services import Services
from predictor.server.shadow.trial import ShadowOrder

MAX_BODY = 64 << 10


class ChangeBody(msgspec.Struct):
    """The body of load and unload."""

    parameters: dict[str, Any] | None = None


class IndexBody(msgspec.Struct):
    """The body of the repository index."""

    ready: bool | None = None


class LogLevelBody(msgspec.Struct):
    """The body of a new log level."""

    level: Literal["debug", "info", "warning", "error"]


async def index(services: Services, request: Request, match: Match) -> None:
    """Every known version, its state and the reason for it."""
    del match
    body = decode_json(await request.body(MAX_BODY) or b"{}", IndexBody)
    entries = services.admin.index(ready_only=bool(body.ready))
    await request.respond_json([msgspec.structs.asdict(entry) for entry in entries])


async def load(services: Services, request: Request, match: Match) -> None:
    """Serve a model, or one version of it."""
    name = match.parameters["model"]
    await services.admin.load(name, await _version(request))
    await request.respond_json({"name": name, "load": True})


async def unload(services: Services, request: Request, match: Match) -> None:
    """Stop serving a model, or one version of it."""
    name = match.parameters["model"]
    await services.admin.unload(name, await _version(request))
    await request.respond_json({"name": name, "unload": True})


async def flush_cache(services: Services, request: Request, match: Match) -> None:
    """Empty the cache in memory."""
    del match
    await request.respond_json({"rows": services.admin.flush_cache()})


async def log_level(services: Services, request: Request, match: Match) -> None:
    """The lowest level that is logged."""
    del match
    await request.respond_json({"level": services.admin.log_level()})


async def set_log_level(services: Services, request: Request, match: Match) -> None:
    """Set the lowest level that is logged."""
    body = decode_json(await request.body(MAX_BODY), LogLevelBody)
    services.admin.set_log_level(body.level)
    await log_level(services, request, match)


async def drift(services: Services, request: Request, match: Match) -> None:
    """A sketch of the traffic, for `predictor drift`."""
    model = match.parameters["model"]
    what = match.parameters["what"]
    if what not in ("reference", "window"):
        raise RouteNotFound(f"drift of {model[:80]}: request reference or window")
    sketch = services.admin.drift(model, cast(Literal["reference", "window"], what))
    await request.respond(200, Encoded(sketch))


async def shadow(services: Services, request: Request, match: Match) -> None:
    """The figures of the shadow."""
    del match
    await request.respond(200, Encoded(msgspec.json.encode(services.admin.shadow_report())))


async def begin_shadow(services: Services, request: Request, match: Match) -> None:
    """Begin or renew the shadow."""
    del match
    order = decode_json(await request.body(MAX_BODY), ShadowOrder)
    await request.respond(200, Encoded(msgspec.json.encode(services.admin.begin_shadow(order))))


async def end_shadow(services: Services, request: Request, match: Match) -> None:
    """End the shadow."""
    del match
    await request.respond(200, Encoded(msgspec.json.encode(services.admin.end_shadow())))


async def _version(request: Request) -> object:
    body = decode_json(await request.body(MAX_BODY) or b"{}", ChangeBody)
    return version_of(body.parameters or {})
