"""One version's traffic, watched: learns a reference, then compares window after window.

No clock and no tasks: the owner passes the time in and asks `due`, then calls `close` and `judge`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from predictor.drift.findings import FEWEST_ROWS, Finding, compare
from predictor.drift.measures import NAMES
from predictor.drift.reference import Reference, learn
from predictor.drift.sampling import Sampler
from predictor.drift.scripts import CHARACTERS, shares
from predictor.drift.sketch import BadSketch, Sketch, Subject
from predictor.drift.window import BLOCK, Window
from predictor.types import FloatRows, Inputs, Tokens


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How windows follow each other.

    seconds, rows: a window ends when it has lasted so long and has so many rows, both.
    sampled: about so many rows of a window are looked at.
    consecutive: so many windows in a row have to drift before it is an alarm, and so many have to
    be well before it ends.
    learn_seconds, learn_windows: the reference is made when both are reached.
    """

    seconds: float = 900.0
    rows: int = FEWEST_ROWS
    sampled: int = 2048
    consecutive: int = 3
    learn_seconds: float = 86400.0
    learn_windows: int = 8


# A row that was taken from a request: its tokens, whether it was cut, its unknown tokens, the
# beginning of its text if it came as one, its vector.
Taken = tuple[int, bool, int, str, npt.NDArray[np.float32]]

# Windows held while learning, 34 kB each; beyond, neighbours are merged.
MOST_LEARNT = 96


class Monitor:
    """Belongs to one event loop. `findings`: of the latest window; `last`: that window."""

    def __init__(
        self,
        subject: Subject,
        generator: np.random.Generator,
        now: float,
        *,
        unknown_id: int | None = None,
        reference: Reference | None = None,
        rhythm: Rhythm | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            now: seconds of a clock that only goes forward; so in all calls.
            unknown_id: the token that stands for what the vocabulary lacks, if there is one.
            reference: of an earlier run; without it the first windows make one.

        Raises:
            BadSketch: the reference is of another model.
        """
        if reference is not None and reference.sketch.subject != subject:
            raise BadSketch(f"the reference is of {reference.sketch.subject}, not of {subject}")
        self.subject, self.reference = subject, reference
        self.findings: list[Finding] = []
        self.last: Sketch | None = None
        self._generator, self._unknown_id = generator, unknown_id
        self._rhythm = rhythm or Rhythm()
        self._sampler = Sampler(generator, self._rhythm.sampled)
        self._window = Window(subject, generator)
        self._taken: list[Taken] = []
        self._since = self._learning_since = now
        self._learnt: list[Sketch] = []
        self._hysteresis = {name: Hysteresis(self._rhythm.consecutive) for name in NAMES}

    @property
    def state(self) -> Literal["learning", "watching"]:
        return "learning" if self.reference is None else "watching"

    @property
    def alarms(self) -> Mapping[str, bool]:
        """By test, whether it drifted in so many windows in a row as make an alarm."""
        return {name: one.alarm for name, one in self._hysteresis.items()}

    @property
    def count(self) -> int:
        """Rows in the open window."""
        return self._window.count + len(self._taken)

    def sketch(self) -> Sketch:
        """The open window so far."""
        self.settle()
        return self._window.sketch()

    def observe(self, inputs: Inputs, tokens: Tokens, rows: FloatRows) -> None:
        """Take a sample of a request's rows, which are looked at some requests later, many at once.

        NumPy's fixed costs are then shared: in a busy server, with cold processor caches, a row
        that is looked at alone costs several times what it costs among others.

        Args:
            inputs: as the client sent them, without prompt; texts are looked at and not kept.
            rows: un-normalised vectors `[N, dimensions]`.
        """
        picks = self._sampler.take(len(rows))
        if not picks:
            return
        unknown = self._unknown_id
        for index in picks:
            ids, given = tokens.ids[index], inputs[index]
            strange = 0 if unknown is None else ids.count(unknown)
            text = given[:CHARACTERS] if isinstance(given, str) else ""
            cut = index in tokens.truncated
            self._taken.append((len(ids), cut, strange, text, rows[index].copy()))
        if len(self._taken) >= BLOCK:
            self.settle()

    def settle(self) -> None:
        """Look at what was taken; about half a millisecond. No text is held after that."""
        if not self._taken:
            return
        taken, self._taken = self._taken, []
        lengths, truncated, unknown, texts, rows = zip(*taken, strict=True)
        self._window.observe(lengths, truncated, unknown, shares(texts), np.stack(rows))

    def due(self, now: float) -> bool:
        """Whether the open window is old and full enough to end. False after a clock went back."""
        self._since = min(self._since, now)
        lasted = now - self._since
        return lasted >= self._rhythm.seconds and self.count >= self._rhythm.rows

    def close(self, now: float) -> Sketch:
        """End the open window and begin the next; at most half a millisecond."""
        window = self.last = self.sketch()
        self._window = Window(self.subject, self._generator)
        self._sampler.next_window()
        self._since = now
        return window

    def judge(self, window: Sketch, now: float, made: float) -> list[Finding]:
        """Learn from a closed window, or compare it.

        Takes some milliseconds, and up to half a second when the reference is made. May run in a
        thread while requests are observed, one call after the other.

        Args:
            made: seconds since 1970, for a reference that is made now.

        Returns:
            The findings; none while learning.
        """
        if self.reference is None:
            self._learn(window, now, made)
            return []
        self.findings = compare(self.reference, window)
        for finding in self.findings:
            self._hysteresis[finding.name].see(finding.drifted)
        return self.findings

    def _learn(self, window: Sketch, now: float, made: float) -> None:
        self._learnt.append(window)
        if len(self._learnt) > MOST_LEARNT:
            pairs = zip(self._learnt[::2], self._learnt[1::2], strict=False)
            odd = self._learnt[-1:] if len(self._learnt) % 2 else []
            self._learnt = [left.merge(right) for left, right in pairs] + odd
        lasted = now - self._learning_since
        enough = len(self._learnt) >= self._rhythm.learn_windows
        if enough and lasted >= self._rhythm.learn_seconds:
            self.reference = learn(self._learnt, made)
            self._learnt = []


@dataclass(slots=True)
class Hysteresis:
    """Changes its mind after `needed` windows in a row that say otherwise."""

    needed: int
    alarm: bool = False
    streak: int = 0

    def see(self, drifted: bool) -> None:
        self.streak = self.streak + 1 if drifted != self.alarm else 0
        if self.streak >= self.needed:
            self.alarm, self.streak = drifted, 0
