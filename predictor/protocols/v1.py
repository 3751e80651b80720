"""KServe's V1: `{"instances": [...]}` in, `{"predictions": [[...], ...]}` out."""

import msgspec

from predictor.protocols.wire import Decoded, Encoded, as_inputs, decode_json, encode_json
from predictor.types import EmbedRequest, EmbedResult


class Parameters(msgspec.Struct):
    """The same parameters as V2's."""

    dimensions: int | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    prompt_name: str | None = None


class PredictRequest(msgspec.Struct):
    instances: list[str | int | list[int]]
    parameters: Parameters = msgspec.field(default_factory=Parameters)


def decode_request(body: bytes) -> Decoded[None]:
    """Raise InvalidInput (or a subclass) for anything but texts or token lists."""
    wire = decode_json(body, PredictRequest)
    parameters = wire.parameters
    request = EmbedRequest(
        inputs=as_inputs(wire.instances, "instances"),
        protocol="v1",
        dimensions=parameters.dimensions,
        normalize=parameters.normalize,
        truncate=parameters.truncate,
        prompt_name=parameters.prompt_name,
    )
    return Decoded(request, None)


def encode_response(options: None, result: EmbedResult) -> Encoded:
    del options
    body = {"predictions": result.vectors, "model_version": result.version}
    return Encoded(encode_json(body))


def encode_error(message: str) -> bytes:
    return encode_json({"error": message})
