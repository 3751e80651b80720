"""Sums over our own series, in the shapes that the page needs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample

Labels = tuple[str, ...]


@dataclass(slots=True)
class Buckets:
    """A histogram over all its label sets."""

    # Upper bounds, seconds.
    bounds: list[float]
    # Observations up to each bound; the last entry counts all of them.
    counts: list[float]


@dataclass(slots=True)
class Sums:
    """Number and sum of a histogram's observations."""

    count: float
    sum: float


def by_labels(source: MetricWrapperBase, *labels: str) -> dict[Labels, float]:
    """Values of a counter or gauge by some of its labels, summed over the others."""
    values: dict[Labels, float] = defaultdict(float)
    for family in source.collect():
        for sample in family.samples:
            values[tuple(sample.labels[label] for label in labels)] += sample.value
    return values


def total(source: MetricWrapperBase) -> float:
    return by_labels(source)[()]


def buckets(source: Histogram, bounds: Sequence[float]) -> Buckets:
    """bounds: those of the histogram."""
    counts = dict.fromkeys([*bounds, inf], 0.0)
    for sample in _samples(source):
        if sample.name.endswith("_bucket"):
            counts[float(sample.labels["le"])] += sample.value
    return Buckets(list(bounds), list(counts.values()))


def sums(source: Histogram) -> Sums:
    result = Sums(0.0, 0.0)
    for sample in _samples(source):
        if sample.name.endswith("_count"):
            result.count += sample.value
        elif sample.name.endswith("_sum"):
            result.sum += sample.value
    return result


def _samples(source: Histogram) -> Iterator[Sample]:
    for family in source.collect():
        yield from family.samples
