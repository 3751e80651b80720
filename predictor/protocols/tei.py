"""Text Embeddings Inference's native routes, with its fields, defaults and error shape.

Source: github.com/huggingface/text-embeddings-inference, router/src/http/types.rs and
docs/openapi.json (v1.9).
"""

from typing import ClassVar

from predictor.errors import EmptyInput, PredictorError
from predictor.protocols.codec import HTTP_STATUS, Encoded, Headers, RestCodec
from predictor.protocols.vector_fields import EmbedFields
from predictor.protocols.wire import RawInputs, as_inputs, decode_json, encode_json, json_array
from predictor.tasks.embed import EmbedRequest, EmbedResult


class TeiEmbedBody(EmbedFields, kw_only=True):
    """The body of `POST /embed`."""

    inputs: RawInputs


def model_of(headers: Headers) -> str:
    """The model that `X-Model` names: TEI's bodies have no place for it."""
    return headers.header(b"x-model") or ""


class TeiEmbed:
    """`/embed`, and `/` by POST."""

    task: ClassVar[str] = "embed"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, None]:
        """See `Form.decode`. Raises EmptyInput for an empty text too, as TEI does."""
        wire = decode_json(body, TeiEmbedBody)
        inputs = as_inputs(wire.inputs, "inputs")
        if "" in inputs:
            raise EmptyInput("`inputs` cannot be empty")
        request = EmbedRequest(inputs=inputs, model=model_of(headers), **wire.embed_options())
        return request, None

    def encode(self, options: None, result: EmbedResult, request_id: str) -> Encoded[bytes]:
        """See `Form.encode`."""
        del options, request_id
        return Encoded(encode_json(json_array(result.vectors)))


# TEI's error_type by our code; everything else about the input is "Validation".
_TYPES = {
    "empty_input": "Empty",
    "overloaded": "Overloaded",
    "rate_limit_exceeded": "Overloaded",
    "not_ready": "Unhealthy",
    "deadline_exceeded": "Backend",
    "task_not_supported": "Backend",
    "engine_error": "Backend",
    "engine_out_of_memory": "Backend",
    "internal": "Backend",
}
# Statuses that TEI gives where other protocols here give 400.
_STATUS = HTTP_STATUS | {
    "invalid_input": 422,
    "input_too_long": 422,
    "batch_too_large": 422,
    "task_not_supported": 424,
}


class TeiCodec(RestCodec):
    """TEI's routes."""

    name = "tei"

    def status(self, error: PredictorError) -> int:
        """See `Codec.status`; TEI has statuses of its own for bad input."""
        return _STATUS[error.code]

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """TEI's error object."""
        del request_id
        kind = _TYPES.get(error.code, "Validation")
        return encode_json({"error": str(error), "error_type": kind})
