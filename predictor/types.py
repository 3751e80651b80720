"""Types that many packages share: lanes, rows, vectors, pooling, and output types."""

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

FloatRows = npt.NDArray[np.float32]

# Names of the protocols, as metrics, logs and traces have them.
ProtocolName = str
Direction = Literal["right", "left"]
Inputs = list[str] | list[list[int]]
# What the engine runs and the cache hashes. Its length is its cost for the scheduler.
Row = Sequence[int]


class Lane(IntEnum):
    """The queue of a request; the numbers are Triton's priorities (1 is the highest)."""

    QUERY = 1
    INGEST = 2


class EngineOutput(StrEnum):
    """What an engine can give for a row."""

    # One vector, float32 `[dim]`, pooled and not normalised.
    EMBEDDING = "embedding"


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


class Tokens(Struct):
    """The rows of one request, ready to run."""

    # Token ids of each row, special tokens included, at most the model's maximum length.
    ids: list[list[int]]
    # Indices of the rows that lost tokens.
    truncated: list[int] = field(default_factory=list)
    # Tokens that were sent beside those of the rows, as far as they were counted.
    extra: int = 0

    @property
    def total(self) -> int:
        """Tokens of all rows."""
        return sum(map(len, self.ids))
