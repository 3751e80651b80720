"""What changes the server: load and unload (V2 repository API), flush the cache, set the log level.

And what is too much like an embedding to be shown to everybody: the sketches of the traffic.

Closed unless the operator opens it: with a token on the serving port, or on a port of its own that
only the pod itself can reach.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec

from predictor.access import AdminToken
from predictor.cache import RowCache
from predictor.drift import reference_to_bytes, sketch_to_bytes
from predictor.errors import InvalidInput, MethodNotAllowed, ModelNotFound, RouteNotFound
from predictor.export.publish import VERSION
from predictor.protocols.wire import Encoded, decode_json, encode_json
from predictor.repository import Repository
from predictor.server.drift_watch import DriftWatch
from predictor.server.http import Request
from predictor.server.model import EmbeddingModel
from predictor.server.shadow import Shadow
from predictor.server.shadow_trial import Order

logger = logging.getLogger(__name__)

REPOSITORY, OWN = "/v2/repository/", "/admin/"
DRIFT = f"{OWN}drift/"
ADMIN_PATHS = (REPOSITORY, OWN)
MAX_BODY = 64 << 10
CLOSED = (
    "the repository API and the admin routes are not served here (--admin-token-file, or "
    "--admin-port on the pod's own address)"
)
# What Triton's clients send along and what has no meaning here.
IGNORED = ("unload_dependents",)


class ChangeBody(msgspec.Struct):
    """Of load and unload."""

    parameters: dict[str, Any] = {}


class IndexBody(msgspec.Struct):
    ready: bool = False


class LogLevelBody(msgspec.Struct):
    level: Literal["debug", "info", "warning", "error"]


class Admin:
    """The routes and what they do. token None: closed on the serving port. shadow None: none."""

    def __init__(
        self,
        repository: Repository[EmbeddingModel],
        memory: RowCache | None,
        token: AdminToken | None,
        traffic: DriftWatch,
        shadow: Shadow | None = None,
    ) -> None:
        self._repository, self._memory, self._token = repository, memory, token
        self._traffic, self._shadow = traffic, shadow

    def check(self, credential: str | None) -> None:
        """Pass who may change things over the serving port.

        Raises:
            RouteNotFound: nobody may.
            Unauthorized: this one may not.
        """
        if self._token is None:
            raise RouteNotFound(CLOSED)
        self._token.check(credential, time.monotonic())

    async def answer(self, request: Request) -> None:
        """A request on the serving port."""
        self.check(request.credential)
        await self._route(request)

    async def answer_local(self, request: Request) -> None:
        """A request on the admin port; the token is asked for if there is one."""
        if self._token is not None:
            self.check(request.credential)
        await self._route(request)

    async def _route(self, request: Request) -> None:
        path, method = request.path, request.method
        handler: Callable[[Request], Awaitable[object]] | None = None
        allowed = "POST"
        if path == f"{REPOSITORY}index":
            handler = self._index
        elif path == f"{OWN}cache/flush":
            handler = self._flush
        elif path == f"{OWN}log-level":
            handler, allowed = self._log_level, "GET, POST, PUT"
        elif path == f"{OWN}shadow" and self._shadow is not None:
            handler, allowed = partial(self._copies, self._shadow), "GET, PUT, DELETE"
        elif path.startswith(DRIFT):
            handler, allowed = self._drift, "GET"
        elif path.startswith(f"{REPOSITORY}models/") and path.endswith(("/load", "/unload")):
            handler = self._change
        if handler is None:
            raise RouteNotFound(f"no such admin route: {path[:80]}")
        if method not in allowed.split(", "):
            raise MethodNotAllowed(f"{method} {path}: the method must be {allowed}", allowed)
        found = await handler(request)
        body = found if isinstance(found, bytes) else encode_json(found)
        await request.respond(200, Encoded(body))

    async def _index(self, request: Request) -> object:
        wanted = decode_json(await request.body(MAX_BODY) or b"{}", IndexBody)
        entries = self._repository.index()
        if wanted.ready:
            entries = [entry for entry in entries if entry.state == "READY"]
        return [msgspec.structs.asdict(entry) for entry in entries]

    async def _change(self, request: Request) -> object:
        name, _, action = request.path.removeprefix(f"{REPOSITORY}models/").rpartition("/")
        body = decode_json(await request.body(MAX_BODY) or b"{}", ChangeBody)
        version = version_of(body.parameters)
        if action == "load":
            await self.load(name, version)
        else:
            await self.unload(name, version)
        return {"name": name, action: True}

    async def load(self, name: str, version: object = None) -> None:
        """Serve a model as its policy says, or `version` (or name `m:2`) as its default.

        Raises:
            InvalidInput: the version is no number.
            ModelNotFound, BadModel, BadSetting: see `Repository.load`.
        """
        name, number = _split(name, version)
        logger.info("load of %s version %s asked for", name, number or "by policy")
        await self._repository.load(name, number)

    async def unload(self, name: str, version: object = None) -> None:
        """Stop serving a model or one version of it. Raises InvalidInput, ModelNotFound."""
        name, number = _split(name, version)
        logger.info("unload of %s version %s asked for", name, number or "all")
        await self._repository.unload(name, number)

    async def _flush(self, request: Request) -> object:
        if self._memory is None:
            raise ModelNotFound("there is no cache: --cache-mb is 0")
        rows = self._memory.flush()
        logger.info("cache flushed: %d rows", rows)
        return {"rows": rows}

    async def _drift(self, request: Request) -> bytes:
        """`/admin/drift/{model}[:{version}]/{reference|window}`: a file for `predictor drift`."""
        name, _, what = request.path.removeprefix(DRIFT).rpartition("/")
        monitor = self._traffic.found(self._repository.answers.find(name))
        if monitor is None:
            raise ModelNotFound("the traffic of this version is not watched (--drift-window)")
        if what == "window":
            # The one that is open says little after a minute.
            return sketch_to_bytes(monitor.last or monitor.sketch())
        if what != "reference":
            raise RouteNotFound(f"drift of {name[:80]}: there is reference and window")
        if monitor.reference is None:
            raise ModelNotFound("the reference is not made yet: see predictor_drift_learning")
        return reference_to_bytes(monitor.reference)

    @staticmethod
    async def _copies(shadow: Shadow, request: Request) -> bytes:
        """Begin or renew the shadow, end it, or only tell of it."""
        if request.method == "PUT":
            report = shadow.begin(decode_json(await request.body(MAX_BODY), Order))
        else:
            report = shadow.end() if request.method == "DELETE" else shadow.report()
        return msgspec.json.encode(report)

    async def _log_level(self, request: Request) -> object:
        root = logging.getLogger()
        if request.method != "GET":
            body = decode_json(await request.body(MAX_BODY), LogLevelBody)
            root.setLevel(body.level.upper())
            logger.warning("log level is %s now", body.level)
        return {"level": logging.getLevelName(root.level).lower()}


def version_of(parameters: Mapping[str, Any]) -> object:
    """The version that load or unload is told beside the name, as it came.

    Raises:
        InvalidInput: there is a parameter that nobody would follow.
    """
    unknown = [key for key in parameters if key not in ("version", *IGNORED)]
    if unknown:
        raise InvalidInput(f"parameter {unknown[0][:40]!r} is not known here; there is version")
    return parameters.get("version")


def _split(name: str, version: object) -> tuple[str, int | None]:
    """Name and number of `m`, `m:2`, or a name and a version beside it.

    Raises:
        InvalidInput: the version is no number from 1.
    """
    if version is None and ":" in name:
        name, _, version = name.rpartition(":")
    if version is None:
        return name, None
    if isinstance(version, bool) or not VERSION.fullmatch(str(version)):
        raise InvalidInput(f"version {str(version)[:40]!r} is not a number from 1")
    return name, int(str(version))
