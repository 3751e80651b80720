"""Every series the server exports, once.

Registered at import, so a scrape before the first request shows them; label sets are bounded:
model and version are the server's own names, never the client's text.
"""

from functools import cache
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from predictor.types import Lane, Protocol

# Seconds; resolves 1 ms where requests live and still tells 1 s from 30 s.
SECONDS = (
    0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05,
    0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
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
TOKENIZE_SECONDS = Histogram(
    "predictor_tokenize_seconds", "Time to tokenise one request", MODEL, buckets=SECONDS
)
QUEUE_SECONDS = Histogram(
    "predictor_queue_seconds", "Time the oldest row of a batch waited", MODEL, buckets=SECONDS
)
RUN_SECONDS = Histogram("predictor_run_seconds", "Time of one engine run", MODEL, buckets=SECONDS)
QUEUE_TOKENS = Gauge("predictor_queue_tokens", "Tokens admitted and not yet running", MODEL)
QUEUE_ROWS = Gauge("predictor_queue_rows", "Rows admitted and not yet running", MODEL)
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
BUILD_INFO = Gauge("predictor_build_info", "1", ("version", "python", "onnxruntime", "kserve"))

REJECTION_REASONS = (
    "queue_full", "too_many_requests", "not_ready", "deadline", "client_gone",
)  # fmt: skip
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


class ModelMetrics:
    """The children of one model version, looked up once instead of once a request."""

    def __init__(self, model: str, version: str) -> None:
        self.model, self.version = model, version
        labels = (model, version)
        self.tokenize_seconds = TOKENIZE_SECONDS.labels(*labels)
        self.queue_seconds = QUEUE_SECONDS.labels(*labels)
        self.run_seconds = RUN_SECONDS.labels(*labels)
        self.queue_tokens = QUEUE_TOKENS.labels(*labels)
        self.queue_rows = QUEUE_ROWS.labels(*labels)
        self.batch_tokens = BATCH_TOKENS.labels(*labels)
        self.batch_rows = BATCH_ROWS.labels(*labels)
        self.padding_ratio = PADDING_RATIO.labels(*labels)
        self.truncated = TRUNCATED.labels(*labels)
        self.engine_restarts = ENGINE_RESTARTS.labels(*labels)
        self.wide = BATCHES.labels(*labels, "wide")
        self.narrow = BATCHES.labels(*labels, "narrow")
        self.inputs = {lane: INPUTS.labels(*labels, lane.name.lower()) for lane in Lane}
        self.tokens = {lane: TOKENS.labels(*labels, lane.name.lower()) for lane in Lane}
        self.rejected = {why: REJECTED.labels(*labels, why) for why in REJECTION_REASONS}
        for protocol in PROTOCOLS:
            request_series(protocol, model, version, "200")


@cache
def request_series(
    protocol: Protocol, model: str, version: str, code: str
) -> tuple[Counter, Histogram]:
    """Counter and histogram of one kind of answer; unbounded cache of bounded labels."""
    labels = (protocol, model, version)
    return REQUESTS.labels(*labels, code), REQUEST_SECONDS.labels(*labels)


def observe_request(
    protocol: Protocol, model: str, version: str, code: int, seconds: float
) -> None:
    """Count one answered request: the only place where requests are counted."""
    counter, histogram = request_series(protocol, model, version, str(code))
    counter.inc()
    histogram.observe(seconds)
