"""OpenAI's embeddings API, as its clients speak it.

The Python client asks for base64 unless told otherwise. Source: github.com/openai/openai-openapi
(CreateEmbeddingRequest, CreateEmbeddingResponse).
"""

from typing import Literal

import msgspec

from predictor.protocols.wire import (
    Decoded,
    Encoded,
    RawInputs,
    as_inputs,
    base64_rows,
    decode_json,
    encode_json,
)
from predictor.types import EmbedRequest, EmbedResult

EncodingFormat = Literal["float", "base64"]


class EmbeddingsRequest(msgspec.Struct):
    input: RawInputs
    model: str
    encoding_format: EncodingFormat = "float"
    dimensions: int | None = None
    user: str | None = None


def decode_request(body: bytes) -> Decoded[EncodingFormat]:
    """Raise InvalidInput (or a subclass) for what is not an embeddings request."""
    wire = decode_json(body, EmbeddingsRequest)
    request = EmbedRequest(
        inputs=as_inputs(wire.input, "input"),
        protocol="openai",
        model=wire.model,
        dimensions=wire.dimensions,
    )
    return Decoded(request, wire.encoding_format)


def encode_response(options: EncodingFormat, result: EmbedResult) -> Encoded:
    rows = base64_rows(result.vectors) if options == "base64" else list(result.vectors)
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": row}
            for index, row in enumerate(rows)
        ],
        "model": result.model,
        "model_version": result.version,
        "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
    }
    return Encoded(encode_json(body))


# OpenAI's `type` by HTTP status; clients retry on rate_limit_error and server_error.
_TYPES = {404: "invalid_request_error", 429: "rate_limit_error"}


def encode_error(message: str, status: int, code: str) -> bytes:
    """OpenAI's error object."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return encode_json({"error": {"message": message, "type": kind, "param": None, "code": code}})
