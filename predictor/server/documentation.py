"""OpenAPI of every route, from the very types that decode the bodies, and a page to read it on.

The page is self-contained: documentation that needs another host is none in a closed network.
"""

import html
import json
from functools import cache
from typing import Any, NamedTuple

import msgspec

from predictor import __version__
from predictor.protocols import cohere, openai, tei, v1, v2


class Route(NamedTuple):
    path: str
    method: str
    tag: str
    summary: str
    body: type[msgspec.Struct] | None = None
    example: Any = None


# Stands for the default model in the examples.
MODEL = "{default model}"
_TEXT = "A man is playing a guitar."
_V2_EXAMPLE = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [_TEXT]}]}
ROUTES = (
    Route(
        "/v2/models/{model}/infer", "post", "V2", "Embed texts; JSON or binary tensors",
        v2.InferBody,
        _V2_EXAMPLE,
    ),
    Route(
        "/v2/models/{model}/versions/{version}/infer", "post", "V2", "The same, of one version",
        v2.InferBody,
        _V2_EXAMPLE,
    ),
    Route("/v2", "get", "V2", "Server metadata"),
    Route("/v2/health/live", "get", "V2", "The process is alive"),
    Route("/v2/health/ready", "get", "V2", "All models would answer now; else 503"),
    Route("/v2/models", "get", "V2", "Names of the models"),
    Route("/v2/models/{model}", "get", "V2", "Model metadata"),
    Route("/v2/models/{model}/ready", "get", "V2", "This model would answer now; else 503"),
    Route(
        "/v1/models/{model}:predict", "post", "V1", "Embed instances", v1.PredictRequest,
        {"instances": [_TEXT]},
    ),
    Route(
        "/v1/embeddings", "post", "OpenAI", "Embed texts (also /openai/v1/embeddings)",
        openai.EmbeddingsRequest, {"model": MODEL, "input": [_TEXT]},
    ),
    Route("/v1/models", "get", "OpenAI", "The models, for OpenAI's and for KServe's clients"),
    Route("/v1/models/{model}", "get", "OpenAI", "One model"),
    Route("/embed", "post", "TEI", "Embed texts (also POST /)", tei.EmbedBody, {"inputs": _TEXT}),
    Route("/tokenize", "post", "TEI", "Tokens of texts", tei.TokenizeBody, {"inputs": _TEXT}),
    Route("/decode", "post", "TEI", "Texts of tokens", tei.DecodeBody, {"ids": [101, 2088, 102]}),
    Route("/info", "get", "TEI", "The model and the limits"),
    Route("/health", "get", "TEI", "200 when ready, else 503"),
    Route(
        "/v2/embed", "post", "Cohere", "Embed texts, several types at once", cohere.EmbedBody,
        {"model": MODEL, "texts": [_TEXT], "embedding_types": ["float", "ubinary"]},
    ),
    Route("/metrics", "get", "Operation", "Prometheus metrics"),
    Route("/openapi.json", "get", "Operation", "This document"),
    Route("/", "get", "Operation", "A page for browsers; for others, that the process is alive"),
    Route("/page.json", "get", "Operation", "What that page shows; its shape may change"),
)  # fmt: skip


ERRORS = {
    "400": "Malformed",
    "401": "No API key, or an unknown one, where keys are asked for",
    "403": "The API key is not for this model",
    "404": "Unknown model",
    "413": "Body over the byte limit",
    "429": "Queue full, or the key's limit reached",
    "503": "Not ready",
    "504": "Deadline passed",
}


@cache
def openapi(model: str) -> dict[str, Any]:
    """OpenAPI 3.1; the schemas are those that decode, the examples ask for `model`."""
    bodies = [route.body for route in ROUTES if route.body]
    references, components = msgspec.json.schema_components(
        bodies, ref_template="#/components/schemas/{name}"
    )
    schemas = iter(references)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        operation: dict[str, Any] = {
            "summary": route.summary,
            "tags": [route.tag],
            "operationId": f"{route.method} {route.path}",
            "responses": {"200": {"description": "OK"}},
        }
        names = [part[1:-1] for part in route.path.replace(":", "/").split("/") if "{" in part]
        if names:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ]
        if route.body:
            content: dict[str, Any] = {"schema": next(schemas)}
            if route.example is not None:
                content["example"] = {
                    key: model if value == MODEL else value for key, value in route.example.items()
                }
            operation["requestBody"] = {"required": True, "content": {"application/json": content}}
            for code, why in ERRORS.items():
                operation["responses"][code] = {"description": why}
        paths.setdefault(route.path, {})[route.method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "predictor", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#8881;padding:.8rem;"
    "overflow:auto}summary{cursor:pointer;padding:.3rem 0}:root{color-scheme:light dark}"
)


@cache
def page(model: str) -> bytes:
    """One HTML page: each route with its body's schema and an example."""
    spec = openapi(model)
    parts: list[str] = []
    tag = ""
    for route in ROUTES:
        if route.tag != tag:
            tag = route.tag
            parts.append(f"<h2>{html.escape(tag)}</h2>")
        parts.append(_entry(route, spec))
    schemas = html.escape(json.dumps(spec["components"]["schemas"], indent=2))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>predictor API</title>"
        f"<style>{_STYLE}</style><h1>predictor {__version__}</h1>"
        "<p>The same as <a href=/openapi.json>OpenAPI</a>. gRPC: inference.GRPCInferenceService."
        f"</p>{''.join(parts)}<h2>Schemas</h2><pre>{schemas}</pre></html>"
    ).encode()


def _entry(route: Route, spec: dict[str, Any]) -> str:
    operation = spec["paths"][route.path][route.method]
    head = f"<code><b>{route.method.upper()}</b> {html.escape(route.path)}</code> {route.summary}"
    if not route.body:
        return f"<p>{head}</p>"
    content = operation["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rsplit("/", 1)[1]
    example = html.escape(json.dumps(content.get("example", {}), indent=2))
    return (
        f"<details><summary>{head}</summary><p>Body: <code>{name}</code></p>"
        f"<pre>{example}</pre></details>"
    )
