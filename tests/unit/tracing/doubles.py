"""A collector that does as it is told, and what was counted."""

import threading
import time
from collections import Counter
from collections.abc import Sequence

from predictor.tracing import PlainSpan
from tests.deadlines import DEADLINE_S


class FakeSender:
    """Sends at once; refuses while `reason` is set, hangs while `gate` is closed."""

    def __init__(self) -> None:
        self.sent: list[PlainSpan] = []
        self.sizes: list[int] = []
        self.reason = ""
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.sent_some = threading.Event()
        self.closed = False
        self.close_frees = True

    def send(self, spans: Sequence[PlainSpan]) -> str:
        self.entered.set()
        self.gate.wait(DEADLINE_S)
        self.sizes.append(len(spans))
        if not self.reason:
            self.sent.extend(spans)
        self.sent_some.set()
        return self.reason

    def close(self) -> None:
        self.closed = True
        if self.close_frees:
            self.gate.set()


class Counts(Counter[str]):
    """Told of the fate of spans, by any thread."""

    def __call__(self, fate: str, spans: int) -> None:
        self[fate] += spans

    def wait_for(self, fate: str, spans: int, timeout_s: float = DEADLINE_S) -> None:
        """Return once so many were.

        Raises:
            TimeoutError: they never were.
        """
        end = time.monotonic() + timeout_s
        while self[fate] < spans:
            if time.monotonic() > end:
                raise TimeoutError(f"{spans} {fate}: {dict(self)} within {timeout_s} s")
            time.sleep(0.005)
