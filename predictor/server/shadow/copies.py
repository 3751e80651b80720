"""Copies of clients' texts, and the comparison of the canary's vectors with the clients'.

A canary may hang, answer slowly or answer anything, so a thread of its own calls it
(`watch/daemon_caller.py`). No text goes into the log: a server's error message may repeat the
request, so only the kind of an error is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from predictor.client.http import Address, Refused
from predictor.client.v2 import infer
from predictor.similarity import cosines, directed
from predictor.types import FloatRows, Inputs

# Of one request; a text that does not fit, and those after it, are left out.
MAX_TEXTS = 8
MAX_CHARACTERS = 16_384
# For each wait for the canary, and for an answer as a whole, seconds.
TIMEOUT_S = 5.0
# Not from the cache, at the lowest priority, and not after its time.
PARAMETERS = {
    "normalize": False,
    "truncate": True,
    "cache": "off",
    "priority": "ingest",
    "timeout_ms": 1e3 * TIMEOUT_S,
}
# The canary's status without capacity: it is busy, not wrong.
BUSY = 429


@dataclass(slots=True, eq=False)
class Copy:
    """Texts of one request, and the vectors that were computed for the client."""

    # As the client sent them.
    texts: list[str]
    # Un-normalised, `[N, dim]`.
    rows: FloatRows


@dataclass(frozen=True, slots=True)
class CopyComparison:
    """One answer of the canary beside the stable version's vectors."""

    # Texts with a valid vector of both versions.
    texts: int
    # Of the canary's vectors.
    dimensions: int
    # Texts for which only the canary's vector is invalid.
    invalid: int = 0
    # Texts whose vector of the stable version is invalid, which says nothing about the canary.
    invalid_stable: int = 0
    # Of the texts, if both versions' vectors have the same dimensions.
    cosines: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """No comparison."""

    outcome: Literal["failed", "dropped"]
    # Of the error, for the log.
    kind: str


CopyResult = CopyComparison | CopyFailure


def fitting(inputs: Inputs) -> int:
    """How many texts, from the first one on, may be copied."""
    room = MAX_CHARACTERS
    for count, text in enumerate(inputs[:MAX_TEXTS]):
        room -= len(text)
        if room < 0:
            return count
    return min(len(inputs), MAX_TEXTS)


def send(request: tuple[Address, Copy]) -> CopyResult:
    """Send the texts once and compare; never raises."""
    address, copy = request
    try:
        return compare(copy.rows, infer(address, copy.texts, PARAMETERS).raw)
    except Refused as error:
        outcome: Literal["failed", "dropped"] = "dropped" if error.status == BUSY else "failed"
        return CopyFailure(outcome, f"status {error.status}")
    except Exception as error:  # any fault costs this comparison and nothing else
        return CopyFailure("failed", type(error).__name__)


def compare(stable: FloatRows, canary: FloatRows) -> CopyComparison:
    """Rows `[N, dim]` of the same texts; the dimensions may differ."""
    stable_valid = directed(stable)
    canary_valid = directed(canary)
    both = stable_valid & canary_valid
    values: Sequence[float] = ()
    if stable.shape[1] == canary.shape[1]:
        values = cosines(stable[both], canary[both]).tolist()
    return CopyComparison(
        texts=int(both.sum()),
        dimensions=int(canary.shape[1]),
        invalid=int((stable_valid & ~canary_valid).sum()),
        invalid_stable=int((~stable_valid).sum()),
        cosines=tuple(values),
    )
