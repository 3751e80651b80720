"""Ollama's routes for embeddings: `/api/embed`, and `/api/embeddings` of its older clients.

Both embed, but their bodies and answers differ, so each has a codec of its own. Sources:
github.com/ollama/ollama, api/types.go (EmbedRequest, EmbeddingRequest) and server/routes.go.
"""

from typing import ClassVar

import msgspec

from predictor.errors import InvalidInput, PredictorError
from predictor.protocols.codec import Encoded, Headers, RestCodec
from predictor.protocols.vector_fields import EmbedFields
from predictor.protocols.wire import as_inputs, decode_json, encode_json, json_array
from predictor.tasks.embed import EmbedRequest, EmbedResult
from predictor.types import Inputs

# The tag that Ollama's clients add to a name without one.
LATEST = ":latest"


class OllamaOptions(msgspec.Struct):
    """The option that changes vectors; the others are about generation and hardware."""

    num_ctx: int | None = None


class OllamaEmbedBody(EmbedFields, kw_only=True):
    """The body of `POST /api/embed`."""

    model: str
    input: str | list[str]
    options: OllamaOptions | None = None


class OllamaPromptBody(EmbedFields, kw_only=True):
    """The body of `POST /api/embeddings`: one text, in a field that elsewhere is refused."""

    model: str
    prompt: str
    options: OllamaOptions | None = None


def model_name(name: str) -> str:
    """The model that a name of Ollama's form means: `minilm:latest` is `minilm`."""
    return name.removesuffix(LATEST)


def _request(wire: OllamaEmbedBody | OllamaPromptBody, inputs: Inputs) -> EmbedRequest:
    """The request of a body. Raises InvalidInput: an unknown word, or a contradiction."""
    options = wire.embed_options()
    length = None if wire.options is None else wire.options.num_ctx
    if length is not None and options.setdefault("max_tokens", length) != length:
        raise InvalidInput(
            f"options.num_ctx is {length} and truncate_prompt_tokens is "
            f"{options['max_tokens']}; they mean the same",
            param="options.num_ctx",
        )
    return EmbedRequest(inputs=inputs, model=model_name(wire.model), **options)


class OllamaEmbed:
    """`/api/embed`. The option of an answer is the model's name as it was sent."""

    task: ClassVar[str] = "embed"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, str]:
        """See `Form.decode`."""
        del headers
        wire = decode_json(body, OllamaEmbedBody)
        inputs = as_inputs(wire.input, "input")  # type: ignore[arg-type]  # lists are invariant
        return _request(wire, inputs), wire.model

    def encode(self, options: str, result: EmbedResult, request_id: str) -> Encoded[bytes]:
        """See `Form.encode`."""
        del request_id
        body = {
            "model": options,
            "embeddings": json_array(result.vectors),
            "prompt_eval_count": result.tokens,
        }
        return Encoded(encode_json(body))


class OllamaPrompt:
    """`/api/embeddings`: one vector."""

    task: ClassVar[str] = "embed"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, None]:
        """See `Form.decode`."""
        del headers
        wire = decode_json(body, OllamaPromptBody)
        return _request(wire, [wire.prompt]), None

    def encode(self, options: None, result: EmbedResult, request_id: str) -> Encoded[bytes]:
        """See `Form.encode`."""
        del options, request_id
        return Encoded(encode_json({"embedding": result.vectors[0]}))


class OllamaCodec(RestCodec):
    """`/api/embed`."""

    name = "ollama"

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """Ollama's error object."""
        del request_id
        return encode_json({"error": str(error)})


class OllamaPromptCodec(OllamaCodec):
    """`/api/embeddings`."""

    name = "ollama_prompt"
