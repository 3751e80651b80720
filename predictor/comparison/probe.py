"""Whether a running server gives right vectors: two questions, and what is wrong in one sentence.

The first question has the text among seven others of other lengths, so that a server whose padding
or batching lets one text change another is found; the second is what any client sends. Neither is
answered from a cache: the model itself is asked.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from predictor.comparison import endpoint
from predictor.comparison.exchange import Address, Refused, Unreachable
from predictor.errors import BadModel, BadSetting
from predictor.types import FloatRows

# The server is starting, full, or behind a proxy that has nobody to ask yet.
PASSING = frozenset({429, 502, 503, 504})
PAUSE_S = 0.5
MIN_COSINE = 0.9999
LENGTH_TOLERANCE = 1e-3
PLACE = 3  # of the text among its neighbours
NEIGHBOURS = (
    "ok",
    "The ferry left late.",
    "Three of the five sensors stopped reporting shortly after midnight.",
    "7 + 5 = 12",
    "A good index makes a thick book feel thin, and a bad one is worse than none at all.",
    "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n",
    "word " * 60,
)
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """dimensions: by the metadata; vector: `[dim]`, to the text alone, which took `ms`.

    batch: `[8, dim]`, normalised by the server; row PLACE is the same text.
    """

    model: str
    version: str
    revision: str
    dimensions: int
    vector: FloatRows
    batch: FloatRows
    ms: float


@dataclass(frozen=True)
class Expected:
    """The first components that the vector must have, each within the tolerance."""

    components: tuple[float, ...]
    tolerance: float


def ask(address: Address, text: str) -> Found:
    """Ask a server once.

    Raises:
        BadModel: it refuses, or answers something else.
        BadSetting: nobody answers, or it has several models and none is named.
    """
    address = endpoint.find(address)
    dimensions = endpoint.dimensions(address)
    texts = [*NEIGHBOURS[:PLACE], text, *NEIGHBOURS[PLACE:]]
    batch = endpoint.infer(address, texts, {"cache": False, "normalize": True})
    start = time.monotonic()
    alone = endpoint.infer(address, [text], {"cache": False})
    ms = (time.monotonic() - start) * 1000
    told = (alone.model, alone.version, alone.revision)
    return Found(*told, dimensions, alone.raw[0], batch.raw, ms)


def patiently(
    timeout_s: float,
    attempt: Callable[[float], T],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What an attempt gives, begun again while the server is not ready.

    Args:
        attempt: is given the seconds that are left.

    Raises:
        BadModel: the time is over, or what the attempt raises.
        BadSetting: what the attempt raises.
    """
    end = clock() + timeout_s
    left = timeout_s
    while True:
        try:
            return attempt(left)
        except (Unreachable, Refused) as error:
            if not is_passing(error):
                raise
            left = end - clock() - PAUSE_S
            if left <= 0:
                raise BadModel(f"not ready within {timeout_s:g} s: {error}") from error
        sleep(PAUSE_S)


def is_passing(error: BadModel | BadSetting) -> bool:
    """Whether the same question may be answered a moment later."""
    return isinstance(error, Unreachable) or (
        isinstance(error, Refused) and error.status in PASSING
    )


def wrong(found: Found, version: str, expected: Expected | None) -> str | None:
    """The first thing that is wrong with the answers, in a few words; None: nothing is.

    Args:
        version: that was asked for; empty: any.
    """
    width = found.vector.size
    if width != found.dimensions or found.batch.shape[1] != found.dimensions:
        return (
            f"vectors have {width} dimensions alone and {found.batch.shape[1]} in a batch; "
            f"the model's metadata says {found.dimensions}"
        )
    if version and found.version != version:
        return f"version {version} was asked for, version {found.version} answered"
    if not (np.isfinite(found.vector).all() and np.isfinite(found.batch).all()):
        return "a vector holds what is no finite number"
    return (_off(found.vector, expected) if expected else None) or _inconsistent(found)


def _inconsistent(found: Found) -> str | None:
    lengths = np.linalg.norm(found.batch.astype(np.float64), axis=1)
    worst = float(lengths[np.abs(lengths - 1).argmax()])
    if abs(worst - 1) > LENGTH_TOLERANCE:
        return f"a normalised vector has the length {worst:.4g}, not 1"
    alone = found.vector.astype(np.float64)
    length = float(np.linalg.norm(alone))
    if length == 0:
        return "the vector of the text is all zeros"
    cosine = float(alone @ found.batch[PLACE]) / length / lengths[PLACE]
    if cosine < MIN_COSINE:
        return (
            f"the text has another vector alone than in a batch: cosine {cosine:.6f}, "
            f"wanted is {MIN_COSINE:g}"
        )
    return None


def _off(vector: FloatRows, expected: Expected) -> str | None:
    """Where the vector is not as expected."""
    wanted = np.array(expected.components)
    if wanted.size > vector.size:
        return f"{wanted.size} numbers are expected, the vector has {vector.size}"
    apart = np.abs(vector[: wanted.size].astype(np.float64) - wanted)
    place = int(apart.argmax())
    if apart[place] <= expected.tolerance:
        return None
    return (
        f"component {place + 1} of the vector is {vector[place]:.6g}, expected is "
        f"{wanted[place]:.6g} within {expected.tolerance:g}"
    )
