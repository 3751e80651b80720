"""How often the defaults cry wolf, and what they see: months of traffic, and faults put into it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictor.drift.findings import FEWEST_ROWS, compare
from predictor.drift.monitor import DriftSchedule, Hysteresis
from predictor.drift.reference import DriftReference, learn
from predictor.drift.sketch import Sketch
from tests.unit.drift.traffic import DAY, Mix, Pool, base_of, draw, sketched

CONSECUTIVE = DriftSchedule().consecutive


def windows(
    pool: Pool, mix: Mix, count: int, generator: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Rows of consecutive windows, as few as a window may have."""
    parts = mix.weights(base_of(pool), count, generator)
    return [draw(pool, part, FEWEST_ROWS, generator) for part in parts]


def false_alarms(pool: Pool, mix: Mix, days: int, generator: np.random.Generator) -> Counter[str]:
    """Alarms that begin, by test, in `days` of traffic after the day of the reference.

    "any" counts the times at which the first of several alarms began.
    """
    drawn = (sketched(pool, w, generator) for w in windows(pool, mix, DAY * (days + 1), generator))
    reference = learn([next(drawn) for _ in range(DAY)], 0.0)
    return count_alarms(reference, drawn)


def count_alarms(reference: DriftReference, drawn: Iterator[Sketch]) -> Counter[str]:
    states: dict[str, Hysteresis] = {}
    alarms: Counter[str] = Counter()
    before: set[str] = set()
    for window in drawn:
        for finding in compare(reference, window):
            states.setdefault(finding.name, Hysteresis(CONSECUTIVE)).record(finding.drifted)
        now = {name for name, hysteresis in states.items() if hysteresis.alarm}
        alarms.update(now - before)
        if now and not before:
            alarms["any"] += 1
        before = now
    return alarms


@dataclass(frozen=True)
class Power:
    """fault: its name; detected: share of windows in which some test drifted; by: each test's."""

    fault: str
    detected: float
    by: dict[str, float]
    effect: dict[str, float]


Fault = Callable[[npt.NDArray[np.int64]], tuple[Pool, npt.NDArray[np.int64]]]


def power(
    name: str,
    pool: Pool,
    mix: Mix,
    fault: Fault,
    generator: np.random.Generator,
    count: int = 48,
    learning: int = DAY,
) -> Power:
    """How often a fault that is there is seen in one window.

    fault: from the rows of a window to the rows that come instead, and their pool.
    count, learning: windows with the fault, and before it for the reference.
    """
    drawn = windows(pool, mix, learning + count, generator)
    reference = learn([sketched(pool, w, generator) for w in drawn[:learning]], 0.0)
    names: Counter[str] = Counter()
    effects: dict[str, list[float]] = {}
    for window in drawn[learning:]:
        findings = compare(reference, sketched(*fault(window), generator))
        for finding in findings:
            effects.setdefault(finding.name, []).append(finding.effect)
            names[finding.name] += finding.drifted
        names["any"] += any(finding.drifted for finding in findings)
    by = {test: drifted / count for test, drifted in names.items()}
    middle = {test: float(np.median(values)) for test, values in effects.items()}
    return Power(name, by.pop("any"), by, middle)


def replaced(pool: Pool, instead: Pool, share: float, generator: np.random.Generator) -> Fault:
    """A fault that puts rows of another pool in place of a share of each window's."""
    both = pool.joined(instead)

    def apply(rows: npt.NDArray[np.int64]) -> tuple[Pool, npt.NDArray[np.int64]]:
        changed = generator.random(len(rows)) < share
        others = len(pool) + generator.integers(0, len(instead), len(rows))
        return both, np.where(changed, others, rows)

    return apply
