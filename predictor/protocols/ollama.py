"""Ollama's routes for embeddings: `/api/embed`, and `/api/embeddings` of its older clients.

Both embed, but their bodies and answers differ, so each has a codec of its own. Sources:
github.com/ollama/ollama, api/types.go (EmbedRequest, EmbeddingRequest) and server/routes.go.
"""

from typing import Any, ClassVar

import msgspec

from predictor.errors import InvalidInput, PredictorError
from predictor.protocols.codec import Encoded, Headers, RestCodec
from predictor.protocols.wire import as_inputs, decode_json, encode_json, json_array
from predictor.tasks.embed import EmbedRequest, EmbedResult

# The tag that Ollama's clients add to a name without one.
LATEST = ":latest"


class OllamaEmbedBody(msgspec.Struct):
    """The body of `POST /api/embed`."""

    model: str
    input: str | list[str]
    truncate: bool | None = None
    dimensions: int | None = None
    options: dict[str, Any] | None = None


class OllamaPromptBody(msgspec.Struct):
    """The body of `POST /api/embeddings`: one text."""

    model: str
    prompt: str
    options: dict[str, Any] | None = None


def model_name(name: str) -> str:
    """The model that a name of Ollama's form means: `minilm:latest` is `minilm`."""
    return name.removesuffix(LATEST)


def _check_options(options: dict[str, Any] | None) -> None:
    """Refuse the option that would change vectors; the others are about generation and hardware.

    Raises:
        InvalidInput: `num_ctx` has a value.
    """
    length = None if options is None else options.get("num_ctx")
    if length is not None:
        raise InvalidInput(
            f"options.num_ctx is {str(length)[:20]}, but it is not supported: a text is cut at the "
            "model's own length; leave num_ctx out"
        )


class OllamaEmbed:
    """`/api/embed`. The option of an answer is the model's name as it was sent."""

    task: ClassVar[str] = "embed"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, str]:
        """See `Form.decode`."""
        del headers
        wire = decode_json(body, OllamaEmbedBody)
        _check_options(wire.options)
        request = EmbedRequest(
            inputs=as_inputs(wire.input, "input"),  # type: ignore[arg-type]  # lists are invariant
            model=model_name(wire.model),
            dimensions=wire.dimensions,
            truncate=wire.truncate,
        )
        return request, wire.model

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
        _check_options(wire.options)
        return EmbedRequest(inputs=[wire.prompt], model=model_name(wire.model)), None

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
