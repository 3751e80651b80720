"""The table of routes: all HTTP routes of this server in one list.

Routing, OpenAPI, `Allow`, the names in traces, the table in the documentation and the 404 that
names the nearest route are derived from it. An error for an unknown path has the shape of the first
route that shares the most leading parts with it, so the order of the groups matters.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from predictor.protocols import cohere, ollama, openai, tei, tei_tokenizer, v1, v2
from predictor.server.http import admin, models, operation
from predictor.server.http.inference import infer
from predictor.server.http.route import EXAMPLE_MODEL, Handler, Route

_TEXT = "A man is playing a guitar."
_V2_EXAMPLE = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [_TEXT]}]}

_infer = partial(Route, method="POST", handler=infer)


def _get(
    group: str, codec: str, path: str, summary: str, handler: Handler, *, hidden: bool = False
) -> Route:
    return Route(
        method="GET",
        path=path,
        group=group,
        summary=summary,
        handler=handler,
        codecs=(codec,),
        hidden=hidden,
    )


def _embed_also(group: str, codec: str, path: str, summary: str) -> Route:
    """A further path of a protocol's route for vectors."""
    return _infer(
        path=path, group=group, summary=summary, task="embed", codecs=(codec,), hidden=True
    )


def _admin(
    method: str,
    path: str,
    summary: str,
    handler: Handler,
    body: type[msgspec.Struct] | None = None,
    example: Any = None,
) -> Route:
    return Route(
        method=method,
        path=path,
        group="Admin",
        summary=summary,
        handler=handler,
        codecs=("v2",),
        body=body,
        example=example,
        admin=True,
    )


def _not_served(codec: str, *paths: str) -> Iterator[Route]:
    """Routes that clients of other servers may request; the 404 says what to use instead."""
    for path in paths:
        yield Route(
            method="POST",
            path=path,
            group="Not served",
            summary="Not served",
            handler=operation.not_served,
            codecs=(codec,),
            hidden=True,
        )


_V2 = (
    _infer(
        path="/v2/models/{model...}/infer",
        group="V2",
        summary="Embed texts; JSON or binary tensors",
        codecs=("v2",),
        body=v2.InferBody,
        example=_V2_EXAMPLE,
    ),
    _infer(
        path="/v2/models/{model...}/versions/{version}/infer",
        group="V2",
        summary="Embed texts with one version",
        codecs=("v2",),
        body=v2.InferBody,
        example=_V2_EXAMPLE,
    ),
    _get("V2", "v2", "/v2", "Server metadata", models.v2_server),
    _get("V2", "v2", "/v2/", "Server metadata", models.v2_server, hidden=True),
    _get("V2", "v2", "/v2/health/live", "The process is alive", operation.live),
    _get(
        "V2",
        "v2",
        "/v2/health/ready",
        "Whether all models can answer now; if not, 503",
        models.v2_ready,
    ),
    _get("V2", "v2", "/v2/models", "Names of the models", models.v2_names),
    _get("V2", "v2", "/v2/models/{model...}", "Model metadata", models.v2_model),
    _get(
        "V2",
        "v2",
        "/v2/models/{model...}/ready",
        "Whether this model can answer now; if not, 503",
        models.v2_ready,
    ),
    _get(
        "V2",
        "v2",
        "/v2/models/{model...}/versions/{version}",
        "Metadata of one version",
        models.v2_model,
    ),
    _get(
        "V2",
        "v2",
        "/v2/models/{model...}/versions/{version}/ready",
        "Whether this version can answer now; if not, 503",
        models.v2_ready,
    ),
)

_OPENAI = (
    _infer(
        path="/v1/embeddings",
        group="OpenAI",
        summary="Embed texts (also /embeddings and /openai/v1/embeddings)",
        task="embed",
        codecs=("openai",),
        body=openai.EmbeddingsRequest,
        example={"model": EXAMPLE_MODEL, "input": [_TEXT]},
    ),
    _embed_also("OpenAI", "openai", "/openai/v1/embeddings", "Embed texts"),
    _embed_also("OpenAI", "openai", "/embeddings", "Embed texts, for a base URL without /v1"),
    _infer(
        path="/openai/deployments/{model...}/embeddings",
        group="OpenAI",
        summary="Embed texts, for Azure's clients; the deployment is the model",
        task="embed",
        codecs=("openai",),
        body=openai.EmbeddingsRequest,
        example={"input": [_TEXT]},
    ),
    _get(
        "OpenAI",
        "openai",
        "/v1/models",
        "The models, for OpenAI's and for KServe's clients",
        models.openai_models,
    ),
    _get("OpenAI", "openai", "/v1/models/{model...}", "One model", models.openai_model),
    _get("OpenAI", "openai", "/openai/v1/models", "The models", models.openai_models, hidden=True),
    _get(
        "OpenAI",
        "openai",
        "/openai/v1/models/{model...}",
        "One model",
        models.openai_model,
        hidden=True,
    ),
    _get(
        "OpenAI",
        "openai",
        "/models",
        "The models, for a base URL without /v1",
        models.openai_models,
        hidden=True,
    ),
    _get("OpenAI", "openai", "/models/{model...}", "One model", models.openai_model, hidden=True),
)

_V1 = (
    _infer(
        path="/v1/models/{model...}:predict",
        group="V1",
        summary="Embed instances",
        task="embed",
        codecs=("v1",),
        body=v1.PredictRequest,
        example={"instances": [_TEXT]},
    ),
)

_TEI = (
    _infer(
        path="/embed",
        group="TEI",
        summary="Embed texts (also POST / and /invocations)",
        task="embed",
        codecs=("tei",),
        body=tei.TeiEmbedBody,
        example={"inputs": _TEXT},
    ),
    _embed_also("TEI", "tei", "/", "Embed texts"),
    _embed_also("TEI", "tei", "/invocations", "Embed texts, as SageMaker calls it"),
    _infer(
        path="/tokenize",
        group="TEI",
        summary="Tokens of texts",
        task="tokenize",
        codecs=("tei",),
        body=tei_tokenizer.TokenizeBody,
        example={"inputs": _TEXT},
    ),
    _infer(
        path="/decode",
        group="TEI",
        summary="Texts of tokens",
        task="decode",
        codecs=("tei",),
        body=tei_tokenizer.DecodeBody,
        example={"ids": [101, 2088, 102]},
    ),
    _get("TEI", "tei", "/info", "The model and the limits", models.tei_info),
    _get(
        "TEI",
        "tei",
        "/health",
        "200 if the server is ready, otherwise 503 (also /ping)",
        operation.tei_health,
    ),
    _get("TEI", "tei", "/ping", "Health, as SageMaker calls it", operation.tei_health, hidden=True),
)

_COHERE = (
    _infer(
        path="/v2/embed",
        group="Cohere",
        summary="Embed texts, several types at once",
        task="embed",
        codecs=("cohere",),
        body=cohere.CohereEmbedBody,
        example={"model": EXAMPLE_MODEL, "texts": [_TEXT], "embedding_types": ["float", "ubinary"]},
    ),
    _infer(
        path="/v1/embed",
        group="Cohere",
        summary="Embed texts, as clients of Cohere's version 1 ask",
        task="embed",
        codecs=("cohere_v1",),
        body=cohere.CohereEmbedBody,
        example={"model": EXAMPLE_MODEL, "texts": [_TEXT]},
    ),
)

_OLLAMA = (
    _infer(
        path="/api/embed",
        group="Ollama",
        summary="Embed texts",
        task="embed",
        codecs=("ollama",),
        body=ollama.OllamaEmbedBody,
        example={"model": EXAMPLE_MODEL, "input": [_TEXT]},
    ),
    _infer(
        path="/api/embeddings",
        group="Ollama",
        summary="Embed one text, for older clients",
        task="embed",
        codecs=("ollama_prompt",),
        body=ollama.OllamaPromptBody,
        example={"model": EXAMPLE_MODEL, "prompt": _TEXT},
    ),
    _get("Ollama", "ollama", "/api/tags", "The models", models.ollama_tags),
)

_OPERATION = (
    _get("Operation", "tei", "/metrics", "Prometheus metrics", operation.metrics),
    _get("Operation", "tei", "/docs", "Swagger UI, which also sends requests", operation.docs),
    _get(
        "Operation", "tei", "/docs/{file}", "A file of that page", operation.docs_asset, hidden=True
    ),
    _get(
        "Operation", "tei", "/openapi.json", "OpenAPI document of these routes", operation.openapi
    ),
    _get(
        "Operation",
        "tei",
        "/",
        "The page for browsers; for other clients, whether the process is alive",
        operation.root,
    ),
    _get(
        "Operation",
        "tei",
        "/page.json",
        "The figures on that page; their form may change",
        operation.page_figures,
    ),
)

_ADMIN = (
    _admin(
        "POST",
        "/v2/repository/index",
        "Every version, its state and the reason for it",
        admin.index,
        admin.IndexBody,
        {"ready": False},
    ),
    _admin(
        "POST",
        "/v2/repository/models/{model...}/load",
        "Serve a model, or one version of it",
        admin.load,
        admin.ChangeBody,
        {"parameters": {"version": "2"}},
    ),
    _admin(
        "POST",
        "/v2/repository/models/{model...}/unload",
        "Stop serving a model, or one version of it",
        admin.unload,
        admin.ChangeBody,
        {"parameters": {}},
    ),
    _admin("POST", "/admin/cache/flush", "Empty the cache in memory", admin.flush_cache),
    _admin("GET", "/admin/log-level", "The lowest level that is logged", admin.log_level),
    _admin(
        "PUT",
        "/admin/log-level",
        "Set the lowest level that is logged",
        admin.set_log_level,
        admin.LogLevelBody,
        {"level": "debug"},
    ),
    _admin(
        "POST",
        "/admin/log-level",
        "Set the lowest level that is logged",
        admin.set_log_level,
        admin.LogLevelBody,
        {"level": "debug"},
    ),
    _admin(
        "GET",
        "/admin/drift/{model...}/{what}",
        "A version's reference or last window of traffic, for `predictor drift`",
        admin.drift,
    ),
    _admin("GET", "/admin/shadow", "The figures of the shadow", admin.shadow),
    _admin("PUT", "/admin/shadow", "Begin or renew the shadow", admin.begin_shadow),
    _admin("DELETE", "/admin/shadow", "End the shadow", admin.end_shadow),
)

_REFUSED = (
    *_not_served(
        "openai",
        "/v1/rerank",
        "/openai/v1/rerank",
        "/v1/chat/completions",
        "/v1/completions",
        "/openai/v1/chat/completions",
        "/openai/v1/completions",
        "/chat/completions",
        "/completions",
        "/openai/deployments/{model...}/chat/completions",
        "/openai/deployments/{model...}/completions",
    ),
    *_not_served("tei", "/rerank", "/embed_sparse", "/embed_all", "/predict", "/similarity"),
    *_not_served("cohere", "/v2/rerank", "/v2/chat"),
    *_not_served("ollama", "/api/chat", "/api/generate", "/api/pull", "/api/show"),
    *_not_served("v1", "/v1/models/{model...}:explain"),
    *_not_served("v2", "/v2/models/{model...}/explain"),
)

ROUTES: tuple[Route, ...] = (
    *_V2,
    *_OPENAI,
    *_V1,
    *_TEI,
    *_COHERE,
    *_OLLAMA,
    *_OPERATION,
    *_ADMIN,
    *_REFUSED,
)
