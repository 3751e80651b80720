"""A client that looks at every answer, while another one only makes load.

One request after another, of one text and of many, past the cache and with it. An answer has to be
200, name one version in header and body, and have that version's vectors in all of its rows.
"""

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Literal, NamedTuple

import numpy as np

from .correctness import Rows, vectors
from .errors import BenchError
from .servers import OPENAI_BASE64
from .versions import SIGN

MANY = 32
STEP = 7  # texts on from one request to the next: over time all have been asked, each way
LEAST_COSINE = 0.999
TIMEOUT_S = 60
VERSION_HEADER = "x-model-version"
# Past the cache every row is computed; with it, rows of both versions lie in one cache.
CACHE = ("off", "on")

Kind = Literal["failed", "unnamed", "mixed", "wrong"]


class ResponseFault(NamedTuple):
    kind: Kind
    detail: str


@dataclass
class CheckerResult:
    """What the checker saw; `faults` are kept as counts, with the first of each kind in words."""

    versions: Counter[str] = field(default_factory=Counter)
    faults: Counter[Kind] = field(default_factory=Counter)
    first: dict[Kind, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.versions.total() + self.faults.total()

    def take(self, verdict: ResponseFault | str) -> None:
        if isinstance(verdict, str):
            self.versions[verdict] += 1
            return
        self.faults[verdict.kind] += 1
        self.first.setdefault(verdict.kind, verdict.detail)


def check_response(
    status: int, header: str | None, body: bytes, reference: Rows
) -> ResponseFault | str:
    """The version that answered, or what is wrong with the answer.

    Args:
        header: what the answer's header says of its version.
        reference: the vectors of the texts that were asked, as version 1 gives them.
    """
    if status != 200:
        return ResponseFault("failed", f"{status} {body[:300]!r}")
    answer = json.loads(body)
    named = answer.get("model_version")
    if named not in SIGN or header != named:
        return ResponseFault("unnamed", f"header {header!r}, body {named!r}")
    rows = vectors(answer)
    if rows.shape != reference.shape:
        return ResponseFault("wrong", f"vectors {rows.shape} for {reference.shape}")
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(reference, axis=1)
    cosines = SIGN[named] * (rows * reference).sum(axis=1) / norms
    if cosines.min() > LEAST_COSINE:
        return str(named)
    what = f"version {named}: cosines from {cosines.min():.4f} to {cosines.max():.4f}"
    return ResponseFault("mixed" if cosines.max() > LEAST_COSINE else "wrong", what)


@contextmanager
def checking(port: int, texts: Sequence[str], reference: Rows) -> Iterator[CheckerResult]:
    """A checker beside what the block does; what it saw is whole after the block.

    Raises:
        BenchError: the checker itself broke off.
    """
    result = CheckerResult()
    stop = threading.Event()
    broken: list[Exception] = []

    def work() -> None:
        try:
            for cut, headers in _requests(len(texts)):
                if stop.is_set():
                    return
                result.take(_check(port, texts[cut], headers, reference[cut]))
        except Exception as error:
            broken.append(error)

    thread = threading.Thread(target=work, name="checker")
    thread.start()
    try:
        yield result
    finally:
        stop.set()
        thread.join()
    if broken:
        raise BenchError(f"the checker broke off: {broken[0]!r}")


def _requests(texts: int) -> Iterator[tuple[slice, Mapping[str, str]]]:
    """Which texts, and with which headers, for ever."""
    for turn in itertools.count():
        size = MANY if turn % 2 else 1
        start = turn // 2 * STEP % (texts - size + 1)
        headers = {"Content-Type": "application/json", "X-Cache": CACHE[turn // 2 % len(CACHE)]}
        yield slice(start, start + size), headers


def _check(
    port: int, texts: Sequence[str], headers: Mapping[str, str], reference: Rows
) -> ResponseFault | str:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", OPENAI_BASE64.path, OPENAI_BASE64.body(texts), dict(headers))
        answer = connection.getresponse()
        return check_response(
            answer.status, answer.getheader(VERSION_HEADER), answer.read(), reference
        )
    except (OSError, HTTPException) as error:
        return ResponseFault("failed", repr(error))
    finally:
        connection.close()
