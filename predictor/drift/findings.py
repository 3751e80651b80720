"""Compares a window of traffic with the reference: one finding per test, with its threshold."""

from dataclasses import dataclass

from predictor.drift.measures import DriftMeasure, measure
from predictor.drift.reference import DriftReference
from predictor.drift.sketch import BadSketch, Sketch

# With fewer rows chance alone comes near the thresholds.
FEWEST_ROWS = 1000
# What the windows of one version may reach at most before it is drift, from simulated months: see
# the table in predictor/drift/README.md, which tests/unit/drift/simulation.py prints.
THRESHOLDS = {
    "lengths": 0.2,
    "truncated": 0.2,
    "unknown": 0.13,
    "scripts": 0.06,
    "broken": 0.1,
    "norms": 0.12,
    "direction": 0.12,
    "spread": 0.1,
    "mmd": 0.1,
}
# Times the largest statistic of the reference's own windows.
MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one test."""

    # One of `measures.NAMES`.
    name: str
    # The statistic's name: PSI, h, KS, d or MMD.
    test: str
    statistic: float
    # From this statistic on it is drift.
    threshold: float
    # Rows of the window.
    n: int
    # What `before` and `after` are, for people.
    figure: str
    # Of the reference.
    before: float
    # Of the window.
    after: float

    @property
    def effect(self) -> float:
        """The statistic over its threshold; 1 or more is drift."""
        return self.statistic / self.threshold

    @property
    def drifted(self) -> bool:
        return not self.statistic < self.threshold  # NaN counts as drift


def threshold(reference: DriftReference, name: str) -> float:
    """The statistic of a test from which on a window has drifted from this reference."""
    return max(THRESHOLDS[name], MARGIN * reference.baseline.get(name, 0.0))


def compare(reference: DriftReference, window: Sketch) -> list[Finding]:
    """Every test of the window against the reference.

    Raises:
        BadSketch: a side has too few rows, or the vectors have different dimensions.
    """
    for name, rows in (("reference", reference.sketch.rows), ("window", window.rows)):
        if rows < FEWEST_ROWS:
            raise BadSketch(f"the {name} has {rows} rows; {FEWEST_ROWS} are needed")
    measures = measure(reference.sketch, window)
    return [_finding(reference, drift_measure, window.rows) for drift_measure in measures]


def _finding(reference: DriftReference, drift_measure: DriftMeasure, rows: int) -> Finding:
    return Finding(
        name=drift_measure.name,
        test=drift_measure.test,
        statistic=drift_measure.statistic,
        threshold=threshold(reference, drift_measure.name),
        n=rows,
        figure=drift_measure.figure,
        before=drift_measure.before,
        after=drift_measure.after,
    )
