"""The series of one model version: created when it is loaded, removed when it is unloaded.

Children are looked up once per version instead of once per request. A series that stayed after the
unloading would be scraped for ever and would keep the version's engine in memory.
"""

from collections.abc import Iterable
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram

from predictor import metrics
from predictor.timeline import STAGES, Timeline
from predictor.types import Lane, ProtocolName

# Every metric with a series per version that `ModelMetrics` removes.
_OF_MODELS = (
    metrics.STAGE_SECONDS,
    metrics.QUEUE_SECONDS,
    metrics.RUN_SECONDS,
    metrics.QUEUE_TOKENS,
    metrics.QUEUE_ROWS,
    metrics.QUEUE_AGE,
    metrics.BATCH_TOKENS,
    metrics.BATCH_ROWS,
    metrics.PADDING_RATIO,
    metrics.BATCHES,
    metrics.INPUTS,
    metrics.TOKENS,
    metrics.TRUNCATED,
    metrics.NOT_FINITE,
    metrics.REJECTED,
    metrics.ENGINE_BUSY_SECONDS,
    metrics.ENGINE_IDLE_SECONDS,
    metrics.ENGINE_RESTARTS,
    metrics.REQUESTS,
    metrics.REQUEST_SECONDS,
    metrics.COMPUTED_SECONDS,
    metrics.CACHE_HITS,
    metrics.CACHE_MISSES,
    metrics.CACHE_SAVED_TOKENS,
)
# By protocol, model, version (and code): bounded by the loaded versions.
_request_children: dict[tuple[str, ...], tuple[Counter, Histogram, Histogram]] = {}
_stage_children: dict[tuple[str, ...], tuple[Histogram, ...]] = {}


def remove_version(
    families: Iterable[Counter | Gauge | Histogram], model: str, version: str
) -> None:
    """Remove all series of one model version."""
    for family in families:
        family.remove_by_labels({"model": model, "version": version})


class ModelMetrics:
    """The children of one loaded version."""

    def __init__(self, model: str, version: str) -> None:
        self.model = model
        self.version = version
        labels = (model, version)
        self.queue_seconds = metrics.QUEUE_SECONDS.labels(*labels)
        self.run_seconds = metrics.RUN_SECONDS.labels(*labels)
        self.queue_tokens = metrics.QUEUE_TOKENS.labels(*labels)
        self.queue_rows = metrics.QUEUE_ROWS.labels(*labels)
        self.queue_age = metrics.QUEUE_AGE.labels(*labels)
        self.batch_tokens = metrics.BATCH_TOKENS.labels(*labels)
        self.batch_rows = metrics.BATCH_ROWS.labels(*labels)
        self.padding_ratio = metrics.PADDING_RATIO.labels(*labels)
        self.truncated = metrics.TRUNCATED.labels(*labels)
        self.not_finite = metrics.NOT_FINITE.labels(*labels)
        self.engine_restarts = metrics.ENGINE_RESTARTS.labels(*labels)
        self._engine_busy = metrics.ENGINE_BUSY_SECONDS.labels(*labels)
        self._engine_idle = metrics.ENGINE_IDLE_SECONDS.labels(*labels)
        self.wide = metrics.BATCHES.labels(*labels, "wide")
        self.narrow = metrics.BATCHES.labels(*labels, "narrow")
        self.inputs = {lane: metrics.INPUTS.labels(*labels, lane.name.lower()) for lane in Lane}
        self.tokens = {lane: metrics.TOKENS.labels(*labels, lane.name.lower()) for lane in Lane}
        self.cache_misses = metrics.CACHE_MISSES.labels(*labels)
        self.cache_saved_tokens = metrics.CACHE_SAVED_TOKENS.labels(*labels)
        self.cache_hits = {
            tier: metrics.CACHE_HITS.labels(*labels, tier) for tier in metrics.CACHE_TIERS
        }
        for reason in metrics.REJECTION_REASONS:
            metrics.REJECTED.labels(*labels, reason)
        for protocol in metrics.PROTOCOLS:
            for code in metrics.COUNTED_FROM_0:
                _children_of_request(protocol, model, version, code)
        # So that the name exists; each protocol without requests saves 84 lines per scrape.
        _children_of_stages("v2", model, version)

    def add_thread_seconds(self, busy_s: float, idle_s: float) -> None:
        """Count seconds of the engine's threads: running batches, and idle while rows waited."""
        self._engine_busy.inc(busy_s)
        self._engine_idle.inc(idle_s)

    def remove(self) -> None:
        """Remove all series of the version."""
        remove_version(_OF_MODELS, self.model, self.version)
        for children in (_request_children, _stage_children):
            for key in [key for key in children if key[1:3] == (self.model, self.version)]:
                del children[key]


class CanonicalMetrics:
    """The children of one version whose canonical texts are checked."""

    def __init__(self, model: str, version: str, reference: str) -> None:
        self._labels = (model, version)
        self.cosine = metrics.CANONICAL_COSINE.labels(model, version)
        self.tolerance = metrics.CANONICAL_TOLERANCE.labels(model, version, reference)
        self.timestamp = metrics.CANONICAL_TIMESTAMP.labels(model, version)
        self.outcomes = {
            outcome: metrics.CANONICAL_CHECKS.labels(model, version, outcome)
            for outcome in metrics.CANONICAL_OUTCOMES
        }

    def remove(self) -> None:
        """Remove all series of the version."""
        families = (
            metrics.CANONICAL_COSINE,
            metrics.CANONICAL_TOLERANCE,
            metrics.CANONICAL_TIMESTAMP,
            metrics.CANONICAL_CHECKS,
        )
        remove_version(families, *self._labels)


class DriftMetrics:
    """The children of one version whose traffic is watched; scores begin with the first result."""

    def __init__(self, model: str, version: str, tests: Iterable[str]) -> None:
        self._labels = (model, version)
        for test in tests:
            metrics.DRIFT_ALARM.labels(model, version, test)
        self.learning = metrics.DRIFT_LEARNING.labels(model, version)
        self.outcomes = {
            outcome: metrics.DRIFT_WINDOWS.labels(model, version, outcome)
            for outcome in metrics.DRIFT_OUTCOMES
        }

    def show(self, test: str, score: float, alarm: bool) -> None:
        """score: statistic over threshold."""
        metrics.DRIFT_SCORE.labels(*self._labels, test).set(score)
        metrics.DRIFT_ALARM.labels(*self._labels, test).set(alarm)

    def remove(self) -> None:
        """Remove all series of the version."""
        families = (
            metrics.DRIFT_SCORE,
            metrics.DRIFT_ALARM,
            metrics.DRIFT_LEARNING,
            metrics.DRIFT_WINDOWS,
        )
        remove_version(families, *self._labels)


def _children_of_request(
    protocol: ProtocolName, model: str, version: str, code: str
) -> tuple[Counter, Histogram, Histogram]:
    """The counter of one outcome, and the histograms of all and of the computed requests."""
    key = (protocol, model, version, code)
    children = _request_children.get(key)
    if children is None:
        children = (
            metrics.REQUESTS.labels(*key),
            metrics.REQUEST_SECONDS.labels(protocol, model, version),
            metrics.COMPUTED_SECONDS.labels(protocol, model, version),
        )
        _request_children[key] = children
    return children


def _children_of_stages(protocol: ProtocolName, model: str, version: str) -> tuple[Histogram, ...]:
    """Histograms in the order of `timeline.STAGES`."""
    key = (protocol, model, version)
    children = _stage_children.get(key)
    if children is None:
        children = tuple(metrics.STAGE_SECONDS.labels(*key, stage) for stage in STAGES)
        _stage_children[key] = children
    return children


def observe_request(
    protocol: ProtocolName, model: str, version: str, code: int, timeline: Timeline, trace: str = ""
) -> float:
    """Count one answered request and its stages: the only place where requests are counted.

    Args:
        trace: trace id in hex, recorded as an exemplar; empty: the request has no trace.

    Returns:
        The seconds that the request took.
    """
    seconds = perf_counter() - timeline.started
    counter, histogram, computed = _children_of_request(protocol, model, version, str(code))
    counter.inc()
    if timeline.run:
        computed.observe(seconds)
    histogram.observe(seconds, {"trace_id": trace} if trace else None)
    if code == 200:
        stages = zip(_children_of_stages(protocol, model, version), timeline.stages(), strict=True)
        for stage, spent_s in stages:
            if spent_s:
                stage.observe(spent_s)
    return seconds


def count_rejection(model: str, version: str, reason: str) -> None:
    """Count a rejected request; model and version are empty where the request named none."""
    metrics.REJECTED.labels(model, version, reason).inc()


def count_spans(outcome: str, spans: int) -> None:
    """Count spans of requests and batches; from any thread."""
    metrics.TRACE_SPANS.labels(outcome).inc(spans)
