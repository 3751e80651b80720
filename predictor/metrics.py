"""Every series the server exports, once.

Registered at import, so a scrape before the first request shows them; label sets are bounded:
model and version are the server's own names, never the client's text.
"""

from collections.abc import Iterable
from time import perf_counter
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from predictor.timeline import STAGES, Timeline
from predictor.types import Lane, Protocol

# When a series began is a third of all lines, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Seconds; resolves 1 ms where requests live and still tells 1 s from 30 s.
SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05,
    0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
# Fewer: there is one histogram a stage, protocol and version.
STAGE_BUCKETS = (0.00005, 0.0002, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
POWERS = tuple(float(2**n) for n in range(15))
RATIOS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75)
MODEL = ("model", "version")

REQUESTS = Counter(
    "predictor_requests", "Requests by outcome; code is the HTTP status, for gRPC its equivalent",
    ("protocol", *MODEL, "code"),
)  # fmt: skip
REQUEST_SECONDS = Histogram(
    "predictor_request_seconds", "Time from the whole body read to the answer encoded",
    ("protocol", *MODEL), buckets=SECONDS,
)  # fmt: skip
COMPUTED_SECONDS = Histogram(
    "predictor_computed_request_seconds", "Of these requests, those for which a row was computed: "
    "not all of them came out of the cache", ("protocol", *MODEL), buckets=SECONDS,
)  # fmt: skip
STAGE_SECONDS = Histogram(
    "predictor_stage_seconds", "Time of a request by stage: decode, tokenize, cache (look-up), "
    "queue, run, encode", ("protocol", *MODEL, "stage"), buckets=STAGE_BUCKETS,
)  # fmt: skip
QUEUE_SECONDS = Histogram(
    "predictor_queue_seconds", "Time the oldest row of a batch waited", MODEL, buckets=SECONDS
)
RUN_SECONDS = Histogram("predictor_run_seconds", "Time of one engine run", MODEL, buckets=SECONDS)
QUEUE_TOKENS = Gauge("predictor_queue_tokens", "Tokens admitted and not yet running", MODEL)
QUEUE_ROWS = Gauge("predictor_queue_rows", "Rows admitted and not yet running", MODEL)
QUEUE_AGE = Gauge(
    "predictor_queue_age_seconds", "How long the oldest row in the queue has waited", MODEL
)  # fmt: skip
BATCH_TOKENS = Histogram("predictor_batch_tokens", "Tokens a batch", MODEL, buckets=POWERS)
BATCH_ROWS = Histogram("predictor_batch_rows", "Rows a batch", MODEL, buckets=POWERS)
PADDING_RATIO = Histogram(
    "predictor_padding_ratio", "Share of a batch's attention view that is padding", MODEL,
    buckets=RATIOS,
)  # fmt: skip
BATCHES = Counter(
    "predictor_batches", "Engine runs; mode wide: alone on all threads, narrow: one thread",
    (*MODEL, "mode"),
)  # fmt: skip
INPUTS = Counter("predictor_inputs", "Texts embedded", (*MODEL, "lane"))
TOKENS = Counter("predictor_tokens", "Tokens embedded", (*MODEL, "lane"))
TRUNCATED = Counter("predictor_truncated_inputs", "Texts that lost tokens to the limit", MODEL)
REJECTED = Counter(
    "predictor_rejected", "Requests refused before any work was done", (*MODEL, "reason")
)
ENGINE_RESTARTS = Counter("predictor_engine_restarts", "Engine threads replaced", MODEL)
MODEL_INFO = Gauge(
    "predictor_model_info", "1 for each model version that is served",
    (*MODEL, "revision", "variant"),
)  # fmt: skip
MODEL_READY = Gauge("predictor_model_ready", "1 for a version that answers requests, else 0", MODEL)
MODEL_FAILED = Gauge(
    "predictor_model_failed", "1 for a version that should be served and may not", MODEL
)
MODEL_LOADS = Counter(
    "predictor_model_loads", "Attempts to put a version live by outcome: ready, or the reason",
    ("model", "outcome"),
)  # fmt: skip
MODEL_LOAD_SECONDS = Histogram(
    "predictor_model_load_seconds", "Time from reading a version to its going live", ("model",),
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)  # fmt: skip
REPOSITORY_POLLS = Counter(
    "predictor_repository_polls", "Looks at the repository; outcome ok or error", ("outcome",)
)
CACHE_HITS = Counter(
    "predictor_cache_hits", "Rows answered from the cache; tier memory, redis, or flight (another "
    "request was computing the same row)", (*MODEL, "tier"),
)  # fmt: skip
CACHE_MISSES = Counter("predictor_cache_misses", "Rows that had to be computed", MODEL)
CACHE_SAVED_TOKENS = Counter(
    "predictor_cache_saved_tokens", "Tokens that did not have to be computed", MODEL
)
CACHE_BYTES = Gauge("predictor_cache_bytes", "Memory held by cached rows")
CACHE_ROWS = Gauge("predictor_cache_rows", "Cached rows")
CACHE_EVICTIONS = Counter(
    "predictor_cache_evictions", "Rows that left the cache by cause: size, expired, flushed",
    ("cause",),
)  # fmt: skip
REDIS_SECONDS = Histogram(
    "predictor_cache_redis_seconds", "Time of one round trip to Redis", ("operation",),
    buckets=SECONDS,
)  # fmt: skip
REDIS_FAILURES = Counter(
    "predictor_cache_redis_failures", "Round trips or rows that gave nothing: timeout, "
    "connection, refused (memory full, password, replica), garbage, dropped (not written: queue "
    "full or circuit open)", ("reason",),
)  # fmt: skip
REDIS_OPEN = Gauge("predictor_cache_redis_open", "1 while the circuit is open: Redis is not asked")
TRACE_SPANS = Counter(
    "predictor_trace_spans", "Spans by what became of them: exported, failed (the collector did "
    "not take them), dropped (the queue was full)", ("outcome",),
)  # fmt: skip
for _outcome in ("exported", "failed", "dropped"):
    TRACE_SPANS.labels(_outcome)
for _outcome in ("ok", "error"):
    REPOSITORY_POLLS.labels(_outcome)
for _cause in ("size", "expired", "flushed"):
    CACHE_EVICTIONS.labels(_cause)
for _operation in ("get", "set"):
    REDIS_SECONDS.labels(_operation)
for _reason in ("timeout", "connection", "refused", "garbage", "dropped"):
    REDIS_FAILURES.labels(_reason)
CANONICAL_COSINE = Gauge(
    "predictor_canonical_min_cosine", "Smallest cosine of the canonical texts' vectors, as served "
    "at the last look, to those in the bundle", MODEL,
)  # fmt: skip
CANONICAL_TOLERANCE = Gauge(
    "predictor_canonical_tolerance", "The smallest cosine that is still right; reference: what the "
    "bundle's vectors were proven against (self proves sameness, not rightness)",
    (*MODEL, "reference"),
)  # fmt: skip
CANONICAL_LOOKED = Gauge(
    "predictor_canonical_timestamp_seconds", "When the canonical texts were last compared", MODEL
)
CANONICAL_LOOKS = Counter(
    "predictor_canonical_looks", "Looks at the canonical texts by outcome: right, wrong, busy (no "
    "room beside the clients), unreadable (the bundle's file), failed", (*MODEL, "outcome"),
)  # fmt: skip
DRIFT_SCORE = Gauge(
    "predictor_drift_score", "The traffic of the latest window against the reference, by test: "
    "statistic over threshold, from 1 on it drifted", (*MODEL, "test"),
)  # fmt: skip
DRIFT_ALARM = Gauge(
    "predictor_drift_alarm", "1 while so many windows in a row drifted as make an alarm",
    (*MODEL, "test"),
)  # fmt: skip
DRIFT_LEARNING = Gauge(
    "predictor_drift_learning", "1 while the reference is made and nothing is compared", MODEL
)
DRIFT_WINDOWS = Counter(
    "predictor_drift_windows", "Windows of traffic by outcome: learnt (part of the reference), "
    "compared, failed", (*MODEL, "outcome"),
)  # fmt: skip
SHADOW_TEXTS = Counter(
    "predictor_shadow_texts", "Copies of live texts for a canary by outcome: compared, failed (no "
    "answer, or none that can be compared), dropped (no room, here or there)", ("outcome",),
)  # fmt: skip
SHADOW_COSINE = Gauge(
    "predictor_shadow_min_cosine", "Smallest cosine of the canary's vector of a live text to the "
    "one that the client got, of the shadow that is on", MODEL,
)  # fmt: skip
SHADOW_OUTCOMES = ("compared", "failed", "dropped")
for _outcome in SHADOW_OUTCOMES:
    SHADOW_TEXTS.labels(_outcome)
GPU_UTILIZATION = Gauge(
    "predictor_gpu_utilization_ratio", "Share of the time in which the GPU was busy", ("gpu",)
)
GPU_MEMORY_USED = Gauge(
    "predictor_gpu_memory_used_bytes", "Memory of the GPU that anybody uses", ("gpu",)
)
GPU_MEMORY_TOTAL = Gauge("predictor_gpu_memory_total_bytes", "Memory of the GPU", ("gpu",))
GPU_LOOKS = Counter(
    "predictor_gpu_looks", "Looks at the GPUs by outcome: ok, failed, late (the driver did not "
    "answer in time)", ("outcome",),
)  # fmt: skip
for _outcome in ("ok", "failed", "late"):
    GPU_LOOKS.labels(_outcome)
LOOP_LAG_SECONDS = Histogram(
    "predictor_event_loop_lag_seconds", "How late the event loop comes to what is due",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)  # fmt: skip
BUILD_INFO = Gauge("predictor_build_info", "1", ("version", "python", "onnxruntime", "kserve"))

REJECTION_REASONS = (
    "queue_full", "too_many_requests", "not_ready", "deadline", "client_gone",
    "rate_limited", "unauthorized", "forbidden",
)  # fmt: skip
CACHE_TIERS = ("memory", "redis", "flight")
DRIFT_OUTCOMES = ("learnt", "compared", "failed")
CANONICAL_OUTCOMES = ("right", "wrong", "busy", "unreadable", "failed")
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
# A series that appears with its first error hides it from `rate`, which needs the zero before.
COUNTED_FROM_0 = ("200", "500", "503", "504")


# Everything that has a series a version, to be removed when the version is unloaded.
_OF_MODELS = (
    STAGE_SECONDS, QUEUE_SECONDS, RUN_SECONDS, QUEUE_TOKENS, QUEUE_ROWS, QUEUE_AGE, BATCH_TOKENS,
    BATCH_ROWS, PADDING_RATIO, BATCHES, INPUTS, TOKENS, TRUNCATED, REJECTED, ENGINE_RESTARTS,
    REQUESTS, REQUEST_SECONDS, COMPUTED_SECONDS, CACHE_HITS, CACHE_MISSES, CACHE_SAVED_TOKENS,
)  # fmt: skip


def remove_version(
    metrics: Iterable[Counter | Gauge | Histogram], model: str, version: str
) -> None:
    """Remove all series of one model version."""
    for metric in metrics:
        metric.remove_by_labels({"model": model, "version": version})


class ModelMetrics:
    """The children of one model version, looked up once instead of once a request."""

    def __init__(self, model: str, version: str) -> None:
        self.model, self.version = model, version
        labels = (model, version)
        self.queue_seconds = QUEUE_SECONDS.labels(*labels)
        self.run_seconds = RUN_SECONDS.labels(*labels)
        self.queue_tokens = QUEUE_TOKENS.labels(*labels)
        self.queue_rows = QUEUE_ROWS.labels(*labels)
        self.queue_age = QUEUE_AGE.labels(*labels)
        self.batch_tokens = BATCH_TOKENS.labels(*labels)
        self.batch_rows = BATCH_ROWS.labels(*labels)
        self.padding_ratio = PADDING_RATIO.labels(*labels)
        self.truncated = TRUNCATED.labels(*labels)
        self.engine_restarts = ENGINE_RESTARTS.labels(*labels)
        self.wide = BATCHES.labels(*labels, "wide")
        self.narrow = BATCHES.labels(*labels, "narrow")
        self.inputs = {lane: INPUTS.labels(*labels, lane.name.lower()) for lane in Lane}
        self.tokens = {lane: TOKENS.labels(*labels, lane.name.lower()) for lane in Lane}
        self.cache_misses = CACHE_MISSES.labels(*labels)
        self.cache_saved_tokens = CACHE_SAVED_TOKENS.labels(*labels)
        self.cache_hits = {tier: CACHE_HITS.labels(*labels, tier) for tier in CACHE_TIERS}
        for reason in REJECTION_REASONS:
            REJECTED.labels(*labels, reason)
        for protocol in PROTOCOLS:
            for code in COUNTED_FROM_0:
                _request_series(protocol, model, version, code)
        # So that the name is there; of protocols that nobody speaks, 84 lines each are saved.
        _stage_series("v2", model, version)

    def remove(self) -> None:
        """Forget the version: its series would otherwise stay for ever, and hold its engine."""
        remove_version(_OF_MODELS, self.model, self.version)
        for known in (_series, _stages):
            for key in [key for key in known if key[1:3] == (self.model, self.version)]:
                del known[key]


class CanonicalMetrics:
    """The children of one version that is watched."""

    def __init__(self, model: str, version: str, reference: str) -> None:
        self._labels = (model, version)
        self.cosine = CANONICAL_COSINE.labels(model, version)
        self.tolerance = CANONICAL_TOLERANCE.labels(model, version, reference)
        self.looked = CANONICAL_LOOKED.labels(model, version)
        self.outcomes = {
            outcome: CANONICAL_LOOKS.labels(model, version, outcome)
            for outcome in CANONICAL_OUTCOMES
        }

    def remove(self) -> None:
        """The version does not answer any more."""
        remove_version(
            (CANONICAL_COSINE, CANONICAL_TOLERANCE, CANONICAL_LOOKED, CANONICAL_LOOKS),
            *self._labels,
        )


class DriftMetrics:
    """The children of one version whose traffic is watched; scores come with a judgement."""

    def __init__(self, model: str, version: str, tests: Iterable[str]) -> None:
        self._labels = (model, version)
        for test in tests:
            DRIFT_ALARM.labels(model, version, test)
        self.learning = DRIFT_LEARNING.labels(model, version)
        self.outcomes = {
            outcome: DRIFT_WINDOWS.labels(model, version, outcome) for outcome in DRIFT_OUTCOMES
        }

    def show(self, test: str, score: float, alarm: bool) -> None:
        """score: statistic over threshold."""
        DRIFT_SCORE.labels(*self._labels, test).set(score)
        DRIFT_ALARM.labels(*self._labels, test).set(alarm)

    def remove(self) -> None:
        """The version does not answer any more."""
        remove_version((DRIFT_SCORE, DRIFT_ALARM, DRIFT_LEARNING, DRIFT_WINDOWS), *self._labels)


# By protocol, model, version (and code): bounded by what is loaded.
_series: dict[tuple[str, ...], tuple[Counter, Histogram, Histogram]] = {}
_stages: dict[tuple[str, ...], tuple[Histogram, ...]] = {}


def _request_series(
    protocol: Protocol, model: str, version: str, code: str
) -> tuple[Counter, Histogram, Histogram]:
    """Counter and histograms of one kind of answer: all of them, and the computed ones."""
    key = (protocol, model, version, code)
    found = _series.get(key)
    if found is None:
        kind = key[:3]
        found = _series[key] = (
            REQUESTS.labels(*key),
            REQUEST_SECONDS.labels(*kind),
            COMPUTED_SECONDS.labels(*kind),
        )
    return found


def _stage_series(protocol: Protocol, model: str, version: str) -> tuple[Histogram, ...]:
    """Histograms in the order of `timeline.STAGES`."""
    key = (protocol, model, version)
    found = _stages.get(key)
    if found is None:
        found = _stages[key] = tuple(STAGE_SECONDS.labels(*key, stage) for stage in STAGES)
    return found


def observe_request(
    protocol: Protocol, model: str, version: str, code: int, timeline: Timeline, trace: str = ""
) -> float:
    """Count one answered request and its stages: the only place where requests are counted.

    Args:
        trace: id of its trace in hex, which goes along as an exemplar; empty: it has none.

    Returns:
        The seconds it took.
    """
    seconds = perf_counter() - timeline.started
    counter, histogram, computed = _request_series(protocol, model, version, str(code))
    counter.inc()
    if timeline.run:
        computed.observe(seconds)
    histogram.observe(seconds, {"trace_id": trace} if trace else None)
    if code == 200:
        spent = (
            *(timeline.decode, timeline.tokenize, timeline.cache),
            *(timeline.queue, timeline.run, timeline.encode),
        )
        for stage, taken in zip(_stage_series(protocol, model, version), spent, strict=True):
            if taken:
                stage.observe(taken)
    return seconds


def count_rejection(model: str, version: str, reason: str) -> None:
    """Count a request that was refused; model and version are empty where it named none."""
    REJECTED.labels(model, version, reason).inc()


def count_spans(outcome: str, spans: int) -> None:
    """Count spans of requests and batches; from any thread."""
    TRACE_SPANS.labels(outcome).inc(spans)
