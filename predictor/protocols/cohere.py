"""Cohere's `/v2/embed` and `/v1/embed`: several embedding types at once, prompts by input type.

Version 1 differs in the answer to a request that names no embedding type. Sources:
docs.cohere.com/reference/embed and docs.cohere.com/v1/reference/embed.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec

from predictor.errors import EmptyInput, InvalidInput, PredictorError
from predictor.protocols.codec import Encoded, Headers, RestCodec
from predictor.protocols.vector_fields import EmbedFields, lane_of
from predictor.protocols.wire import (
    base64_rows,
    decode_json,
    encode_json,
    first_duplicate,
    json_array,
)
from predictor.tasks.embed import EmbedRequest, EmbedResult
from predictor.types import OutputType

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
InputType = Literal["search_query", "search_document", "classification", "clustering", "image"]


class CohereContent(msgspec.Struct, kw_only=True):
    """A part of a mixed input."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: dict[str, Any] | None = None


class CohereInput(msgspec.Struct, kw_only=True):
    """An input that may have texts and images."""

    content: list[CohereContent]


class CohereEmbedBody(EmbedFields, kw_only=True):
    """The body of `POST /v2/embed` and `/v1/embed`."""

    model: str | None = None
    input_type: InputType | None = None
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[CohereInput] | None = None
    embedding_types: list[EmbeddingType] | None = None
    truncate: Literal["NONE", "START", "END"] | None = None
    # Tokens of the longest text, special tokens included; the rest is cut.
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    # A lower number is more urgent.
    priority: int | str | None = None


def _texts_of(wire: CohereEmbedBody) -> list[str]:
    """The texts of a body, each given by itself or as the only content of a mixed input.

    Raises:
        InvalidInput: there are images, or an input with more than one text.
        EmptyInput: there is no text.
    """
    if wire.images or wire.input_type == "image":
        raise InvalidInput("this model embeds texts; images are not served", param="images")
    if wire.texts and wire.inputs:
        raise InvalidInput("texts and inputs are both given; send one of them", param="inputs")
    texts = list(wire.texts or ())
    for index, mixed in enumerate(wire.inputs or ()):
        parts = mixed.content
        if len(parts) != 1 or parts[0].text is None:
            raise InvalidInput(
                f"inputs[{index}].content has to be one text; images, and several parts for one "
                "vector, are not served",
                param="inputs",
            )
        texts.append(parts[0].text)
    if not texts:
        raise EmptyInput("texts is empty; at least one text is needed")
    return texts


def _types_of(wire: CohereEmbedBody) -> tuple[OutputType, ...]:
    """The types to compute. Raises InvalidInput: none, or one of them twice."""
    if wire.embedding_types is None:
        return (OutputType.FLOAT,)
    if not wire.embedding_types:
        raise InvalidInput("embedding_types is empty; leave it out for float")
    if (duplicate := first_duplicate(wire.embedding_types)) is not None:
        raise InvalidInput(
            f"embedding_types has {duplicate!r} twice; each type may be asked for once"
        )
    types = {OutputType.FLOAT if t == "base64" else OutputType(t) for t in wire.embedding_types}
    return tuple(sorted(types))


class CohereEmbed:
    """`/v2/embed`. The options of an answer are the request's body, which it repeats in part."""

    task: ClassVar[str] = "embed"
    api_version: ClassVar[str] = "2"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, CohereEmbedBody]:
        """See `Form.decode`."""
        del headers
        wire = decode_json(body, CohereEmbedBody)
        wire.texts = _texts_of(wire)
        defaults = {"truncate": True, "max_tokens": wire.max_tokens}
        request = EmbedRequest(
            inputs=list(wire.texts),
            model=wire.model or "",
            lane=lane_of(wire.priority),
            output_types=_types_of(wire),
            **(defaults | wire.embed_options()),
        )
        return request, wire

    def encode(
        self, options: CohereEmbedBody, result: EmbedResult, request_id: str
    ) -> Encoded[bytes]:
        """See `Form.encode`."""
        body = {
            "id": request_id,
            **self.embeddings(options, result),
            "texts": options.texts,
            "meta": {
                "api_version": {"version": self.api_version},
                "billed_units": {"input_tokens": result.tokens},
                "model_version": result.version,
            },
        }
        return Encoded(encode_json(body))

    def embeddings(self, options: CohereEmbedBody, result: EmbedResult) -> dict[str, Any]:
        """The vectors by their types, of which float is the default."""
        embeddings: dict[str, Any] = {}
        for kind in options.embedding_types or ("float",):
            if kind == "base64":
                embeddings[kind] = base64_rows(result.vectors)
            elif kind == "float":
                embeddings[kind] = json_array(result.vectors)
            else:
                embeddings[kind] = json_array(result.quantized[OutputType(kind)])
        return {"response_type": "embeddings_by_type", "embeddings": embeddings}


class CohereV1Embed(CohereEmbed):
    """`/v1/embed`."""

    api_version: ClassVar[str] = "1"

    def embeddings(self, options: CohereEmbedBody, result: EmbedResult) -> dict[str, Any]:
        """A list of vectors, unless types were asked for."""
        if options.embedding_types is not None:
            return super().embeddings(options, result)
        return {"response_type": "embeddings_floats", "embeddings": json_array(result.vectors)}


class CohereCodec(RestCodec):
    """Cohere's routes."""

    name = "cohere"

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """Cohere's error object."""
        return encode_json({"message": str(error), "id": request_id})


class CohereV1Codec(CohereCodec):
    """The routes of version 1."""

    name = "cohere_v1"
