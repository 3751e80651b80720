"""Fields of other servers that ask for another vector: honoured, or refused by name.

`HONOURED` are fields that have a meaning here, and `REFUSED` fields that pass only with a value
that asks for the vector that is sent anyway. Every body with inputs to embed has all of them by way
of `EmbedFields`. The decoder of a body checks a refused field, so that a request without them costs
nothing.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import msgspec

from predictor.errors import InvalidInput
from predictor.types import Direction, Lane

# Of a client's value, this much is repeated in an error.
SHOWN = 80


class VectorField(NamedTuple):
    """A field that changes vectors."""

    name: str
    # The servers or services that have it.
    peers: str
    # Of an honoured field: what it does here. Of a refused field: empty.
    meaning: str = ""
    # Values of a refused field that pass, beside null.
    passes: tuple[object, ...] = ()


HONOURED = (
    VectorField("dimensions", "OpenAI, TEI, Jina, vLLM", "components to keep"),
    VectorField("output_dimension", "Voyage, Cohere", "as `dimensions`"),
    VectorField("normalize", "TEI, vLLM", "whether vectors have length 1"),
    VectorField("normalized", "Jina", "as `normalize`"),
    VectorField("use_activation", "vLLM", "as `normalize`"),
    VectorField("prompt_name", "TEI, sentence-transformers", "the model's prompt of that name"),
    VectorField(
        "input_type",
        "Cohere, Voyage, NIM",
        "the model's prompt for `query`, `passage`, `document`, `search_query`, "
        "`search_document`, `classification` or `clustering`",
    ),
    VectorField(
        "task",
        "Jina",
        "as `input_type`: `retrieval.query`, `retrieval.passage`, and the words of `input_type`",
    ),
    VectorField(
        "truncate",
        "TEI, NIM, Cohere",
        "`true`, `END` or `START`: a long text is cut; `false` or `NONE`: it is refused",
    ),
    VectorField("truncation", "Voyage", "as `truncate`"),
    VectorField("truncation_side", "vLLM", "`left` or `right`: the end that is cut"),
    VectorField("truncation_direction", "TEI", "as `truncation_side`"),
    VectorField(
        "truncate_prompt_tokens",
        "vLLM",
        "tokens of the longest input, special tokens included; the rest is cut; -1: the model's",
    ),
)
REFUSED = (
    VectorField("add_special_tokens", "vLLM", passes=(True,)),
    VectorField("embd_normalize", "llama.cpp", passes=(2,)),
    VectorField("embed_dtype", "vLLM", passes=("float32",)),
    VectorField("embedding_type", "Jina", passes=("float", ["float"])),
    VectorField("embedding_types", "Cohere", passes=(["float"],)),
    VectorField("encoding_format", "OpenAI", passes=("float",)),
    VectorField("endianness", "vLLM", passes=("native", "little")),
    VectorField("images", "Cohere", passes=([],)),
    VectorField("instruction", "vLLM, Infinity", passes=("", False)),
    VectorField("late_chunking", "Jina", passes=(False,)),
    VectorField("max_tokens", "Cohere"),
    VectorField("messages", "vLLM", passes=([],)),
    VectorField("modality", "Infinity", passes=("text", "")),
    VectorField("output_dtype", "Voyage", passes=("float",)),
    VectorField("pooling", "vLLM, llama.cpp", passes=("", False)),
    VectorField("prompt", "sentence-transformers", passes=("", False)),
    VectorField("return_multivector", "Jina", passes=(False,)),
)


class RefusedValue:
    """What is decoded for a refused field whose value passes: nothing needs to be known of it."""

    field: ClassVar[VectorField]

    @classmethod
    def from_json(cls, value: object) -> "RefusedValue":
        """Raises InvalidInput: the value asks for another vector."""
        check_refused(cls.field, value)
        return cls()

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """As JSON Schema has it, for the documentation."""
        return {"enum": list(cls.field.passes), "description": "Refused with another value."}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = None  # type: ignore[assignment]


def check_refused(field: VectorField, value: object) -> None:
    """Raise InvalidInput, by name, for a value that asks for another vector."""
    if value is None or any(type(value) is type(each) and value == each for each in field.passes):
        return
    allowed = " or ".join(["null", *(shown_json(each) for each in field.passes)])
    raise InvalidInput(
        f"{field.name} is {shown_json(value)}, which this server cannot do; "
        f"leave it out, or send {allowed}",
        param=field.name,
    )


def shown_json(value: object) -> str:
    """A value as the client wrote it; a long one is cut."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


if TYPE_CHECKING:

    class RefusedFields(msgspec.Struct, kw_only=True):
        """A body with all refused fields."""

else:
    RefusedFields = msgspec.defstruct(
        "RefusedFields",
        [
            (field.name, type(field.name, (RefusedValue,), {"field": field}) | None, None)
            for field in REFUSED
        ],
        kw_only=True,
        module=__name__,
    )


class EmbedFields(RefusedFields, kw_only=True):
    """What every request with inputs to embed may say; see `HONOURED`."""

    dimensions: int | None = None
    output_dimension: int | None = None
    normalize: bool | None = None
    normalized: bool | None = None
    use_activation: bool | None = None
    prompt_name: str | None = None
    input_type: str | None = None
    task: str | None = None
    truncate: bool | Literal["NONE", "START", "END"] | None = None
    truncation: bool | None = None
    truncation_side: Literal["left", "right"] | None = None
    truncation_direction: Literal["Left", "Right", "left", "right"] | None = None
    truncate_prompt_tokens: int | None = None

    def embed_options(self) -> dict[str, Any]:
        """These fields as those of an `EmbedRequest`.

        Raises:
            InvalidInput: an unknown word, or two fields that contradict each other.
        """
        if (
            self.dimensions is None
            and self.output_dimension is None
            and self.normalize is None
            and self.normalized is None
            and self.use_activation is None
            and self.prompt_name is None
            and self.input_type is None
            and self.task is None
            and self.truncate is None
            and self.truncation is None
            and self.truncation_side is None
            and self.truncation_direction is None
            and self.truncate_prompt_tokens is None
        ):
            return {}  # nearly all requests; the comparisons take 0.1 µs
        options: dict[str, Any] = {}
        if self.dimensions is not None or self.output_dimension is not None:
            options["dimensions"] = self._agreed("dimensions", "output_dimension")
        normalize = self._agreed("normalize", "normalized", "use_activation")
        if normalize is not None:
            options["normalize"] = normalize
        return options | self._prompt() | self._cut()

    def _prompt(self) -> dict[str, Any]:
        purposes = {
            purpose(name, value)
            for name in ("input_type", "task")
            if (value := getattr(self, name)) is not None
        }
        purposes.discard("")
        if len(purposes) > 1 or (purposes and self.prompt_name is not None):
            raise InvalidInput(
                "prompt_name, input_type and task name different prompts; send only one of them",
                param="prompt_name" if self.prompt_name is not None else "task",
            )
        prompt = {} if self.prompt_name is None else {"prompt_name": self.prompt_name}
        return prompt | ({"input_type": purposes.pop()} if purposes else {})

    def _cut(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        most = self.truncate_prompt_tokens
        wishes = {
            value if isinstance(value, bool) else value != "NONE"
            for value in (self.truncate, self.truncation, None if most is None else True)
            if value is not None
        }
        ends = {
            _direction(side)
            for side in (
                {"START": "left", "END": "right"}.get(str(self.truncate)),
                self.truncation_side,
                self.truncation_direction,
            )
            if side is not None
        }
        if len(wishes) > 1 or len(ends) > 1:
            raise InvalidInput(
                "truncate and another field about truncation contradict each other; send only one",
                param="truncate" if self.truncate is not None else "truncation",
            )
        if ends:
            options["truncation_direction"] = ends.pop()
        truncate = wishes.pop() if wishes else None
        if most is not None:
            if most != -1 and most < 1:
                raise InvalidInput(
                    f"truncate_prompt_tokens is {most}; it must be -1 or at least 1",
                    param="truncate_prompt_tokens",
                )
            if most != -1:
                options["max_tokens"] = most
        if truncate is not None:
            options["truncate"] = truncate
        return options

    def _agreed(self, *names: str) -> Any:
        """The value of fields that mean the same."""
        values = [(name, value) for name in names if (value := getattr(self, name)) is not None]
        for name, value in values[1:]:
            if value != values[0][1]:
                first = f"{values[0][0]} is {shown_json(values[0][1])}"
                raise InvalidInput(
                    f"{first} and {name} is {shown_json(value)}; they mean the same", param=name
                )
        return values[0][1] if values else None


PURPOSES = {
    "query": "search_query",
    "search_query": "search_query",
    "retrieval.query": "search_query",
    "passage": "search_document",
    "document": "search_document",
    "search_document": "search_document",
    "retrieval.passage": "search_document",
    "classification": "classification",
    "clustering": "clustering",
    "": "",
}


def purpose(name: str, value: str) -> str:
    """Cohere's input type for a word of a peer. Raises InvalidInput for an unknown word."""
    known = PURPOSES.get(value)
    if known is None:
        raise InvalidInput(
            f"{name} is {shown_json(value)}; it must be one of {', '.join(filter(None, PURPOSES))}",
            param=name,
        )
    return known


def lane_of(priority: int | str | None) -> Lane | None:
    """The lane of vLLM's and Cohere's priority, in which a lower number is more urgent; 0: unset.

    Raises:
        InvalidInput: a word other than query or ingest.
    """
    if priority is None or priority == 0:
        return None
    if isinstance(priority, int):
        return Lane.QUERY if priority < 0 else Lane.INGEST
    if priority in ("query", "ingest"):
        return Lane.QUERY if priority == "query" else Lane.INGEST
    raise InvalidInput(
        f"priority is {shown_json(priority)}; it must be a number, query or ingest",
        param="priority",
    )


def _direction(side: str) -> Direction:
    return "left" if side.lower() == "left" else "right"


def table() -> list[str]:
    """The table of the documentation, line by line."""
    lines = ["| Field | Known from | What is done |", "| --- | --- | --- |"]
    for field in HONOURED:
        lines.append(f"| `{field.name}` | {field.peers} | {field.meaning} |")
    for field in REFUSED:
        allowed = ", ".join(f"`{shown_json(value)}`" for value in (None, *field.passes))
        lines.append(f"| `{field.name}` | {field.peers} | refused unless {allowed} |")
    return lines
