"""Which path is which: inference routes, health, metadata, metrics, documentation."""

from collections.abc import Awaitable, Callable
from functools import partial

from prometheus_client import REGISTRY

from predictor.errors import (
    ClientGone,
    MethodNotAllowed,
    NotReady,
    PredictorError,
    RouteNotFound,
)
from predictor.protocols import v1
from predictor.protocols.wire import Encoded, encode_json
from predictor.server import documentation, metadata, page
from predictor.server.admin import ADMIN_PATHS, Admin
from predictor.server.exposition import Exposition, content_type_for
from predictor.server.headers import request_id_of
from predictor.server.http import (
    AsgiApp,
    Receive,
    Request,
    Scope,
    Send,
    refuse,
)
from predictor.server.inference import Inference, internal_error
from predictor.server.metric_aliases import parse_kinds
from predictor.server.rest_inference import RestInference, error_body, named
from predictor.settings import Settings
from predictor.types import Protocol

Handler = Callable[[Request], Awaitable[None]]

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


class Rest:
    """The ASGI application: our routes first, KServe's behind them."""

    def __init__(
        self, inference: Inference, settings: Settings, admin: Admin, kserve_app: AsgiApp
    ) -> None:
        self._inference, self._kserve, self._admin = inference, kserve_app, admin
        self._settings = settings
        self._exposition = Exposition(REGISTRY, parse_kinds(settings.server.metrics_compat))
        answering = RestInference(inference, settings.request.max_body_bytes)
        self._infer = answering.infer
        openai_call = partial(self._infer, "openai")
        self._posts: dict[str, Handler] = {
            "/v1/embeddings": openai_call,
            "/openai/v1/embeddings": openai_call,
            "/": partial(self._infer, "tei"),
            "/embed": partial(self._infer, "tei"),
            "/v2/embed": partial(self._infer, "cohere"),
            "/tokenize": partial(answering.tei_tool, metadata.tokenize),
            "/decode": partial(answering.tei_tool, metadata.decode),
        } | {path: self._cannot for path in NOT_SERVED}
        self._gets: dict[str, Handler] = {
            "/": self._root,
            "/metrics": self._metrics,
            "/docs": self._docs,
            "/openapi.json": partial(self._json, lambda: documentation.openapi(self._example)),
            "/health": self._tei_health,
            "/info": self._tei_info,
            "/v1/models": partial(self._json, lambda: metadata.openai_models(inference)),
            "/openai/v1/models": partial(self._json, lambda: metadata.openai_models(inference)),
            "/v2": partial(self._json, metadata.server_metadata),
            "/v2/": partial(self._json, metadata.server_metadata),
            "/v2/health/live": partial(self._json, lambda: {"live": True}),
            "/v2/health/ready": self._ready,
            "/v2/models": partial(self._json, lambda: {"models": inference.models.names()}),
        }
        self._figures: page.Figures | None = None
        if settings.server.page:
            self._figures = page.Figures(inference, settings.batching)
            self._gets["/page.json"] = partial(self._page_figures, self._figures)

    async def local(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the admin port: admin routes and nothing else."""
        if scope["type"] == "http":
            await self._handle(self._admin.answer_local, Request(scope, receive, send))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._kserve(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        handler: Handler | None
        if path.startswith(ADMIN_PATHS):
            handler = self._admin.answer
        elif method == "POST":
            handler = self._posts.get(path) or self._post_model(path)
        elif method in ("GET", "HEAD"):
            handler = self._gets.get(path) or self._get_model(path)
        else:
            handler = None
        if handler is None and (allowed := self._allowed(path)):
            handler = partial(self._not_allowed, allowed)
        if handler is None and method not in ("GET", "HEAD"):
            # KServe's own routes ask for no key and read bodies of any size, and its patterns
            # match paths that end in a newline, which ours do not.
            handler = self._unknown
        if handler is None:
            await self._kserve(scope, receive, send)
            return
        await self._handle(handler, Request(scope, receive, send))

    async def _handle(self, handler: Handler, request: Request) -> None:
        try:
            await handler(request)
        except ClientGone:
            return
        except PredictorError as error:
            protocol = _protocol_of(request.path)
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
        return None

    def _get_model(self, path: str) -> Handler | None:
        if path.startswith(("/v1/models/", "/openai/v1/models/")):
            name = path.partition("/models/")[2]
            if not name or name.endswith((":predict", ":explain")):
                return None
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

    # What is no inference

    async def _json(self, content: Callable[[], object], request: Request) -> None:
        await request.respond(200, Encoded(encode_json(content())))

    async def _root(self, request: Request) -> None:
        """The page for browsers; for everybody else, that the process is alive."""
        if self._figures is not None and page.prefers_html(request.header(b"accept")):
            await request.respond(200, page.DOCUMENT, page.HEADERS)
        else:
            alive = Encoded(encode_json({"status": "alive"}))
            await request.respond(200, alive, ((b"vary", b"accept"),))

    async def _page_figures(self, figures: page.Figures, request: Request) -> None:
        await request.respond(200, Encoded(await figures.answer()), page.DATA_HEADERS)

    async def _metrics(self, request: Request) -> None:
        """Prometheus's text, or OpenMetrics for who asks for it: that one has exemplars."""
        content_type = content_type_for(request.header(b"accept"))
        body = await self._exposition.scrape(content_type)
        await request.respond(200, Encoded(body, content_type))

    async def _docs(self, request: Request) -> None:
        await request.respond(
            200, Encoded(documentation.page(self._example), "text/html; charset=utf-8")
        )

    @property
    def _example(self) -> str:
        """The model that the documentation asks for."""
        models = self._inference.models
        return models.default_name or next(iter(models.names()), "model")

    async def _tei_info(self, request: Request) -> None:
        info = metadata.tei_info(self._inference, self._settings, named(request))
        await request.respond(200, Encoded(encode_json(info)))

    async def _ready(self, request: Request, model: str = "", version: str = "") -> None:
        content = metadata.readiness(self._inference, model, version)
        headers = () if content["ready"] else ((b"retry-after", b"1"),)
        status = 200 if content["ready"] else 503
        await request.respond(status, Encoded(encode_json(content)), headers)

    async def _tei_health(self, request: Request) -> None:
        if not self._inference.ready:
            raise NotReady("the server is not ready")
        await request.respond(200, Encoded(b"", "text/plain"))

    async def _cannot(self, request: Request) -> None:
        raise RouteNotFound(CANNOT)

    async def _not_allowed(self, allowed: str, request: Request) -> None:
        raise MethodNotAllowed(
            f"{request.method} {request.path}: the method must be {allowed}", allowed
        )

    async def _unknown(self, request: Request) -> None:
        raise RouteNotFound(f"no such route: {request.path[:80]}")


def _model_and_version(path: str) -> tuple[str, str]:
    """`name` or `name/versions/version`; an empty name for anything else."""
    parts = path.split("/")
    if len(parts) == 1:
        return parts[0], ""
    if len(parts) == 3 and parts[1] == "versions" and parts[2]:
        return parts[0], parts[2]
    return "", ""


def _protocol_of(path: str) -> Protocol:
    """Whose error shape a path's clients expect, for what is not an inference request."""
    if path.startswith(("/v2/rerank", "/v2/chat")):
        return "cohere"
    if path.startswith(("/v2", "/admin/")) or path.endswith((":predict", ":explain")):
        return "v2"
    return "openai" if path.startswith(("/v1/", "/openai/")) else "tei"
