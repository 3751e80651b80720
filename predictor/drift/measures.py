"""All drift tests on two sketches: what each test measures, and how far apart the two are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from predictor.drift import statistics
from predictor.drift.sketch import (
    COSINES,
    LENGTHS,
    LOWEST_OCTAVE,
    NORMS,
    PER_OCTAVE,
    UNIT,
    BadSketch,
    Sketch,
)
from predictor.drift.statistics import Counts
from predictor.similarity import Floats

NORM_CENTERS: Floats = np.array(
    [2.0 ** ((place + 0.5) / PER_OCTAVE + LOWEST_OCTAVE) for place in range(NORMS)],
    np.float64,
)
COSINE_CENTERS: Floats = np.array(
    [(place + 0.5) / (COSINES / 2) - 1 for place in range(COSINES)], np.float64
)
NAMES = (
    "lengths",
    "truncated",
    "unknown",
    "scripts",
    "broken",
    "norms",
    "direction",
    "spread",
    "mmd",
)


@dataclass(frozen=True, slots=True)
class DriftMeasure:
    """The statistic of one test."""

    # One of `NAMES`.
    name: str
    # The statistic's name: PSI, h, KS, d or MMD.
    test: str
    statistic: float
    # What `before` and `after` are, for people.
    figure: str
    # Of the reference.
    before: float
    # Of the window.
    after: float


def measure(reference: Sketch, window: Sketch) -> list[DriftMeasure]:
    """Every test that both sketches have the data for; each sketch needs at least one row.

    The scripts test needs texts (a client may send token ids), the tests of vectors two rows with
    a direction.

    Raises:
        BadSketch: the vectors have different dimensions, or a side is empty.
    """
    if reference.identity.dimensions != window.identity.dimensions:
        raise BadSketch("the vectors have different dimensions")
    if not reference.rows or not window.rows:
        raise BadSketch("no rows")
    measures = list(_tokens(reference, window))
    if reference.scripted and window.scripted:
        measures.append(_scripts(reference, window))
    if min(len(reference.sample), len(window.sample)) > 1:
        measures += _vectors(reference, window)
    return sorted(measures, key=lambda drift_measure: NAMES.index(drift_measure.name))


def _tokens(reference: Sketch, window: Sketch) -> Iterator[DriftMeasure]:
    n, m = reference.rows, window.rows
    yield DriftMeasure(
        name="lengths",
        test="PSI",
        statistic=statistics.psi(reference.lengths, window.lengths, n, m),
        figure="median tokens",
        before=median_length(reference),
        after=median_length(window),
    )
    for name, figure, scale in (
        ("truncated", "share of rows", 1),
        ("unknown", "share of tokens", UNIT),
        ("broken", "share of rows", 1),
    ):
        before = getattr(reference, name) / scale / n
        after = getattr(window, name) / scale / m
        yield DriftMeasure(name, "h", statistics.cohens_h(before, after), figure, before, after)


def _scripts(reference: Sketch, window: Sketch) -> DriftMeasure:
    return DriftMeasure(
        name="scripts",
        test="PSI",
        statistic=statistics.psi(
            reference.scripts, window.scripts, reference.scripted, window.scripted
        ),
        figure="share not a-z",
        before=float(1 - reference.scripts[0] / reference.scripts.sum()),
        after=float(1 - window.scripts[0] / window.scripts.sum()),
    )


def _vectors(reference: Sketch, window: Sketch) -> Iterator[DriftMeasure]:
    for name, before, after, centers, figure in (
        ("norms", reference.norms, window.norms, NORM_CENTERS, "mean norm"),
        ("spread", reference.cosines, window.cosines, COSINE_CENTERS, "mean cosine"),
    ):
        yield DriftMeasure(
            name=name,
            test="KS",
            statistic=statistics.ks(before, after, slack=1),
            figure=figure,
            before=_mean(before, centers),
            after=_mean(after, centers),
        )
    yield DriftMeasure(
        name="direction",
        test="d",
        statistic=statistics.mean_shift(
            reference.mean() - window.mean(),
            reference.variance(),
            reference.directed,
            window.directed,
        ),
        figure="length of mean",
        before=float(np.linalg.norm(reference.mean())),
        after=float(np.linalg.norm(window.mean())),
    )
    yield DriftMeasure(
        name="mmd",
        test="MMD",
        statistic=statistics.mmd(
            reference.sample.astype(np.float64), window.sample.astype(np.float64)
        ),
        figure="variance",
        before=reference.variance(),
        after=window.variance(),
    )


def _mean(counts: Counts, centers: Floats) -> float:
    return float((counts * centers).sum() / max(1, counts.sum()))


def median_length(sketch: Sketch) -> float:
    """Median length in tokens, interpolated within its bin."""
    half = np.cumsum(sketch.lengths) >= sketch.rows / 2
    place = int(np.argmax(half))
    low = LENGTHS[place]
    rows_below = int(sketch.lengths[:place].sum())
    high = LENGTHS[place + 1] if place + 1 < len(LENGTHS) else 2 * low
    return low + (high - low) * (sketch.rows / 2 - rows_below) / max(1, int(sketch.lengths[place]))
