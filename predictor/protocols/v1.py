"""KServe's V1: `{"instances": [...]}` in, `{"predictions": [[...], ...]}` out."""

from typing import ClassVar

import msgspec

from predictor.errors import PredictorError
from predictor.protocols.codec import Encoded, Headers, RestCodec
from predictor.protocols.vector_fields import EmbedFields
from predictor.protocols.wire import as_inputs, decode_json, encode_json, json_array
from predictor.tasks.embed import EmbedRequest, EmbedResult


class V1Parameters(EmbedFields, kw_only=True):
    """The same parameters as V2's."""


class PredictRequest(msgspec.Struct):
    """The body of `POST /v1/models/{model}:predict`: texts or token lists."""

    instances: list[str | int | list[int]]
    parameters: V1Parameters | None = None


_NO_PARAMETERS = V1Parameters()


class V1Embed:
    """`/v1/models/{model}:predict`."""

    task: ClassVar[str] = "embed"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, None]:
        """See `Form.decode`."""
        del headers
        wire = decode_json(body, PredictRequest)
        parameters = wire.parameters or _NO_PARAMETERS
        inputs = as_inputs(wire.instances, "instances")
        request = EmbedRequest(inputs=inputs, **parameters.embed_options())
        return request, None

    def encode(self, options: None, result: EmbedResult, request_id: str) -> Encoded[bytes]:
        """See `Form.encode`."""
        del options, request_id
        body = {"predictions": json_array(result.vectors), "model_version": result.version}
        return Encoded(encode_json(body))


class V1Codec(RestCodec):
    """KServe's V1 routes."""

    name = "v1"

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """KServe's error object."""
        del request_id
        return encode_json({"error": str(error)})
