"""Monitors one version's traffic: learns a reference, then compares each window with it.

The monitor has no clock and no tasks: its owner passes the time in, checks `is_due`, and calls
`close` and `judge`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from predictor.drift.findings import FEWEST_ROWS, Finding, compare
from predictor.drift.measures import NAMES
from predictor.drift.reference import DriftReference, learn
from predictor.drift.sampling import Sampler
from predictor.drift.scripts import CHARACTERS, shares
from predictor.drift.sketch import BadSketch, ModelIdentity, Sketch
from predictor.drift.window import BLOCK, Window
from predictor.types import FloatRows, Inputs, Tokens


@dataclass(frozen=True, slots=True)
class DriftSchedule:
    """How long windows are, and how many of them a decision needs."""

    # A window ends when it has lasted for `seconds` and has at least `rows` rows.
    seconds: float = 900.0
    rows: int = FEWEST_ROWS
    # Rows of a window that are sketched, about.
    sampled: int = 2048
    # Consecutive windows with drift that raise an alarm, and without drift that end it.
    consecutive: int = 3
    # The reference is made when both of these are reached.
    learn_seconds: float = 86400.0
    learn_windows: int = 8


# A row of a request: its tokens, whether it was truncated, its unknown tokens, the beginning of its
# text (empty for token ids), its vector.
SampledRow = tuple[int, bool, int, str, npt.NDArray[np.float32]]

# Most windows held while learning, 34 kB each; beyond that, neighbours are merged.
MOST_LEARNT = 96


class Monitor:
    """Monitors one version. Used on one event loop, except for `judge`."""

    def __init__(
        self,
        identity: ModelIdentity,
        generator: np.random.Generator,
        now: float,
        *,
        unknown_id: int | None = None,
        reference: DriftReference | None = None,
        schedule: DriftSchedule | None = None,
    ) -> None:
        """Begin with an empty window.

        Args:
            now: seconds of a monotonic clock, here and in all methods.
            unknown_id: id of the tokenizer's unknown token, if it has one.
            reference: the reference of an earlier run; without it the first windows make one.

        Raises:
            BadSketch: the reference belongs to another model.
        """
        if reference is not None and reference.sketch.identity != identity:
            raise BadSketch(f"the reference is of {reference.sketch.identity}, not of {identity}")
        self.identity = identity
        self.reference = reference
        # The findings and the sketch of the last closed window.
        self.findings: list[Finding] = []
        self.last: Sketch | None = None
        self._generator = generator
        self._unknown_id = unknown_id
        self._schedule = schedule or DriftSchedule()
        self._sampler = Sampler(generator, self._schedule.sampled)
        self._window = Window(identity, generator)
        self._pending: list[SampledRow] = []
        # Start of the open window, and of learning.
        self._since = now
        self._learning_since = now
        self._learnt: list[Sketch] = []
        self._hysteresis = {name: Hysteresis(self._schedule.consecutive) for name in NAMES}

    @property
    def state(self) -> Literal["learning", "watching"]:
        return "learning" if self.reference is None else "watching"

    @property
    def alarms(self) -> Mapping[str, bool]:
        """Whether there is an alarm, by test."""
        return {name: hysteresis.alarm for name, hysteresis in self._hysteresis.items()}

    @property
    def count(self) -> int:
        """Rows in the open window."""
        return self._window.count + len(self._pending)

    def sketch(self) -> Sketch:
        """The open window so far."""
        self.flush()
        return self._window.sketch()

    def observe(self, inputs: Inputs, tokens: Tokens, rows: FloatRows) -> None:
        """Take a sample of a request's rows; they are sketched later, many at once.

        Sketching many rows at once shares NumPy's fixed cost per call: in a busy server, with
        cold processor caches, a single row takes several times longer.

        Args:
            inputs: as the client sent them, without prompt; texts are not stored.
            rows: un-normalised vectors `[N, dimensions]`.
        """
        picks = self._sampler.take(len(rows))
        if not picks:
            return
        unknown = self._unknown_id
        for index in picks:
            ids = tokens.ids[index]
            row_input = inputs[index]
            unknown_count = 0 if unknown is None else ids.count(unknown)
            text = row_input[:CHARACTERS] if isinstance(row_input, str) else ""
            truncated = index in tokens.truncated
            self._pending.append((len(ids), truncated, unknown_count, text, rows[index].copy()))
        if len(self._pending) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Sketch the pending rows, which takes about 0.5 ms. No text is held after that."""
        if not self._pending:
            return
        pending = self._pending
        self._pending = []
        lengths, truncated, unknown, texts, rows = zip(*pending, strict=True)
        self._window.observe(lengths, truncated, unknown, shares(texts), np.stack(rows))

    def is_due(self, now: float) -> bool:
        """Whether the open window has lasted long enough and has enough rows to be closed."""
        self._since = min(self._since, now)  # the clock may have gone back
        lasted = now - self._since
        return lasted >= self._schedule.seconds and self.count >= self._schedule.rows

    def close(self, now: float) -> Sketch:
        """End the open window and begin the next, which takes at most 0.5 ms."""
        window = self.sketch()
        self.last = window
        self._window = Window(self.identity, self._generator)
        self._sampler.next_window()
        self._since = now
        return window

    def judge(self, window: Sketch, now: float, made: float) -> list[Finding]:
        """Learn from a closed window, or compare it with the reference.

        A call takes some milliseconds, and up to half a second when it makes the reference. It may
        run in a thread while requests are observed, but only one call at a time.

        Args:
            made: seconds since 1970, stored in a reference that this call makes.

        Returns:
            The findings; none while learning.
        """
        if self.reference is None:
            self._learn(window, now, made)
            return []
        self.findings = compare(self.reference, window)
        for finding in self.findings:
            self._hysteresis[finding.name].record(finding.drifted)
        return self.findings

    def _learn(self, window: Sketch, now: float, made: float) -> None:
        self._learnt.append(window)
        if len(self._learnt) > MOST_LEARNT:
            pairs = zip(self._learnt[::2], self._learnt[1::2], strict=False)
            odd = self._learnt[-1:] if len(self._learnt) % 2 else []
            self._learnt = [left.merge(right) for left, right in pairs] + odd
        lasted = now - self._learning_since
        enough = len(self._learnt) >= self._schedule.learn_windows
        if enough and lasted >= self._schedule.learn_seconds:
            self.reference = learn(self._learnt, made)
            self._learnt = []


@dataclass(slots=True)
class Hysteresis:
    """An alarm that changes after `needed` consecutive windows with the opposite result."""

    needed: int
    alarm: bool = False
    streak: int = 0

    def record(self, drifted: bool) -> None:
        self.streak = self.streak + 1 if drifted != self.alarm else 0
        if self.streak >= self.needed:
            self.alarm = drifted
            self.streak = 0
