"""Routes for operators and developers: health, metrics, documentation, the page."""

from predictor.errors import NotReady, RouteNotFound
from predictor.protocols.codec import Encoded
from predictor.protocols.wire import encode_json
from predictor.server.accept import prefers_html
from predictor.server.http import page, swagger
from predictor.server.http.request import Request
from predictor.server.http.route import Match
from predictor.server.http.services import Services
from predictor.server.metrics.exposition import content_type_for

# Relative to /docs, so that it also works behind a gateway that adds a prefix.
OPENAPI = "openapi.json"
NOT_SERVED = (
    "this server embeds texts; it does not rerank, classify, generate or give sparse vectors. It "
    "serves /v1/embeddings, /embed, /v2/embed, /v2/models/{model}/infer and "
    "/v1/models/{model}:predict"
)


async def root(services: Services, request: Request, match: Match) -> None:
    """The page for browsers; for other clients, a JSON object that says that the process lives."""
    del match
    if services.figures is not None and prefers_html(request.header(b"accept")):
        await request.respond(200, page.DOCUMENT, page.HEADERS)
    else:
        alive = Encoded(encode_json({"status": "alive"}))
        await request.respond(200, alive, ((b"vary", b"accept"),))


async def page_figures(services: Services, request: Request, match: Match) -> None:
    """The figures that the page requests. Raises RouteNotFound if the page is off."""
    del match
    if services.figures is None:
        raise RouteNotFound("the page is turned off (--page)")
    await request.respond(200, Encoded(await services.figures.answer()), page.DATA_HEADERS)


async def metrics(services: Services, request: Request, match: Match) -> None:
    """Prometheus's text format, or OpenMetrics, with exemplars, if the scraper accepts it."""
    del match
    content_type = content_type_for(request.header(b"accept"))
    body = await services.exposition.scrape(content_type)
    await request.respond(200, Encoded(body, content_type))


async def openapi(services: Services, request: Request, match: Match) -> None:
    """The OpenAPI document."""
    del match
    document = services.openapi(services.example_model)
    await request.respond_json(document)


async def docs(services: Services, request: Request, match: Match) -> None:
    """Swagger UI, which shows the OpenAPI document and sends requests."""
    del services, match
    content = Encoded(swagger.page(OPENAPI), "text/html; charset=utf-8")
    await request.respond(200, content, swagger.page_headers(OPENAPI))


async def docs_asset(services: Services, request: Request, match: Match) -> None:
    """A file of Swagger UI. Raises RouteNotFound."""
    del services
    name = match.parameters["file"]
    asset = swagger.asset(name)
    if asset is None:
        raise RouteNotFound(f"no such file: {name[:80]}")
    body, content_type = asset
    await request.respond(200, Encoded(body, content_type), swagger.ASSET_HEADERS)


async def live(services: Services, request: Request, match: Match) -> None:
    """V2: the process is alive."""
    del services, match
    await request.respond_json({"live": True})


async def tei_health(services: Services, request: Request, match: Match) -> None:
    """TEI: an empty 200. Raises NotReady."""
    del match
    if not services.inference.ready:
        raise NotReady("the server is not ready")
    await request.respond(200, Encoded(b"", "text/plain"))


async def not_served(services: Services, request: Request, match: Match) -> None:
    """A route of other servers, for a task that this server does not support."""
    del services, request, match
    raise RouteNotFound(NOT_SERVED)
