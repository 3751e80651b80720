"""What every scenario shares: the server's address, texts with known vectors, and the result.

Only the standard library is imported, because a scenario runs in its client's environment.
"""

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FACTS = json.loads(Path(os.environ["CLIENTS_FACTS"]).read_text("utf-8"))
URL: str = FACTS["url"]
GRPC: str = FACTS["grpc"]
KEY: str = FACTS["key"]
MODEL: str = FACTS["model"]
TEXTS: list[str] = FACTS["texts"]
VECTORS: list[list[float]] = FACTS["vectors"]
LONG: str = FACTS["long"]  # a text over the limit of tokens
LONG_VECTOR: list[float] = FACTS["long_vector"]
EMPTY_VECTOR: list[float] = FACTS["empty_vector"]
UNKNOWN = "no-such-model"
WRONG_KEY = "sk-wrong-0123456789abcdef0123456789"
COSINE = 0.9999


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    if len(left) != len(right):
        raise AssertionError(f"{len(left)} numbers instead of {len(right)}")
    norms = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / norms


def same(rows: Any, expected: Sequence[Sequence[float]], at_least: float = COSINE) -> None:
    """Raise AssertionError unless each row points where the expected one does."""
    rows = [[float(number) for number in row] for row in rows]
    if len(rows) != len(expected):
        raise AssertionError(f"{len(rows)} vectors instead of {len(expected)}")
    lowest = min(cosine(row, right) for row, right in zip(rows, expected, strict=True))
    if not lowest >= at_least:
        raise AssertionError(f"cosine {lowest:.4f} to the reference")


def shortened(dimensions: int) -> list[list[float]]:
    """The references, cut to so many numbers."""
    return [vector[:dimensions] for vector in VECTORS]


def text_of(error: BaseException) -> str:
    """What a user reads, without the ids and ports that differ from run to run."""
    # tritonclient's class says nothing in str() but [code] message; HTTPError of the JDK likewise.
    text = " ".join(str(error).partition("Traceback")[0].split()) or type(error).__name__
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{32}\b", "ID", text)
    return text.replace(URL, "URL").replace(GRPC, "ADDRESS").replace(LONG, "TEXT")


class Client:
    """The checks of one client, printed as JSON at the end."""

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.checks: list[dict[str, Any]] = []

    @contextmanager
    def check(self, what: str) -> Iterator[None]:
        """One thing that a user does with the client; whatever is raised is its fault."""
        try:
            yield
        except Exception as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            self._add(what, False, kind + text_of(error))
        else:
            self._add(what, True, "")

    def refused(self, what: str, call: Callable[[], Any], *words: str) -> None:
        """The call is refused, and the text that its user reads has all of these words."""
        try:
            call()
        except Exception as error:
            text = text_of(error)
            missing = [word for word in words if word not in text]
            self._add(what, not missing, text, refusal=True)
        else:
            self._add(what, False, "not refused")

    def _add(self, what: str, good: bool, detail: str, *, refusal: bool = False) -> None:
        self.checks.append({"what": what, "good": good, "detail": detail, "refusal": refusal})

    def report(self) -> None:
        result = {"client": self.name, "version": self.version, "checks": self.checks}
        sys.stdout.write(f"RESULT {json.dumps(result)}\n")
