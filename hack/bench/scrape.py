"""The server's own count of what it did: its metrics, read before and after a run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from .errors import BenchError
from .servers import RunningServer

Labels = frozenset[tuple[str, str]]
REQUEST_SECONDS = "predictor_request_seconds"


@dataclass(frozen=True)
class Metrics:
    """Samples by series. A series that is not there counts as 0."""

    samples: Mapping[tuple[str, Labels], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of that name with these labels."""
        return sum(value for _, value in self._matching(name, labels))

    def since(self, before: "Metrics") -> "Metrics":
        return Metrics({k: v - before.samples.get(k, 0.0) for k, v in self.samples.items()})

    def mean(self, histogram: str) -> float:
        count = self.total(f"{histogram}_count")
        return self.total(f"{histogram}_sum") / count if count else math.nan

    def quantile(self, histogram: str, share: float) -> float:
        """As PromQL's histogram_quantile: even within a bucket, so no finer than the buckets."""
        buckets: dict[float, float] = {}
        for labels, value in self._matching(f"{histogram}_bucket", {}):
            bound = float(dict(labels)["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        rank = share * buckets.get(math.inf, 0.0)
        if not rank:
            return math.nan
        low, count_below = 0.0, 0.0
        for bound, count in sorted(buckets.items()):
            if count >= rank and bound < math.inf:
                return low + (bound - low) * (rank - count_below) / (count - count_below)
            if bound < math.inf:
                low, count_below = bound, count
        return low  # over the last bound: that is all one knows

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterator[tuple[Labels, float]]:
        for (series, has), value in self.samples.items():
            if series == name and labels.items() <= set(has):
                yield has, value


class RowSources(NamedTuple):
    """Where the rows of a run came from; flight: another request was computing the same."""

    memory: float
    redis: float
    flight: float
    computed: float

    @property
    def hit_share(self) -> float:
        return 1 - self.computed / sum(self) if sum(self) else math.nan


def row_sources(during: Metrics) -> RowSources:
    hits = {
        tier: during.total("predictor_cache_hits_total", tier=tier)
        for tier in ("memory", "redis", "flight")
    }
    return RowSources(**hits, computed=during.total("predictor_cache_misses_total"))


def idle_share(during: Metrics) -> float:
    """The part of the engine's time in which it stood idle while rows waited."""
    idle = during.total("predictor_engine_idle_seconds_total")
    total = idle + during.total("predictor_engine_busy_seconds_total")
    return idle / total if total else math.nan


def read(server: RunningServer) -> Metrics:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"GET /metrics: {answer.status} {body[:300]}")
    return parse(body)


def parse(text: str) -> Metrics:
    return Metrics(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )
