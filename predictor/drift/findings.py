"""A window beside the reference: one finding a test, each with its threshold."""

from dataclasses import dataclass

from predictor.drift.measures import Measure, measure
from predictor.drift.reference import Reference
from predictor.drift.sketch import BadSketch, Sketch

# With fewer rows chance alone comes near the thresholds.
FEWEST_ROWS = 1000
# What a version's own windows may reach at most before it is drift, from simulated months: see
# the table in predictor/README.md, which tests/unit/drift/simulation.py prints.
THRESHOLDS = {
    "lengths": 0.2,
    "truncated": 0.2,
    "unknown": 0.13,
    "scripts": 0.06,
    "broken": 0.1,
    "norms": 0.12,
    "direction": 0.12,
    "spread": 0.1,
    "cloud": 0.1,
}
# Over the most that a window of the reference showed.
MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Finding:
    """One test. effect: the statistic over its threshold, 1 or more is drift; n: rows.

    before, after: a figure of the reference and of the window, as `figure` says.
    """

    name: str
    test: str
    statistic: float
    threshold: float
    n: int
    figure: str
    before: float
    after: float

    @property
    def effect(self) -> float:
        return self.statistic / self.threshold

    @property
    def drifted(self) -> bool:
        return not self.statistic < self.threshold  # what is no number has drifted


def threshold(reference: Reference, name: str) -> float:
    """From where on a test's statistic is drift from this reference."""
    return max(THRESHOLDS[name], MARGIN * reference.usual.get(name, 0.0))


def compare(reference: Reference, window: Sketch) -> list[Finding]:
    """Every test of the window against the reference.

    Raises:
        BadSketch: a side has too few rows, or the vectors have different widths.
    """
    for what, rows in (("reference", reference.sketch.rows), ("window", window.rows)):
        if rows < FEWEST_ROWS:
            raise BadSketch(f"the {what} has {rows} rows; {FEWEST_ROWS} are needed")
    return [_finding(reference, one, window.rows) for one in measure(reference.sketch, window)]


def _finding(reference: Reference, one: Measure, rows: int) -> Finding:
    return Finding(
        name=one.name,
        test=one.test,
        statistic=one.statistic,
        threshold=threshold(reference, one.name),
        n=rows,
        figure=one.figure,
        before=one.before,
        after=one.after,
    )
