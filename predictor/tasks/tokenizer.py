"""What the tokenizer does alone: texts to tokens and back, for every model, without an engine.

They take the way of every other request, so that keys, limits, admission and deadlines hold.
"""

from collections.abc import Sequence, Sized
from typing import Any, ClassVar

from msgspec import field

from predictor.engine.tokenizer import Piece
from predictor.tasks.task import ModelContext, Task, TaskRequest, TaskResult
from predictor.types import EngineOutput, Tokens

# Bytes of one token in an answer, about.
PIECE_BYTES = 64


class TokenizeRequest(TaskRequest, kw_only=True):
    """Texts to split into tokens."""

    texts: list[str]
    # Whether the tokens that the model wants before and after each text are listed too.
    add_special_tokens: bool = True
    # Name of the model's prompt that is put before each text.
    prompt_name: str | None = None


class TokenizeResult(TaskResult, kw_only=True):
    """The tokens of each text."""

    texts: list[list[Piece]]

    @property
    def content_bytes(self) -> int:
        """See `TaskResult.content_bytes`."""
        return PIECE_BYTES * self.tokens


class TokenizedTexts(Tokens):
    """No rows for the engine; the tokens themselves."""

    texts: list[list[Piece]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Tokens of all texts."""
        return sum(map(len, self.texts))


class TokenizeTask(Task[TokenizeRequest, TokenizeResult]):
    """Token ids, texts and places, as TEI's `/tokenize` has them."""

    name: ClassVar[str] = "tokenize"
    output: ClassVar[EngineOutput | None] = None
    universal: ClassVar[bool] = True

    def check(self, request: TokenizeRequest, model: ModelContext) -> None:
        """See `Task.check`."""
        model.check_count(len(request.texts))
        model.check_lengths(request.texts, "inputs", "characters")
        model.check_total(request.texts, "characters")

    def inputs(self, request: TokenizeRequest) -> Sequence[Sized]:
        """See `Task.inputs`."""
        return request.texts

    def rows(self, request: TokenizeRequest, model: ModelContext) -> TokenizedTexts:
        """See `Task.rows`."""
        prompt = model.prompt_for(request.prompt_name)
        special = request.add_special_tokens
        texts: list[list[Piece]] = []
        for text in request.texts:
            request.check_wanted()
            texts.append(model.tokenizer.pieces(prompt + text, add_special_tokens=special))
        return TokenizedTexts([], texts=texts)

    def result(
        self, request: TokenizeRequest, tokens: Tokens, output: Any, model: ModelContext
    ) -> TokenizeResult:
        """See `Task.result`."""
        return TokenizeResult(
            texts=tokens.texts if isinstance(tokens, TokenizedTexts) else [],
            tokens=tokens.total,
            truncated=[],
            model=model.name,
            version=model.version,
            revision=model.revision,
        )


class DecodeRequest(TaskRequest, kw_only=True):
    """Token ids to turn into texts."""

    ids: list[list[int]]
    # Whether tokens such as [CLS] are left out of the texts.
    skip_special_tokens: bool = True


class DecodeResult(TaskResult, kw_only=True):
    """The text of each list of ids."""

    texts: list[str]

    @property
    def content_bytes(self) -> int:
        """See `TaskResult.content_bytes`."""
        return sum(map(len, self.texts))


class DecodedTexts(Tokens):
    """No rows for the engine; the texts, and how many ids they were made of."""

    texts: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def total(self) -> int:
        """Ids of all lists."""
        return self.count


class DecodeTask(Task[DecodeRequest, DecodeResult]):
    """Texts of token ids, as TEI's `/decode` has them."""

    name: ClassVar[str] = "decode"
    output: ClassVar[EngineOutput | None] = None
    universal: ClassVar[bool] = True

    def check(self, request: DecodeRequest, model: ModelContext) -> None:
        """See `Task.check`."""
        model.check_count(len(request.ids))
        model.check_lengths(request.ids, "ids", "token ids")
        model.check_total(request.ids, "token ids")

    def inputs(self, request: DecodeRequest) -> Sequence[Sized]:
        """See `Task.inputs`."""
        return request.ids

    def rows(self, request: DecodeRequest, model: ModelContext) -> DecodedTexts:
        """See `Task.rows`."""
        skip = request.skip_special_tokens
        texts: list[str] = []
        for row in request.ids:
            request.check_wanted()
            texts.append(model.tokenizer.decode(row, skip_special_tokens=skip))
        return DecodedTexts([], texts=texts, count=sum(map(len, request.ids)))

    def result(
        self, request: DecodeRequest, tokens: Tokens, output: Any, model: ModelContext
    ) -> DecodeResult:
        """See `Task.result`."""
        return DecodeResult(
            texts=tokens.texts if isinstance(tokens, DecodedTexts) else [],
            tokens=tokens.total,
            truncated=[],
            model=model.name,
            version=model.version,
            revision=model.revision,
        )


TOKENIZE = TokenizeTask()
DECODE = DecodeTask()
