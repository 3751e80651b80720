"""Every series that the server exports, each declared once.

Registered at import, so that a scrape before the first request shows them. The label sets are
bounded: model and version are the server's own names, never the client's text.
"""

from bisect import bisect_left
from collections.abc import Mapping

import prometheus_client
from prometheus_client import Counter, Gauge, disable_created_metrics

from predictor.types import ProtocolName

# The creation time of each series would be a third of all lines, and no dashboard reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Upper bounds in seconds: they resolve 1 ms where requests live and still tell 1 s from 30 s.
SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    0.75,
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
)
# Upper bounds in seconds; fewer, because there is one histogram per stage, protocol and version.
STAGE_BUCKETS = (0.00005, 0.0002, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
POWERS = tuple(float(2**n) for n in range(15))
RATIOS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75)
MODEL = ("model", "version")


class Histogram(prometheus_client.Histogram):
    """The library's, whose observation takes twice as long: it looks through all of its buckets.

    A request makes nine observations.
    """

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Count one value; only for a child, which has all labels."""
        if exemplar is not None:
            super().observe(amount, dict(exemplar))
            return
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)


# Requests

REQUESTS = Counter(
    "predictor_requests",
    "Requests by outcome; code is the HTTP status, for gRPC its HTTP equivalent",
    ("protocol", *MODEL, "code"),
)
REQUEST_SECONDS = Histogram(
    "predictor_request_seconds",
    "Seconds from the complete request body to the encoded response",
    ("protocol", *MODEL),
    buckets=SECONDS,
)
COMPUTED_SECONDS = Histogram(
    "predictor_computed_request_seconds",
    "Seconds of the requests for which at least one row was computed, not read from the cache",
    ("protocol", *MODEL),
    buckets=SECONDS,
)
STAGE_SECONDS = Histogram(
    "predictor_stage_seconds",
    "Seconds of a request per stage: decode, tokenize, cache (lookup), queue, run, encode",
    ("protocol", *MODEL, "stage"),
    buckets=STAGE_BUCKETS,
)
INPUTS = Counter("predictor_inputs", "Texts embedded", (*MODEL, "lane"))
TOKENS = Counter("predictor_tokens", "Tokens embedded", (*MODEL, "lane"))
TRUNCATED = Counter(
    "predictor_truncated_inputs", "Texts that were truncated to the token limit", MODEL
)
NOT_FINITE = Counter(
    "predictor_not_finite_rows",
    "Computed rows for which the model gave NaN or infinity; their requests failed",
    MODEL,
)
REJECTED = Counter(
    "predictor_rejected",
    "Requests rejected before any work was done, by reason",
    (*MODEL, "reason"),
)

# Transport

HTTP_CONNECTIONS = Gauge("predictor_http_connections", "HTTP connections that are open")
TRANSPORT_REFUSALS = Counter(
    "predictor_transport_refusals",
    "Connections and calls that were refused or ended before their request was decoded or their "
    "answer read, by transport (http, grpc) and reason: malformed, header_bytes, header_count, "
    "first_byte, header_time, body_time, slow_body, slow_reader, unread (answers), waiting (all "
    "bytes that may wait do), replaced (by a new connection), connections, calls",
    ("transport", "reason"),
)
for _reason in (
    "malformed",
    "header_bytes",
    "header_count",
    "first_byte",
    "header_time",
    "body_time",
    "slow_body",
    "slow_reader",
    "unread",
    "waiting",
    "replaced",
    "connections",
):
    TRANSPORT_REFUSALS.labels("http", _reason)
for _reason in ("malformed", "body_time", "unread", "waiting", "calls"):
    TRANSPORT_REFUSALS.labels("grpc", _reason)
WAITING_BYTES = Gauge(
    "predictor_waiting_bytes",
    "Bytes that wait for clients or for the engine by account: requests (received over HTTP, not "
    "answered yet), messages (being received over gRPC), texts (decoded), http_answers and "
    "grpc_answers (not read by their clients)",
    ("account",),
)
WAITING_LIMIT = Gauge(
    "predictor_waiting_bytes_limit",
    "Bytes that may wait in all accounts; at the limit large requests are refused",
)

LISTENER_RESTARTS = Counter(
    "predictor_listener_restarts",
    "Listeners that ended by themselves and were started again on the same port: REST, gRPC, admin",
    ("listener",),
)
TASK_RESTARTS = Counter(
    "predictor_task_restarts",
    "Background tasks that ended by themselves and were started again, by name",
    ("task",),
)
LOG_LINES_DROPPED = Counter(
    "predictor_log_lines_dropped",
    "Log lines that were not written, by reason: rate (a line that clients can cause, over its "
    "limit), queue_full (the reader of the log does not read)",
    ("reason",),
)
for _reason in ("rate", "queue_full"):
    LOG_LINES_DROPPED.labels(_reason)

# Queue, batches and engine

QUEUE_SECONDS = Histogram(
    "predictor_queue_seconds",
    "Seconds that the oldest row of a batch waited in the queue",
    MODEL,
    buckets=SECONDS,
)
RUN_SECONDS = Histogram("predictor_run_seconds", "Seconds per engine run", MODEL, buckets=SECONDS)
QUEUE_TOKENS = Gauge("predictor_queue_tokens", "Tokens admitted and not yet running", MODEL)
QUEUE_ROWS = Gauge("predictor_queue_rows", "Rows admitted and not yet running", MODEL)
QUEUE_AGE = Gauge(
    "predictor_queue_age_seconds", "Seconds that the oldest row in the queue has waited", MODEL
)
BATCH_TOKENS = Histogram("predictor_batch_tokens", "Tokens per batch", MODEL, buckets=POWERS)
BATCH_ROWS = Histogram("predictor_batch_rows", "Rows per batch", MODEL, buckets=POWERS)
PADDING_RATIO = Histogram(
    "predictor_padding_ratio",
    "Share of a batch's attention view that is padding",
    MODEL,
    buckets=RATIOS,
)
BATCHES = Counter(
    "predictor_batches",
    "Engine runs by mode: wide (one run on all threads) or narrow (one thread per run)",
    (*MODEL, "mode"),
)
ENGINE_BUSY_SECONDS = Counter(
    "predictor_engine_busy_seconds",
    "Seconds that the engine's threads ran batches; a run on all threads counts for each of them",
    MODEL,
)
ENGINE_IDLE_SECONDS = Counter(
    "predictor_engine_idle_seconds",
    "Seconds that the engine's threads stood idle while rows waited",
    MODEL,
)
ENGINE_RESTARTS = Counter("predictor_engine_restarts", "Engine threads replaced", MODEL)

# Models

MODEL_INFO = Gauge(
    "predictor_model_info",
    "1 for each model version that is served",
    (*MODEL, "revision", "variant"),
)
MODEL_READY = Gauge(
    "predictor_model_ready", "1 for a version that answers requests, 0 otherwise", MODEL
)
MODEL_FAILED = Gauge(
    "predictor_model_failed", "1 for a version that should be served but failed to load", MODEL
)
MODEL_LOADS = Counter(
    "predictor_model_loads",
    "Attempts to load a version by outcome: ready, or the reason of the failure",
    ("model", "outcome"),
)
MODEL_LOAD_SECONDS = Histogram(
    "predictor_model_load_seconds",
    "Seconds from the start of loading a version until it answers requests",
    ("model",),
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
REPOSITORY_POLLS = Counter(
    "predictor_repository_polls",
    "Polls of the model repository by outcome: ok, error",
    ("outcome",),
)
for _outcome in ("ok", "error"):
    REPOSITORY_POLLS.labels(_outcome)

# Cache

CACHE_HITS = Counter(
    "predictor_cache_hits",
    "Rows answered from the cache by tier: memory, redis, or flight (another request was "
    "computing the same row)",
    (*MODEL, "tier"),
)
CACHE_MISSES = Counter("predictor_cache_misses", "Rows that had to be computed", MODEL)
CACHE_SAVED_TOKENS = Counter(
    "predictor_cache_saved_tokens", "Tokens that did not have to be computed", MODEL
)
CACHE_BYTES = Gauge("predictor_cache_bytes", "Memory used by cached rows, in bytes")
CACHE_ROWS = Gauge("predictor_cache_rows", "Rows in the memory cache")
CACHE_EVICTIONS = Counter(
    "predictor_cache_evictions",
    "Rows removed from the memory cache by cause: size, expired, flushed",
    ("cause",),
)
for _cause in ("size", "expired", "flushed"):
    CACHE_EVICTIONS.labels(_cause)
REDIS_SECONDS = Histogram(
    "predictor_cache_redis_seconds",
    "Seconds per round trip to Redis",
    ("operation",),
    buckets=SECONDS,
)
for _operation in ("get", "set"):
    REDIS_SECONDS.labels(_operation)
REDIS_FAILURES = Counter(
    "predictor_cache_redis_failures",
    "Failed round trips and lost rows of Redis by reason: timeout, connection, refused (memory "
    "full, password, replica), garbage (not a cached row), dropped (not written: queue full or "
    "circuit open)",
    ("reason",),
)
for _reason in ("timeout", "connection", "refused", "garbage", "dropped"):
    REDIS_FAILURES.labels(_reason)
REDIS_OPEN = Gauge(
    "predictor_cache_redis_open", "1 while the circuit breaker is open and Redis is not used"
)

# Traces

TRACE_SPANS = Counter(
    "predictor_trace_spans",
    "Spans by outcome: exported, failed (rejected by the collector), dropped (the queue was full)",
    ("outcome",),
)
for _outcome in ("exported", "failed", "dropped"):
    TRACE_SPANS.labels(_outcome)

# Checks of the canonical texts

CANONICAL_COSINE = Gauge(
    "predictor_canonical_min_cosine",
    "Smallest cosine between the vectors of the canonical texts as served at the last check and "
    "the vectors in the bundle",
    MODEL,
)
CANONICAL_TOLERANCE = Gauge(
    "predictor_canonical_tolerance",
    "Smallest cosine that passes a check; reference says what the bundle's vectors were verified "
    "against (self proves sameness, not correctness)",
    (*MODEL, "reference"),
)
CANONICAL_TIMESTAMP = Gauge(
    "predictor_canonical_timestamp_seconds",
    "Unix time of the last comparison of the canonical texts",
    MODEL,
)
CANONICAL_CHECKS = Counter(
    "predictor_canonical_checks",
    "Checks of the canonical texts by outcome: passed, failed (a cosine below the tolerance), "
    "busy (no capacity beside client requests), unreadable (the bundle's file), error",
    (*MODEL, "outcome"),
)

# Drift of the traffic

DRIFT_SCORE = Gauge(
    "predictor_drift_score",
    "Latest window of traffic against the reference: statistic over threshold per test, 1 or more "
    "is drift",
    (*MODEL, "test"),
)
DRIFT_ALARM = Gauge(
    "predictor_drift_alarm",
    "1 after enough consecutive windows drifted, per test; 0 after as many did not",
    (*MODEL, "test"),
)
DRIFT_LEARNING = Gauge(
    "predictor_drift_learning",
    "1 while the reference is being learnt and no window is compared",
    MODEL,
)
DRIFT_WINDOWS = Counter(
    "predictor_drift_windows",
    "Windows of traffic by outcome: learnt (part of the reference), compared, failed",
    (*MODEL, "outcome"),
)

# Shadow traffic

SHADOW_TEXTS = Counter(
    "predictor_shadow_texts",
    "Copies of live texts for a canary by outcome: compared, failed (no response, or an invalid "
    "one), dropped (no capacity in the server or the canary)",
    ("outcome",),
)
SHADOW_COSINE = Gauge(
    "predictor_shadow_min_cosine",
    "Smallest cosine between the canary's vector of a live text and the client's vector, for the "
    "active shadow",
    MODEL,
)
SHADOW_OUTCOMES = ("compared", "failed", "dropped")
for _outcome in SHADOW_OUTCOMES:
    SHADOW_TEXTS.labels(_outcome)

# GPUs and process

GPU_UTILIZATION = Gauge(
    "predictor_gpu_utilization_ratio", "Share of the time in which the GPU was busy", ("gpu",)
)
GPU_MEMORY_USED = Gauge(
    "predictor_gpu_memory_used_bytes", "GPU memory in use by all processes, in bytes", ("gpu",)
)
GPU_MEMORY_TOTAL = Gauge(
    "predictor_gpu_memory_total_bytes", "Total memory of the GPU, in bytes", ("gpu",)
)
GPU_CHECKS = Counter(
    "predictor_gpu_checks",
    "Reads of the GPUs by outcome: ok, failed, late (the driver did not answer in time)",
    ("outcome",),
)
for _outcome in ("ok", "failed", "late"):
    GPU_CHECKS.labels(_outcome)
LOOP_LAG_SECONDS = Histogram(
    "predictor_event_loop_lag_seconds",
    "Seconds by which the event loop runs a due timer late",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
LONG_TURNS = Counter(
    "predictor_event_loop_long_turns",
    "Turns of the event loop of more than 250 ms by the route of the request; none: no request",
    ("route",),
)
LONG_TURNS.labels("none")
BUILD_INFO = Gauge(
    "predictor_build_info",
    "Always 1; the labels are the versions of the server and its main libraries",
    ("version", "python", "onnxruntime", "kserve"),
)

# Label values

REJECTION_REASONS = (
    "queue_full",
    "too_many_requests",
    "waiting_bytes",
    "not_ready",
    "deadline",
    "client_gone",
    "rate_limited",
    "unauthorized",
    "forbidden",
)
CACHE_TIERS = ("memory", "redis", "flight")
DRIFT_OUTCOMES = ("learnt", "compared", "failed")
CANONICAL_OUTCOMES = ("passed", "failed", "busy", "unreadable", "error")
# Their series exist from the start; those of another codec begin with its first request.
PROTOCOLS: tuple[ProtocolName, ...] = ("v1", "v2", "v2_grpc", "openai", "tei", "cohere")
# A series that appears with its first error hides it from `rate`, which needs the zero before.
COUNTED_FROM_0 = ("200", "500", "503", "504")
