"""OpenAI's embeddings API, as its clients speak it.

The Python client asks for base64 unless told otherwise. Source: github.com/openai/openai-openapi
(CreateEmbeddingRequest, CreateEmbeddingResponse).
"""

from typing import Any, ClassVar, Literal, NamedTuple

from predictor.errors import INPUTS, InvalidInput, PredictorError
from predictor.protocols.codec import Encoded, Headers, RestCodec
from predictor.protocols.vector_fields import EmbedFields, lane_of
from predictor.protocols.wire import (
    RawInputs,
    as_inputs,
    base64_rows,
    decode_json,
    encode_json,
    json_rows,
)
from predictor.tasks.embed import EmbedRequest, EmbedResult
from predictor.types import OutputType

EncodingFormat = Literal["float", "base64"]
JinaType = Literal["float", "base64", "binary", "ubinary"]


class EmbeddingsRequest(EmbedFields, kw_only=True):
    """The body of `POST /v1/embeddings`."""

    input: RawInputs
    model: str | None = None
    encoding_format: EncodingFormat | None = None
    # Voyage's and Jina's; Jina's names the encoding as well.
    output_dtype: OutputType | None = None
    embedding_type: JinaType | list[JinaType] | None = None
    # vLLM's, in which a lower number is more urgent.
    priority: int | str | None = None
    user: str | None = None

    @property
    def form(self) -> "VectorForm":
        """How the vectors are sent. Raises InvalidInput: fields contradict each other."""
        kind = self.embedding_type
        if isinstance(kind, list):
            if len(kind) != 1:
                raise InvalidInput(
                    f"embedding_type has {len(kind)} types; one type can be sent",
                    param="embedding_type",
                )
            kind = kind[0]
        encoding: EncodingFormat = self.encoding_format or "float"
        output = self.output_dtype or OutputType.FLOAT
        if kind is None:
            return VectorForm(encoding, output)
        if kind == "base64":
            encoding = "base64"
        other = OutputType.FLOAT if kind in ("float", "base64") else OutputType(kind)
        if self.output_dtype is not None and other is not output:
            raise InvalidInput(
                f"output_dtype is {output.value} and embedding_type is {kind}",
                param="embedding_type",
            )
        return VectorForm(encoding, other)


class VectorForm(NamedTuple):
    """How the vectors of an answer are written."""

    encoding: EncodingFormat
    output: OutputType


_PLAIN = VectorForm("float", OutputType.FLOAT)
_BASE64 = VectorForm("base64", OutputType.FLOAT)


class OpenAIEmbed:
    """`/v1/embeddings`. The option of an answer is the form of its vectors."""

    task: ClassVar[str] = "embed"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, VectorForm]:
        """See `Form.decode`."""
        del headers
        wire = decode_json(body, EmbeddingsRequest)
        request = EmbedRequest(
            inputs=as_inputs(wire.input, "input"),
            model=wire.model or "",
            **wire.embed_options(),
        )
        if wire.priority is not None:
            request.lane = lane_of(wire.priority)
        if wire.output_dtype is None and wire.embedding_type is None:
            return request, _BASE64 if wire.encoding_format == "base64" else _PLAIN
        form = wire.form
        request.output_types = (form.output,)
        return request, form

    def encode(self, options: VectorForm, result: EmbedResult, request_id: str) -> Encoded[bytes]:
        """See `Form.encode`."""
        del request_id
        vectors: Any = result.vectors
        if options.output is not OutputType.FLOAT:
            vectors = result.quantized[options.output]
        rows = base64_rows(vectors) if options.encoding == "base64" else list(vectors)
        data = [
            {"object": "embedding", "index": index, "embedding": row}
            for index, row in enumerate(rows)
        ]
        body = {
            "object": "list",
            "data": json_rows(data, vectors.size),
            "model": result.model,
            "model_version": result.version,
            "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
        }
        return Encoded(encode_json(body))


# OpenAI's `type` by HTTP status; clients retry on rate_limit_error and server_error.
_TYPES = {404: "invalid_request_error", 429: "rate_limit_error"}


class OpenAICodec(RestCodec):
    """OpenAI's routes."""

    name = "openai"

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """OpenAI's error object."""
        del request_id
        status = self.status(error)
        kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        param = "input" if error.param == INPUTS else error.param
        content = {"message": str(error), "type": kind, "param": param, "code": error.code}
        return encode_json({"error": content})
