"""Sums over our own series, in the shapes that the page needs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

Labels = tuple[str, ...]


@dataclass(slots=True)
class Buckets:
    """A histogram over all its label sets.

    bounds: upper bounds, seconds. counts: how many were at most that, and last how many there were.
    """

    bounds: list[float]
    counts: list[float]


@dataclass(slots=True)
class Sums:
    """A histogram's observations: how many, and what they come to."""

    count: float
    sum: float


def by_labels(source: MetricWrapperBase, *labels: str) -> dict[Labels, float]:
    """Values of a counter or gauge by some of its labels, the others summed up."""
    values: dict[Labels, float] = defaultdict(float)
    for family in source.collect():
        for sample in family.samples:
            values[tuple(sample.labels[label] for label in labels)] += sample.value
    return values


def total(source: MetricWrapperBase) -> float:
    return by_labels(source)[()]


def buckets(source: Histogram, bounds: Sequence[float]) -> Buckets:
    """bounds: those that the histogram was made with."""
    counts = [0.0] * (len(bounds) + 1)
    for child in _children(source):
        for place, bucket in enumerate(child._buckets):
            counts[place] += bucket.get()
    return Buckets(list(bounds), list(accumulate(counts)))


def sums(source: Histogram) -> Sums:
    found = Sums(0.0, 0.0)
    for child in _children(source):
        found.count += sum(bucket.get() for bucket in child._buckets)
        found.sum += child._sum.get()
    return found


def _children(source: Histogram) -> list[Histogram]:
    """One a label set, past `collect`: that makes an object a bucket and takes ten times longer."""
    return cast(list[Histogram], list(source._metrics.copy().values()))
