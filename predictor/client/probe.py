"""Probes a running server with two requests, and says what is wrong with its vectors.

The first request has the text among seven others of other lengths, which reveals a server whose
padding or batching lets one text change another; the second has the text alone. Neither is answered
from a cache, so that the model itself is probed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from predictor.client import v2
from predictor.client.http import Address, Refused, Unreachable
from predictor.errors import BadModel, BadSetting
from predictor.types import FloatRows

# The server is starting, full, or behind a proxy without a ready backend.
TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
PAUSE_S = 0.5
MIN_COSINE = 0.9999
LENGTH_TOLERANCE = 1e-3
# Index of the text among its neighbours.
PLACE = 3
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
class ProbeAnswer:
    """What a server answered to both requests."""

    model: str
    version: str
    revision: str
    # According to the model's metadata.
    dimensions: int
    # Of the text alone, `[dim]`.
    vector: FloatRows
    # Of the text, in row PLACE, and its neighbours, `[8, dim]`, normalised by the server.
    batch: FloatRows
    # Duration of the request with the text alone.
    ms: float


@dataclass(frozen=True)
class ExpectedComponents:
    """The first components that the vector must have, each within the tolerance."""

    components: tuple[float, ...]
    tolerance: float


def query(address: Address, text: str) -> ProbeAnswer:
    """Send both requests once.

    Raises:
        BadModel: it answers with an error, or with something else.
        BadSetting: it does not answer, or has several models and none is named.
    """
    address = v2.find(address)
    dimensions = v2.dimensions(address)
    texts = [*NEIGHBOURS[:PLACE], text, *NEIGHBOURS[PLACE:]]
    batch = v2.infer(address, texts, {"cache": False, "normalize": True})
    start = time.monotonic()
    alone = v2.infer(address, [text], {"cache": False})
    ms = (time.monotonic() - start) * 1000
    return ProbeAnswer(
        model=alone.model,
        version=alone.version,
        revision=alone.revision,
        dimensions=dimensions,
        vector=alone.raw[0],
        batch=batch.raw,
        ms=ms,
    )


def retry_until_ready(
    timeout_s: float,
    attempt: Callable[[float], T],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The result of an attempt, repeated while the server is not ready.

    Args:
        attempt: called with the seconds that are left.

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
            if not is_transient(error):
                raise
            left = end - clock() - PAUSE_S
            if left <= 0:
                raise BadModel(f"not ready within {timeout_s:g} s: {error}") from error
        sleep(PAUSE_S)


def is_transient(error: BadModel | BadSetting) -> bool:
    """Whether the same request may succeed a moment later."""
    return isinstance(error, Unreachable) or (
        isinstance(error, Refused) and error.status in TRANSIENT_STATUSES
    )


def find_fault(
    answer: ProbeAnswer, version: str, expected: ExpectedComponents | None
) -> str | None:
    """The first fault of the answers, in a few words; None: there is none.

    Args:
        version: the requested one; empty: any.
    """
    width = answer.vector.size
    if width != answer.dimensions or answer.batch.shape[1] != answer.dimensions:
        return (
            f"vectors have {width} dimensions alone and {answer.batch.shape[1]} in a batch; "
            f"the model's metadata says {answer.dimensions}"
        )
    if version and answer.version != version:
        return f"version {version} was requested, version {answer.version} answered"
    if not (np.isfinite(answer.vector).all() and np.isfinite(answer.batch).all()):
        return "a vector is not finite"
    return (_mismatch(answer.vector, expected) if expected else None) or _inconsistent(answer)


def _inconsistent(answer: ProbeAnswer) -> str | None:
    lengths = np.linalg.norm(answer.batch.astype(np.float64), axis=1)
    worst = float(lengths[np.abs(lengths - 1).argmax()])
    if abs(worst - 1) > LENGTH_TOLERANCE:
        return f"a normalised vector has the length {worst:.4g}, not 1"
    alone = answer.vector.astype(np.float64)
    length = float(np.linalg.norm(alone))
    if length == 0:
        return "the vector of the text is all zeros"
    cosine = float(alone @ answer.batch[PLACE]) / length / lengths[PLACE]
    if cosine < MIN_COSINE:
        return (
            f"the text has another vector alone than in a batch: cosine {cosine:.6f}, "
            f"at least {MIN_COSINE:g} is expected"
        )
    return None


def _mismatch(vector: FloatRows, expected: ExpectedComponents) -> str | None:
    """The first difference from the expected components; None: there is none."""
    components = np.array(expected.components)
    if components.size > vector.size:
        return f"{components.size} numbers are expected, the vector has {vector.size}"
    apart = np.abs(vector[: components.size].astype(np.float64) - components)
    place = int(apart.argmax())
    if apart[place] <= expected.tolerance:
        return None
    return (
        f"component {place + 1} of the vector is {vector[place]:.6g}, expected is "
        f"{components[place]:.6g} within {expected.tolerance:g}"
    )
