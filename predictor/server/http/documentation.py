"""The OpenAPI document of all routes, made from the types that decode the bodies."""

from collections.abc import Sequence
from typing import Any

import msgspec

from predictor import __version__
from predictor.server.http.route import EXAMPLE_MODEL, Route

ERRORS = {
    "400": "Malformed",
    "401": "No API key, or an unknown one, where keys are required",
    "403": "The API key may not use this model",
    "404": "Unknown model",
    "413": "Body over the byte limit",
    "429": "Queue full, or the key's limit reached",
    "503": "Not ready",
    "504": "Deadline passed",
}


# The two ways to send an API key; one of them is enough.
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _schema(kind: Any) -> dict[str, Any]:
    """The schema of a type of our own, which says it in `schema`."""
    described: dict[str, Any] = kind.schema()
    return described


def openapi(
    routes: Sequence[Route], keys_required: bool, model: str, *, root_path: str = ""
) -> dict[str, Any]:
    """Make the OpenAPI 3.1 document; its schemas are those of the types that decode the bodies.

    Args:
        keys_required: whether the server has a file of API keys.
        model: the model that the examples name.
        root_path: the prefix of all paths.
    """
    shown = [route for route in routes if not route.hidden]
    bodies = [route.body for route in shown if route.body]
    references, components = msgspec.json.schema_components(
        bodies, ref_template="#/components/schemas/{name}", schema_hook=_schema
    )
    schemas = iter(references)
    paths: dict[str, Any] = {}
    for route in shown:
        operation: dict[str, Any] = {
            "summary": route.summary,
            "tags": [route.group],
            "operationId": f"{route.method.lower()} {route.template}",
            "responses": {"200": {"description": "OK"}},
        }
        names = [part[1:-1] for part in route.template.replace(":", "/").split("/") if "{" in part]
        if names:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                | ({"example": model} if name == "model" else {})
                for name in names
            ]
        if route.body:
            content: dict[str, Any] = {"schema": next(schemas)}
            if route.example is not None:
                content["example"] = {
                    key: model if value == EXAMPLE_MODEL else value
                    for key, value in route.example.items()
                }
            operation["requestBody"] = {"required": True, "content": {"application/json": content}}
            for code, why in ERRORS.items():
                operation["responses"][code] = {"description": why}
            if keys_required:
                operation["security"] = [{scheme: []} for scheme in SECURITY_SCHEMES]
        paths.setdefault(route.template, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "predictor",
            "version": __version__,
            "description": "Over gRPC the server speaks V2: inference.GRPCInferenceService.",
        },
        **({"servers": [{"url": root_path}]} if root_path else {}),
        "paths": paths,
        "components": {"schemas": components}
        | ({"securitySchemes": SECURITY_SCHEMES} if keys_required else {}),
    }
