"""Copies of texts that clients sent, and what a canary makes of them.

A canary may hang, answer for ever, or answer anything, so it is asked aside (`aside.py`). No text
goes into a log line: a server's refusal may repeat what it was sent, so of an error only its kind
is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from predictor.comparison.endpoint import infer
from predictor.comparison.exchange import Address, Refused
from predictor.fidelity import cosines, directed
from predictor.types import FloatRows, Inputs

# Of one request, at most; a text that does not fit, and those after it, are left out.
MOST_TEXTS, MOST_CHARACTERS = 8, 16_384
# That the canary may let each wait take, and an answer all together, seconds.
TIMEOUT_S = 5.0
# Nothing that a cache has, and after everybody else; past its time nobody wants the answer.
PARAMETERS = {
    "normalize": False,
    "truncate": True,
    "cache": "off",
    "priority": "ingest",
    "timeout_ms": 1e3 * TIMEOUT_S,
}
# What the canary answers when it has no room: it is not wrong, it is busy.
BUSY = 429


@dataclass(slots=True, eq=False)
class Copy:
    """texts: as the client sent them; rows `[N, dim]`: un-normalised, as the client's were."""

    texts: list[str]
    rows: FloatRows


@dataclass(frozen=True, slots=True)
class Compared:
    """texts: the canary gave a vector, of `width`. void: it gave one that is none.

    own_void: the stable version's is none, which says nothing. cosines: of the texts, if the
    vectors are as wide as the stable version's.
    """

    texts: int
    width: int
    void: int = 0
    own_void: int = 0
    cosines: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Unanswered:
    """kind: of the error, for the log."""

    outcome: Literal["failed", "dropped"]
    kind: str


Outcome = Compared | Unanswered


def fitting(inputs: Inputs) -> int:
    """How many texts from the first one on may be copied."""
    room = MOST_CHARACTERS
    for count, text in enumerate(inputs[:MOST_TEXTS]):
        room -= len(text)
        if room < 0:
            return count
    return min(len(inputs), MOST_TEXTS)


def ask(asked: tuple[Address, Copy]) -> Outcome:
    """Send the texts once and compare; never raises."""
    address, copy = asked
    try:
        return compare(copy.rows, infer(address, copy.texts, PARAMETERS).raw)
    except Refused as error:
        outcome: Literal["failed", "dropped"] = "dropped" if error.status == BUSY else "failed"
        return Unanswered(outcome, f"status {error.status}")
    except Exception as error:  # whatever it is, it costs this comparison and no more
        return Unanswered("failed", type(error).__name__)


def compare(own: FloatRows, theirs: FloatRows) -> Compared:
    """Rows `[N, dim]` of the same texts; the widths may differ."""
    own_good, good = directed(own), directed(theirs)
    both = own_good & good
    values: Sequence[float] = ()
    if own.shape[1] == theirs.shape[1]:
        values = cosines(own[both], theirs[both]).tolist()
    return Compared(
        texts=int(both.sum()),
        width=int(theirs.shape[1]),
        void=int((own_good & ~good).sum()),
        own_void=int((~own_good).sum()),
        cosines=tuple(values),
    )
