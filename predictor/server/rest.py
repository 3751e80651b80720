"""Which path is which: inference routes, health, metadata, metrics, documentation."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from predictor.errors import (
    BodyTooLarge,
    ClientGone,
    InvalidInput,
    MethodNotAllowed,
    NotReady,
    PredictorError,
    RouteNotFound,
)
from predictor.protocols import cohere, openai, tei, v1, v2
from predictor.protocols.wire import Decoded, Encoded, encode_json
from predictor.server import documentation, metadata
from predictor.server.headers import request_id_of
from predictor.server.http import (
    AsgiApp,
    HeaderLines,
    Receive,
    Request,
    Scope,
    Send,
    Watch,
    refuse,
)
from predictor.server.inference import Call, Encode, Inference, internal_error
from predictor.server.status import http_status
from predictor.settings import Settings
from predictor.types import EmbedResult, Protocol

Handler = Callable[[Request], Awaitable[None]]
DecodeBody = Callable[[bytes], Decoded[Any]]

CANNOT = (
    "this server embeds texts; it does not rerank, classify, generate or give sparse vectors. It "
    "serves /v1/embeddings, /embed, /v2/embed, /v2/models/{model}/infer and "
    "/v1/models/{model}:predict"
)
NOT_SERVED = (
    "/rerank", "/v1/rerank", "/v2/rerank", "/openai/v1/rerank", "/embed_sparse", "/embed_all",
    "/predict", "/similarity", "/v1/chat/completions", "/v1/completions", "/v2/chat",
    "/openai/v1/chat/completions", "/openai/v1/completions",
)  # fmt: skip
REPOSITORY = "/v2/repository/"


class Rest:
    """The ASGI application: our routes first, KServe's behind them."""

    def __init__(self, inference: Inference, settings: Settings, kserve_app: AsgiApp) -> None:
        self._inference, self._kserve = inference, kserve_app
        self._limit = settings.request.max_body_bytes
        self._default = inference.model("").name
        openai_call = partial(self._infer, "openai")
        self._posts: dict[str, Handler] = {
            "/v1/embeddings": openai_call,
            "/openai/v1/embeddings": openai_call,
            "/": partial(self._infer, "tei"),
            "/embed": partial(self._infer, "tei"),
            "/v2/embed": partial(self._infer, "cohere"),
            "/tokenize": partial(self._tei_tool, metadata.tokenize),
            "/decode": partial(self._tei_tool, metadata.decode),
        } | {path: self._cannot for path in NOT_SERVED}
        self._gets: dict[str, Handler] = {
            "/": partial(self._json, lambda: {"status": "alive"}),
            "/metrics": self._metrics,
            "/docs": self._docs,
            "/openapi.json": partial(self._json, lambda: documentation.openapi(self._default)),
            "/health": self._tei_health,
            "/info": partial(self._json, lambda: metadata.tei_info(inference, settings)),
            "/v1/models": partial(self._json, lambda: metadata.openai_models(inference)),
            "/openai/v1/models": partial(self._json, lambda: metadata.openai_models(inference)),
            "/v2": partial(self._json, metadata.server_metadata),
            "/v2/": partial(self._json, metadata.server_metadata),
            "/v2/health/live": partial(self._json, lambda: {"live": True}),
            "/v2/health/ready": self._ready,
            "/v2/models": partial(self._json, lambda: {"models": inference.names()}),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._kserve(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        if method == "POST":
            handler = self._posts.get(path) or self._post_model(path)
        elif method in ("GET", "HEAD"):
            handler = self._gets.get(path) or self._get_model(path)
        else:
            handler = None
        if handler is None and (allowed := self._allowed(path)):
            handler = partial(self._not_allowed, allowed)
        if handler is None:
            await self._kserve(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            await handler(request)
        except PredictorError as error:
            protocol = _protocol_of(path)
            await refuse(request, error, protocol, error_body(protocol, error, ""))
        except Exception:
            request_id = request_id_of(None, None)
            fault = internal_error(request_id)
            await refuse(request, fault, "v2", v1.encode_error(str(fault)), request_id=request_id)

    def _allowed(self, path: str) -> str:
        """The methods of a path that has any here."""
        if path in self._posts or self._post_model(path):
            return "GET, HEAD, POST" if path in self._gets else "POST"
        return "GET, HEAD" if path in self._gets or self._get_model(path) else ""

    def _post_model(self, path: str) -> Handler | None:
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            name, version = _model_and_version(path[11:-6])
            if name:
                return partial(self._infer, "v2", model=name, version=version)
        if path.startswith("/v1/models/") and path.endswith(":predict"):
            name = path[11:-8]
            if name:
                return partial(self._infer, "v1", model=name)
        if path.startswith("/v1/models/") and path.endswith(":explain"):
            return self._cannot
        if path.startswith(REPOSITORY):
            return self._closed
        return None

    def _get_model(self, path: str) -> Handler | None:
        if path.startswith(("/v1/models/", "/openai/v1/models/")) and ":" not in path:
            name = path.rsplit("/", 1)[1]
            return partial(self._json, lambda: metadata.openai_model(self._inference, name))
        if not path.startswith("/v2/models/"):
            return None
        rest = path[11:]
        asks_ready = rest.endswith("/ready")
        name, version = _model_and_version(rest.removesuffix("/ready"))
        if not name:
            return None
        if asks_ready:
            return partial(self._ready, model=name, version=version)
        return partial(self._json, lambda: metadata.model_metadata(self._inference, name, version))

    # Inference

    async def _infer(
        self, protocol: Protocol, request: Request, *, model: str = "", version: str = ""
    ) -> None:
        """Read, answer, respond; errors in the protocol's own shape."""
        request_id = request_id_of(request.header(b"x-request-id"), request.header(b"traceparent"))
        watch: Watch | None = None
        try:
            body = await request.body(self._limit)
            watch = Watch(request)
            encoded, result = await self._inference.answer(
                self._call(protocol, request, body, (request_id, model, version))
            )
        except ClientGone:
            return
        except PredictorError as error:
            if isinstance(error, BodyTooLarge):
                self._inference.refused(protocol, http_status(error, protocol))
            body = error_body(protocol, error, request_id)
            closing = self._inference.draining and isinstance(error, NotReady)
            await refuse(request, error, protocol, body, request_id=request_id, closing=closing)
            return
        except asyncio.CancelledError:
            if watch is not None and watch.left:
                return  # nobody is there to be answered
            raise
        finally:
            if watch is not None:
                watch.end()
        await request.respond(200, encoded, _result_headers(result, request_id))

    def _call(
        self, protocol: Protocol, request: Request, body: bytes, names: tuple[str, str, str]
    ) -> Call:
        request_id, model, version = names

        def decode() -> Decoded[Any]:
            if protocol == "v2":
                return v2.decode_request(body, _json_length(request))
            return _DECODERS[protocol](body)

        return Call(
            protocol=protocol,
            decode=decode,
            encode=_ENCODERS[protocol],
            request_id=request_id,
            lane=request.header(b"x-priority"),
            model=model,
            version=version,
        )

    async def _tei_tool(
        self, tool: Callable[[Inference, bytes], Encoded], request: Request
    ) -> None:
        """TEI's /tokenize and /decode, off the loop: they take texts of any length."""
        try:
            body = await request.body(self._limit)
            encoded = await asyncio.to_thread(tool, self._inference, body)
        except ClientGone:
            return
        await request.respond(200, encoded)

    # Everything else

    async def _json(self, content: Callable[[], object], request: Request) -> None:
        await request.respond(200, Encoded(encode_json(content())))

    async def _metrics(self, request: Request) -> None:
        body = await asyncio.to_thread(generate_latest)
        await request.respond(200, Encoded(body, CONTENT_TYPE_LATEST))

    async def _docs(self, request: Request) -> None:
        await request.respond(
            200, Encoded(documentation.page(self._default), "text/html; charset=utf-8")
        )

    async def _ready(self, request: Request, model: str = "", version: str = "") -> None:
        found = self._inference.model(model, version)
        ready = self._inference.ready and (not model or found.is_healthy)
        body = {"name": found.name, "ready": ready} if model else {"ready": ready}
        headers = () if ready else ((b"retry-after", b"1"),)
        await request.respond(200 if ready else 503, Encoded(encode_json(body)), headers)

    async def _tei_health(self, request: Request) -> None:
        if not self._inference.ready:
            raise NotReady("the server is not ready")
        await request.respond(200, Encoded(b"", "text/plain"))

    async def _cannot(self, request: Request) -> None:
        raise RouteNotFound(CANNOT)

    async def _closed(self, request: Request) -> None:
        raise RouteNotFound("the repository API (load, unload) is not served")

    async def _not_allowed(self, allowed: str, request: Request) -> None:
        error = MethodNotAllowed(f"{request.method} {request.path}: the method must be {allowed}")
        protocol = _protocol_of(request.path)
        body = error_body(protocol, error, "")
        await request.respond(405, Encoded(body), ((b"allow", allowed.encode()),))


def _model_and_version(path: str) -> tuple[str, str]:
    """`name` or `name/versions/version`; an empty name for anything else."""
    parts = path.split("/")
    if len(parts) == 1:
        return parts[0], ""
    if len(parts) == 3 and parts[1] == "versions":
        return parts[0], parts[2]
    return "", ""


def _protocol_of(path: str) -> Protocol:
    """Whose error shape a path's clients expect, for what is not an inference request."""
    if path.startswith(("/v2/rerank", "/v2/chat")):
        return "cohere"
    if path.startswith("/v2") or path.endswith((":predict", ":explain")):
        return "v2"
    return "openai" if path.startswith(("/v1/", "/openai/")) else "tei"


def _json_length(request: Request) -> int | None:
    value = request.header(b"inference-header-content-length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise InvalidInput(f"Inference-Header-Content-Length {value[:40]!r} is not a number")
    return int(value)


def _result_headers(result: EmbedResult, request_id: str) -> HeaderLines:
    lines = ((b"x-request-id", request_id.encode()), *_identity(result.version, result.revision))
    if result.truncated:
        return (*lines, (b"x-truncated-inputs", result.truncated_list.encode()))
    return lines


@cache
def _identity(version: str, revision: str) -> HeaderLines:
    return (b"x-model-version", version.encode()), (b"x-model-revision", revision.encode())


_DECODERS: dict[str, DecodeBody] = {
    "v1": v1.decode_request,
    "openai": openai.decode_request,
    "tei": tei.decode_request,
    "cohere": cohere.decode_request,
}
_ENCODERS: dict[str, Encode] = {
    "v1": v1.encode_response,
    "v2": v2.encode_response,
    "openai": openai.encode_response,
    "tei": tei.encode_response,
    "cohere": cohere.encode_response,
}


def error_body(protocol: Protocol, error: PredictorError, request_id: str) -> bytes:
    """An error as this protocol's clients expect it."""
    message = str(error)
    if protocol == "openai":
        return openai.encode_error(message, http_status(error, protocol), error.code)
    if protocol == "tei":
        return tei.encode_error(message, error.code)
    if protocol == "cohere":
        return cohere.encode_error(message, request_id)
    return v1.encode_error(message)
