"""The one request type that every protocol decodes to, and what comes back."""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

FloatRows = npt.NDArray[np.float32]
IntIds = npt.NDArray[np.int32]

Protocol = Literal["v1", "v2", "v2_grpc", "openai", "tei", "cohere"]
Direction = Literal["right", "left"]
Inputs = list[str] | list[list[int]]


class Lane(IntEnum):
    """Who goes first; the numbers are Triton's priorities (1 is the highest)."""

    QUERY = 1
    INGEST = 2


class OutputType(StrEnum):
    """How a vector is delivered; the names are Cohere's `embedding_types`."""

    FLOAT = "float"
    INT8 = "int8"
    UINT8 = "uint8"
    BINARY = "binary"
    UBINARY = "ubinary"


class Pooling(StrEnum):
    """How token vectors become one vector; TEI's names where it has one, sentence-transformers'."""

    MEAN = "mean"
    CLS = "cls"
    MAX = "max"
    LAST_TOKEN = "last-token"
    WEIGHTED_MEAN = "weightedmean"
    MEAN_SQRT_LEN = "mean_sqrt_len_tokens"


class EmbedRequest(Struct):
    """A decoded request. `None` means: as the model or the server is configured.

    input_type: Cohere's name of what the texts are for; mapped to one of the model's prompts.
    cache: whether rows may come from the cache and go into it.
    spend: told the number of tokens before they are run; raises RateLimited.
    """

    inputs: Inputs
    protocol: Protocol
    model: str = ""
    version: str = ""
    dimensions: int | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Direction = "right"
    prompt_name: str | None = None
    input_type: str | None = None
    lane: Lane | None = None
    timeout_s: float | None = None
    output_types: tuple[OutputType, ...] = (OutputType.FLOAT,)
    request_id: str = ""
    cache: bool = True
    spend: Callable[[int], None] | None = None


class Tokens(Struct):
    """Token ids of one request, ready to run.

    ids: one list a row, special tokens included, at most the model's maximum length each.
    truncated: the indices of the rows that lost tokens.
    """

    ids: list[list[int]]
    truncated: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(map(len, self.ids))


class EmbedResult(Struct):
    """vectors: float32 `[N, dim]`, cut and normalised; quantized: the same rows in other types."""

    vectors: FloatRows
    tokens: int
    truncated: list[int]
    model: str
    version: str
    revision: str
    request_id: str = ""
    quantized: dict[OutputType, npt.NDArray[np.int8] | npt.NDArray[np.uint8]] = field(
        default_factory=dict
    )

    @property
    def truncated_list(self) -> str:
        """The indices of the truncated inputs as every protocol writes them: `0,7`."""
        return ",".join(map(str, self.truncated))
