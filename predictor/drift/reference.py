"""What a version's traffic is usually like: the windows of its first day, as one sketch.

Traffic has nights and week-ends, and a client's batch job is no drift. So the reference also keeps
how far its own windows were from their sum, and the thresholds are never below that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

from predictor.drift.measures import measure
from predictor.drift.sketch import BadSketch, Sketch


@dataclass(frozen=True)
class Reference:
    """usual: by test, the largest statistic of one of the `windows` against all of them.

    made: seconds since 1970.
    """

    sketch: Sketch
    made: float
    windows: int
    usual: dict[str, float] = field(default_factory=dict)

    def merge(self, other: "Reference") -> "Reference":
        """The references of two pods as one.

        Raises:
            BadSketch: they are of different models.
        """
        names = sorted({*self.usual, *other.usual})
        return Reference(
            sketch=self.sketch.merge(other.sketch),
            made=max(self.made, other.made),
            windows=self.windows + other.windows,
            usual={n: max(self.usual.get(n, 0.0), other.usual.get(n, 0.0)) for n in names},
        )


def learn(windows: Sequence[Sketch], made: float) -> Reference:
    """The reference of some windows of one model.

    Raises:
        BadSketch: there is none, one is empty, or they are of different models.
    """
    if not windows:
        raise BadSketch("no windows to learn from")
    whole = reduce(Sketch.merge, windows)
    usual: dict[str, float] = {}
    for window in windows:
        for one in measure(whole, window):
            usual[one.name] = max(usual.get(one.name, 0.0), one.statistic)
    return Reference(whole, made, len(windows), usual)
