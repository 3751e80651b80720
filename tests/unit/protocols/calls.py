"""The codecs of the real application, called with bodies and headers as a test writes them."""

from typing import Any, NamedTuple, cast

from predictor.errors import PredictorError
from predictor.protocols.codec import Codec, Encoded
from predictor.server.application import put_together
from predictor.tasks.embed import EmbedRequest

APPLICATION = put_together()
GRPC = APPLICATION.grpc_codec


class DecodedCall(NamedTuple):
    """What a codec made of a body; the types are what the test asks for."""

    request: Any
    options: Any


class Sent:
    """Headers of a request; names in lower case."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def header(self, name: bytes) -> str | None:
        """See `Headers`."""
        return self._headers.get(name.decode())


def codec(name: str) -> Codec[bytes]:
    """A codec of REST by its name."""
    return APPLICATION.codecs[name]


def decode(
    name: str, body: bytes, task: str = "embed", headers: dict[str, str] | None = None
) -> DecodedCall:
    """A body as the codec of that name decodes it."""
    decoded = codec(name).decode(body, Sent(headers or {}), (task,))
    return DecodedCall(decoded.request, decoded.options)


def embed_request(name: str, body: bytes, headers: dict[str, str] | None = None) -> EmbedRequest:
    """The embed request in a body."""
    return cast(EmbedRequest, decode(name, body, headers=headers).request)


def decode_v2(body: bytes, json_length: int | None = None) -> DecodedCall:
    """A body of V2; json_length: of the JSON before binary data."""
    length = {} if json_length is None else {"inference-header-content-length": str(json_length)}
    return decode("v2", body, headers=length)


def encode(
    name: str, options: Any, result: Any, task: str = "embed", request_id: str = "r1"
) -> Encoded[bytes]:
    """A result as the codec of that name encodes it."""
    form = codec(name)._forms[task]  # type: ignore[attr-defined]
    return cast(Encoded[bytes], form.encode(options, result, request_id))


def encode_error(name: str, error: PredictorError, request_id: str = "r1") -> bytes:
    """An error as the codec of that name encodes it."""
    return codec(name).encode_error(error, request_id)
