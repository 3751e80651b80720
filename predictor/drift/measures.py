"""All tests on two sketches: what each looks at, and how far apart the two are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from predictor.drift import statistics
from predictor.drift.sketch import (
    COSINES,
    LENGTHS,
    LOWEST_OCTAVE,
    NORMS,
    ONE,
    PER_OCTAVE,
    BadSketch,
    Sketch,
)
from predictor.drift.statistics import Counts
from predictor.fidelity import Floats

MIDDLE_NORMS: Floats = np.array(
    [2.0 ** ((place + 0.5) / PER_OCTAVE + LOWEST_OCTAVE) for place in range(NORMS)],
    np.float64,
)
MIDDLE_COSINES: Floats = np.array(
    [(place + 0.5) / (COSINES / 2) - 1 for place in range(COSINES)], np.float64
)
NAMES = (
    *("lengths", "truncated", "unknown", "scripts", "broken"),
    *("norms", "direction", "spread", "cloud"),
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One test. `before`, `after`: a figure of each side for people, as `figure` says."""

    name: str
    test: str
    statistic: float
    figure: str
    before: float
    after: float


def measure(reference: Sketch, window: Sketch) -> list[Measure]:
    """Every test that both sketches have the data for; each needs at least one row.

    Scripts need texts (a client may send token ids), the vectors' tests two rows with a direction.

    Raises:
        BadSketch: the vectors have different widths, or a side is empty.
    """
    if reference.subject.dimensions != window.subject.dimensions:
        raise BadSketch("the vectors have different widths")
    if not reference.rows or not window.rows:
        raise BadSketch("no rows")
    found = list(_tokens(reference, window))
    if reference.scripted and window.scripted:
        found.append(_scripts(reference, window))
    if min(len(reference.sample), len(window.sample)) > 1:
        found += _vectors(reference, window)
    return sorted(found, key=lambda one: NAMES.index(one.name))


def _tokens(reference: Sketch, window: Sketch) -> Iterator[Measure]:
    n, m = reference.rows, window.rows
    lengths = statistics.psi(reference.lengths, window.lengths, n, m)
    middles = (median_length(reference), median_length(window))
    yield Measure("lengths", "PSI", lengths, "median tokens", *middles)
    for name, figure, scale in (
        ("truncated", "share of rows", 1),
        ("unknown", "share of tokens", ONE),
        ("broken", "share of rows", 1),
    ):
        before, after = getattr(reference, name) / scale / n, getattr(window, name) / scale / m
        yield Measure(name, "h", statistics.cohens_h(before, after), figure, before, after)


def _scripts(reference: Sketch, window: Sketch) -> Measure:
    moved = statistics.psi(reference.scripts, window.scripts, reference.scripted, window.scripted)
    shares = (1 - one.scripts[0] / one.scripts.sum() for one in (reference, window))
    return Measure("scripts", "PSI", moved, "share not a-z", *map(float, shares))


def _vectors(reference: Sketch, window: Sketch) -> Iterator[Measure]:
    for name, before, after, middles, figure in (
        ("norms", reference.norms, window.norms, MIDDLE_NORMS, "mean norm"),
        ("spread", reference.cosines, window.cosines, MIDDLE_COSINES, "mean cosine"),
    ):
        statistic = statistics.ks(before, after, slack=1)
        yield Measure(name, "KS", statistic, figure, _mean(before, middles), _mean(after, middles))
    n, m = reference.directed, window.directed
    shift = statistics.mean_shift(reference.mean() - window.mean(), reference.variance(), n, m)
    lengths = (float(np.linalg.norm(one.mean())) for one in (reference, window))
    yield Measure("direction", "d", shift, "length of mean", *lengths)
    left, right = (one.sample.astype(np.float64) for one in (reference, window))
    spreads = (one.variance() for one in (reference, window))
    yield Measure("cloud", "MMD", statistics.mmd(left, right), "variance", *spreads)


def _mean(counts: Counts, middles: Floats) -> float:
    return float((counts * middles).sum() / max(1, counts.sum()))


def median_length(sketch: Sketch) -> float:
    """In tokens, as near as the bins allow."""
    half = np.cumsum(sketch.lengths) >= sketch.rows / 2
    place = int(np.argmax(half))
    low = LENGTHS[place]
    below = int(sketch.lengths[:place].sum())
    high = LENGTHS[place + 1] if place + 1 < len(LENGTHS) else 2 * low
    return low + (high - low) * (sketch.rows / 2 - below) / max(1, int(sketch.lengths[place]))
