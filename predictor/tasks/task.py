"""The interface between the way of a request, which is the same for all tasks, and one task.

`preprocess` checks a request and turns its inputs into rows, `predict` runs the rows (cache,
scheduler and engine see rows and nothing of the task), `postprocess` turns the engine's output into
the result. A new task is a new file here, one form for each protocol that speaks it, and one line
where the application is put together.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from msgspec import Struct

from predictor.bundle.manifest import Bundle
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import (
    BatchTooLarge,
    DeadlineExceeded,
    EmptyInput,
    InputTooLong,
    InvalidInput,
)
from predictor.settings import RequestSettings
from predictor.tasks.configuration import Configuration
from predictor.types import Direction, EngineOutput, Lane, Tokens

# Cohere's input types, and the prompt names that models use for the same thing.
PROMPT_NAMES = {
    "search_query": ("search_query", "query", "s2p_query"),
    "search_document": ("search_document", "document", "passage", "corpus"),
    "classification": ("classification", "Classification"),
    "clustering": ("clustering", "Clustering"),
}


# Characters of a text, at most, of which one token is charged to the API key that sent it.
CHARACTERS_A_TOKEN = 4
# Characters of the longest text for each token that the model takes, unless the settings say
# otherwise. It is TEI's factor.
CHARACTERS_A_MODEL_TOKEN = 250


class TokenIds(Protocol):
    """Token ids of texts; see `Tokenizer.ids`."""

    def __call__(
        self,
        texts: Sequence[str],
        direction: Direction = "right",
        *,
        check_wanted: Callable[[], None] = ...,
    ) -> list[list[int]]: ...


class TaskRequest(Struct, kw_only=True):
    """What a request of any task may say; `None` means: as the server is configured."""

    # Name of the model, where the protocol has it in the body or in a header of its own.
    model: str = ""
    # The queue that the request asks for.
    lane: Lane | None = None
    # Seconds until the client stops waiting.
    timeout_s: float | None = None
    # Whether rows may come from the cache and go into it.
    cache: bool = True
    # Whether no client waits for the answer any more. The pipeline sets it while the request is
    # tokenised in a thread, which then ends early.
    abandoned: bool = False

    def check_wanted(self) -> None:
        """Raise DeadlineExceeded, which is not read, if no client waits for the answer any more."""
        if self.abandoned:
            raise DeadlineExceeded("no client waits for the answer any more")


class TaskResult(Struct, kw_only=True):
    """What the answer to a request of any task tells."""

    # Name, version and revision of the model that answered.
    model: str
    version: str
    revision: str
    # Tokens that the request cost, special tokens included.
    tokens: int
    # Indices of the inputs that lost tokens.
    truncated: list[int]
    # The input type of the request, if the model has no prompt for it.
    missing_prompt: str = ""

    @property
    def content_bytes(self) -> int:
        """Bytes of what the answer holds, about; a larger one is encoded outside of the loop."""
        return 0

    @property
    def truncated_list(self) -> str:
        """The indices of the truncated inputs as every protocol writes them: `0,7`."""
        return ",".join(map(str, self.truncated))


@dataclass(frozen=True, slots=True)
class ModelContext:
    """What a task may know of the model version that it runs on."""

    name: str
    version: str
    revision: str
    bundle: Bundle
    tokenizer: Tokenizer
    # Token ids of texts, through the cache of ids where there is one.
    token_ids: TokenIds
    limits: RequestSettings
    configuration: Configuration
    # Of the configuration; see there.
    prompts: Mapping[str, str] = field(init=False)
    default_prompt: str = field(init=False)
    normalize: bool = field(init=False)
    # Characters of the longest text that is taken.
    max_text_characters: int = field(init=False)

    def __post_init__(self) -> None:
        limit = self.limits.max_text_characters
        limit = limit or CHARACTERS_A_MODEL_TOKEN * self.tokenizer.max_length
        object.__setattr__(self, "max_text_characters", limit)
        for name in ("prompts", "default_prompt", "normalize"):
            object.__setattr__(self, name, getattr(self.configuration, name))

    def check_count(self, count: int) -> None:
        """Raise EmptyInput or BatchTooLarge for a number of inputs that no request may have."""
        limit = self.limits.max_client_batch_size
        if not count:
            raise EmptyInput("no inputs; at least one text is needed")
        if count > limit:
            raise BatchTooLarge(f"{count} inputs; the limit is {limit} a request")

    def check_lengths(self, inputs: Sequence[Sized], name: str, unit: str) -> None:
        """Refuse an input that is too long to be looked at.

        Args:
            name: of the inputs, for the error.
            unit: what their lengths count.

        Raises:
            InputTooLong: which input, its length and the limit.
        """
        limit = self.max_text_characters
        if max(map(len, inputs)) <= limit:
            return
        for index, item in enumerate(inputs):
            if len(item) > limit:
                raise InputTooLong(
                    f"{name}[{index}] has {len(item)} {unit}; the limit is {limit} "
                    "(--max-text-characters)"
                )

    def check_total(self, inputs: Sequence[Sized], unit: str) -> None:
        """Refuse inputs whose tokens, all of which the answer lists, would be too many.

        Raises:
            InputTooLong: their length in all, and the limit.
        """
        limit = self.tokenizer.whole_characters
        total = sum(map(len, inputs))
        if total > limit:
            raise InputTooLong(f"the inputs have {total} {unit} in all; the limit is {limit}")

    def prompt_for(self, name: str | None, input_type: str | None = None) -> str:
        """The text put before each input.

        Raises:
            InvalidInput: the model has no prompt of that name.
        """
        prompts = self.prompts
        if name is not None:
            if name not in prompts:
                raise InvalidInput(
                    f"prompt_name {name[:80]!r} is unknown; this model has "
                    f"{', '.join(sorted(prompts)) or 'no prompts'}",
                    param="prompt_name",
                )
            return prompts[name]
        known = self._prompt_name(input_type or "")
        return self.default_prompt if known is None else prompts[known]

    def lacks_prompt(self, input_type: str) -> bool:
        """Whether the model has no prompt for texts of this type."""
        return self._prompt_name(input_type) is None

    def _prompt_name(self, input_type: str) -> str | None:
        names = PROMPT_NAMES.get(input_type, ())
        return next((name for name in names if name in self.prompts), None)


Request = TypeVar("Request", bound=TaskRequest)
Result = TypeVar("Result", bound=TaskResult)


class Task(ABC, Generic[Request, Result]):
    """One thing that models do. Stateless; one instance serves all models and threads."""

    # The word for it in bundles, codecs and errors.
    name: ClassVar[str]
    # What the engine has to give for each row; None: the task needs no engine.
    output: ClassVar[EngineOutput | None]
    # Whether every model does it, whatever its bundle lists (what needs the tokenizer alone).
    universal: ClassVar[bool] = False

    @abstractmethod
    def check(self, request: Request, model: ModelContext) -> None:
        """Refuse what the model cannot do, before anything is tokenised.

        Raises:
            InvalidInput: (or a subclass) what is wrong, the limit and the value.
        """

    @abstractmethod
    def inputs(self, request: Request) -> Sequence[Sized]:
        """The inputs as they came; their number is limited, small ones are prepared at once."""

    def least_tokens(self, request: Request, model: ModelContext) -> int:
        """Tokens that are charged whatever comes of the inputs, before they are tokenised.

        It is 0 for a request of short inputs only, whose tokens are charged as they are counted.
        """
        plain = model.tokenizer.plain_characters
        long = (len(item) for item in self.inputs(request) if len(item) > plain)
        return sum(length // CHARACTERS_A_TOKEN for length in long)

    @abstractmethod
    def rows(self, request: Request, model: ModelContext) -> Tokens:
        """The rows that the engine runs; may be called in a thread. Empty without an engine.

        Raises:
            InvalidInput: (or a subclass) an input cannot be turned into rows.
        """

    @abstractmethod
    def result(self, request: Request, tokens: Tokens, output: Any, model: ModelContext) -> Result:
        """The result out of the engine's output, one row of it for each of `tokens`.

        Args:
            output: `[rows, ...]` of the kind that `output` names; None where that is None.
        """
