"""The reference of a version's traffic: the windows of its first day, merged into one sketch.

Traffic has nights and week-ends, and a client's batch job is not drift. So the reference also keeps
how far its own windows were from their sum, and the thresholds are never below that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

from predictor.drift.measures import measure
from predictor.drift.sketch import BadSketch, Sketch


@dataclass(frozen=True)
class DriftReference:
    """What later windows are compared with."""

    # All windows merged.
    sketch: Sketch
    # When it was learnt, seconds since 1970.
    made: float
    # How many windows it was learnt from.
    windows: int
    # Per test, the largest statistic of one of the windows against all of them.
    baseline: dict[str, float] = field(default_factory=dict)

    def merge(self, other: "DriftReference") -> "DriftReference":
        """The references of two pods as one.

        Raises:
            BadSketch: they are of different models.
        """
        names = sorted({*self.baseline, *other.baseline})
        return DriftReference(
            sketch=self.sketch.merge(other.sketch),
            made=max(self.made, other.made),
            windows=self.windows + other.windows,
            baseline={
                name: max(self.baseline.get(name, 0.0), other.baseline.get(name, 0.0))
                for name in names
            },
        )


def learn(windows: Sequence[Sketch], made: float) -> DriftReference:
    """The reference of some windows of one model.

    Raises:
        BadSketch: there are no windows, one is empty, or they are of different models.
    """
    if not windows:
        raise BadSketch("no windows to learn from")
    whole = reduce(Sketch.merge, windows)
    baseline: dict[str, float] = {}
    for window in windows:
        for drift_measure in measure(whole, window):
            name = drift_measure.name
            baseline[name] = max(baseline.get(name, 0.0), drift_measure.statistic)
    return DriftReference(whole, made, len(windows), baseline)
