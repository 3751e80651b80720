"""Texts or token ids to vectors: the task of embedding models."""

from collections.abc import Sequence, Sized
from typing import ClassVar

from msgspec import field

from predictor.engine.pooling import finish
from predictor.engine.quantize import Quantized, quantize
from predictor.errors import INPUTS, InvalidInput
from predictor.tasks.task import (
    CHARACTERS_A_TOKEN,
    ModelContext,
    Task,
    TaskRequest,
    TaskResult,
)
from predictor.types import Direction, EngineOutput, FloatRows, Inputs, OutputType, Tokens


class EmbedRequest(TaskRequest, kw_only=True):
    """Inputs to embed; `None` means: as the model or the server is configured."""

    # Texts, or token ids of this model's tokenizer; all of one kind.
    inputs: Inputs
    # Components to keep of each vector.
    dimensions: int | None = None
    # Whether vectors are scaled to length 1; None: as the server is configured (--normalize).
    normalize: bool | None = None
    # Whether inputs over the model's length are cut (and reported) or refused.
    truncate: bool | None = None
    # The end that is cut.
    truncation_direction: Direction = "right"
    # Tokens of the longest input, special tokens included, where fewer than the model takes.
    max_tokens: int | None = None
    # Name of the model's prompt that is put before each text.
    prompt_name: str | None = None
    # Cohere's name of what the texts are for; mapped to one of the model's prompts.
    input_type: str | None = None
    # The forms in which the vectors are delivered.
    output_types: tuple[OutputType, ...] = (OutputType.FLOAT,)


class EmbedResult(TaskResult, kw_only=True):
    """One vector for each input."""

    # float32 `[N, dim]`, cut and normalised.
    vectors: FloatRows
    # The same rows in the other types that were asked for.
    quantized: dict[OutputType, Quantized] = field(default_factory=dict)

    @property
    def content_bytes(self) -> int:
        """See `TaskResult.content_bytes`."""
        return self.vectors.nbytes * (1 + len(self.quantized))


class EmbedTask(Task[EmbedRequest, EmbedResult]):
    """Tokenise with the prompt, run, cut, normalise, quantise. Pooling is the engine's."""

    name: ClassVar[str] = "embed"
    output: ClassVar[EngineOutput | None] = EngineOutput.EMBEDDING

    def check(self, request: EmbedRequest, model: ModelContext) -> None:
        """See `Task.check`: number of inputs, dimensions, and whether token ids are taken."""
        inputs = request.inputs
        model.check_count(len(inputs))
        is_text = isinstance(inputs[0], str)
        model.check_lengths(inputs, "inputs", "characters" if is_text else "token ids")
        _check_dimensions(request.dimensions, model)
        if not is_text and model.limits.token_ids == "refuse":
            raise InvalidInput(
                "token ids are refused here (--token-ids refuse): they must be of this model's own "
                "tokenizer; send texts (langchain: check_embedding_ctx_length=False)",
                param=INPUTS,
            )

    def inputs(self, request: EmbedRequest) -> Sequence[Sized]:
        """See `Task.inputs`."""
        return request.inputs

    def rows(self, request: EmbedRequest, model: ModelContext) -> Tokens:
        """See `Task.rows`: token ids with the prompt before them, at most the model's length.

        Raises:
            InvalidInput: (or a subclass) an input is not valid, or too long with truncation off.
        """
        truncate = model.limits.auto_truncate if request.truncate is None else request.truncate
        inputs = request.inputs
        direction = request.truncation_direction
        if not isinstance(inputs[0], str):
            return model.tokenizer.wrap(
                inputs, truncate=truncate, direction=direction, most=request.max_tokens
            )
        prompt = model.prompt_for(request.prompt_name, request.input_type)
        texts: list[str] = inputs
        if prompt:
            texts = [prompt + text for text in texts]
        rows = model.token_ids(texts, direction, check_wanted=request.check_wanted)
        plain = model.tokenizer.plain_characters
        uncounted = 0
        if max(map(len, inputs)) > plain:
            uncounted = _uncounted(inputs, rows, plain)
        tokens = model.tokenizer.limit(
            rows, truncate=truncate, direction=direction, most=request.max_tokens
        )
        tokens.extra += uncounted
        return tokens

    def result(
        self, request: EmbedRequest, tokens: Tokens, output: FloatRows, model: ModelContext
    ) -> EmbedResult:
        """See `Task.result`. output: pooled, un-normalised vectors `[N, dim]`."""
        normalize = model.normalize if request.normalize is None else request.normalize
        vectors = finish(output, request.dimensions, normalize)
        quantized: dict[OutputType, Quantized] = {
            kind: quantize(vectors, kind)
            for kind in request.output_types
            if kind is not OutputType.FLOAT
        }
        input_type = request.input_type
        return EmbedResult(
            vectors=vectors,
            quantized=quantized,
            tokens=tokens.total,
            truncated=tokens.truncated,
            model=model.name,
            version=model.version,
            revision=model.revision,
            missing_prompt=input_type if input_type and model.lacks_prompt(input_type) else "",
        )


def _uncounted(texts: Sequence[str], rows: Sequence[Sized], plain: int) -> int:
    """Tokens to charge for long texts (of more than `plain` characters) beside those of the rows.

    A long text may have been tokenised in part, or have far more characters than tokens.
    """
    return sum(
        max(0, len(text) // CHARACTERS_A_TOKEN - len(row))
        for text, row in zip(texts, rows, strict=True)
        if len(text) > plain
    )


def _check_dimensions(dimensions: int | None, model: ModelContext) -> None:
    bundle = model.bundle
    if dimensions is None or dimensions == bundle.dimensions:
        return
    if not 1 <= dimensions <= bundle.dimensions:
        raise InvalidInput(
            f"dimensions is {dimensions}; this model gives 1 to {bundle.dimensions}",
            param="dimensions",
        )
    if bundle.matryoshka and dimensions not in bundle.matryoshka:
        listed = ", ".join(map(str, bundle.matryoshka))
        raise InvalidInput(
            f"dimensions is {dimensions}; this model was trained to be cut to {listed}",
            param="dimensions",
        )


EMBED = EmbedTask()
