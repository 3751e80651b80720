"""Cohere's `/v2/embed`: several embedding types at once, prompts by input type.

Source: docs.cohere.com/reference/embed (v2).
"""

from typing import Any, Literal

import msgspec

from predictor.errors import EmptyInput, InvalidInput
from predictor.protocols.wire import Decoded, Encoded, base64_rows, decode_json, encode_json
from predictor.types import EmbedRequest, EmbedResult, OutputType

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
InputType = Literal["search_query", "search_document", "classification", "clustering", "image"]


class EmbedBody(msgspec.Struct):
    model: str
    input_type: InputType | None = None
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[Any] | None = None
    embedding_types: list[EmbeddingType] = msgspec.field(default_factory=lambda: ["float"])
    output_dimension: int | None = None
    truncate: Literal["NONE", "START", "END"] = "END"
    priority: int | None = None


def decode_request(body: bytes) -> Decoded[EmbedBody]:
    """Raise InvalidInput (or a subclass) for what is not a text embed request."""
    wire = decode_json(body, EmbedBody)
    if wire.images or wire.inputs or wire.input_type == "image":
        raise InvalidInput("this model embeds texts; images and mixed inputs are not served")
    if not wire.texts:
        raise EmptyInput("texts is empty; at least one text is needed")
    if not wire.embedding_types:
        raise InvalidInput("embedding_types is empty; leave it out for float")
    types = {OutputType.FLOAT if t == "base64" else OutputType(t) for t in wire.embedding_types}
    request = EmbedRequest(
        inputs=list(wire.texts),
        protocol="cohere",
        model=wire.model,
        dimensions=wire.output_dimension,
        normalize=True,
        truncate=wire.truncate != "NONE",
        truncation_direction="left" if wire.truncate == "START" else "right",
        input_type=wire.input_type,
        output_types=tuple(sorted(types)),
    )
    return Decoded(request, wire)


def encode_response(options: EmbedBody, result: EmbedResult) -> Encoded:
    wire = options
    embeddings: dict[str, Any] = {}
    for kind in wire.embedding_types:
        if kind == "base64":
            embeddings[kind] = base64_rows(result.vectors)
        elif kind == "float":
            embeddings[kind] = result.vectors
        else:
            embeddings[kind] = result.quantized[OutputType(kind)]
    body = {
        "id": result.request_id,
        "response_type": "embeddings_by_type",
        "embeddings": embeddings,
        "texts": wire.texts,
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": result.tokens},
            "model_version": result.version,
        },
    }
    return Encoded(encode_json(body))


def encode_error(message: str, request_id: str) -> bytes:
    return encode_json({"message": message, "id": request_id})
