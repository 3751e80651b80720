"""Text Embeddings Inference's native routes, with its fields, defaults and error shape.

Source: github.com/huggingface/text-embeddings-inference, router/src/http/types.rs and
docs/openapi.json (v1.9).
"""

from typing import Literal

import msgspec

from predictor.errors import EmptyInput
from predictor.protocols.wire import (
    Decoded,
    Encoded,
    RawInputs,
    as_inputs,
    decode_json,
    encode_json,
)
from predictor.types import EmbedRequest, EmbedResult

TokenPiece = tuple[int, str, bool, tuple[int, int] | None]


class EmbedBody(msgspec.Struct):
    inputs: RawInputs
    truncate: bool | None = None
    truncation_direction: Literal["Left", "Right", "left", "right"] = "Right"
    prompt_name: str | None = None
    normalize: bool = True
    dimensions: int | None = None


class TokenizeBody(msgspec.Struct):
    inputs: str | list[str]
    add_special_tokens: bool = True
    prompt_name: str | None = None


class DecodeBody(msgspec.Struct):
    ids: list[int | list[int]]
    skip_special_tokens: bool = True


def decode_request(body: bytes) -> Decoded[None]:
    """Raise EmptyInput for an empty text too, as TEI does."""
    wire = decode_json(body, EmbedBody)
    inputs = as_inputs(wire.inputs, "inputs")
    if "" in inputs:
        raise EmptyInput("`inputs` cannot be empty")
    request = EmbedRequest(
        inputs=inputs,
        protocol="tei",
        truncate=wire.truncate,
        truncation_direction="left" if wire.truncation_direction in ("Left", "left") else "right",
        prompt_name=wire.prompt_name,
        normalize=wire.normalize,
        dimensions=wire.dimensions,
    )
    return Decoded(request, None)


def encode_response(options: None, result: EmbedResult) -> Encoded:
    del options
    return Encoded(encode_json(result.vectors))


def decode_tokenize(body: bytes) -> TokenizeBody:
    """Raise InvalidInput (or a subclass) for what is not a tokenize request."""
    wire = decode_json(body, TokenizeBody)
    texts = [wire.inputs] if isinstance(wire.inputs, str) else wire.inputs
    if not texts or "" in texts:
        raise EmptyInput("`inputs` cannot be empty")
    return msgspec.structs.replace(wire, inputs=texts)


def encode_tokenize(texts: list[list[TokenPiece]]) -> Encoded:
    """Each token as TEI writes it; special tokens have no place in the text."""
    body = [
        [
            {
                "id": token,
                "text": piece,
                "special": special,
                "start": span[0] if span else None,
                "stop": span[1] if span else None,
            }
            for token, piece, special, span in pieces
        ]
        for pieces in texts
    ]
    return Encoded(encode_json(body))


def decode_decode(body: bytes) -> tuple[list[list[int]], bool]:
    """Rows of ids, and whether special tokens are left out of the text.

    Raises:
        InvalidInput: not a decode request, or empty.
    """
    wire = decode_json(body, DecodeBody)
    return as_inputs(wire.ids, "ids"), wire.skip_special_tokens  # type: ignore[arg-type,return-value]


# TEI's error_type by our code; everything else about the input is "Validation".
_TYPES = {
    "empty_input": "Empty",
    "overloaded": "Overloaded",
    "rate_limit_exceeded": "Overloaded",
    "not_ready": "Unhealthy",
    "deadline_exceeded": "Backend",
    "engine_error": "Backend",
    "engine_out_of_memory": "Backend",
    "internal": "Backend",
}
# Statuses that TEI gives where other protocols here give 400.
STATUS = {"invalid_input": 422, "input_too_long": 422, "batch_too_large": 422}


def encode_error(message: str, code: str) -> bytes:
    return encode_json({"error": message, "error_type": _TYPES.get(code, "Validation")})
