"""The figures of the page: totals since the start, from which it computes rates and quantiles.

A rate needs two snapshots and the time between them, so the server keeps no state per browser. The
series are summed in a thread, like those of /metrics, and a snapshot is reused for half a second.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from predictor import __version__, metrics
from predictor.protocols.wire import encode_json
from predictor.server.http.page.series import Buckets, Labels, Sums, buckets, by_labels, sums, total
from predictor.server.http.page.versions import MAX_VERSIONS, VersionLine, add_series, lines_of
from predictor.server.inference import Inference
from predictor.settings import BatchingSettings

# How long a snapshot is reused, seconds; the page requests one every two.
KEEP_S = 0.5


@dataclass(slots=True)
class ServerLine:
    """The server."""

    version: str
    # Random per process: tells replicas behind one address apart, and a process from its successor.
    instance: str
    uptime_s: float
    ready: bool
    draining: bool
    default: str
    batch_tokens: int
    queue_tokens: int


@dataclass(slots=True)
class Requests:
    """Requests by outcome."""

    # Status 200.
    answered: float = 0.0
    # Faults of the client, and limits: 400 to 499.
    refused: float = 0.0
    # Faults of the server: 500 and above.
    failed: float = 0.0


@dataclass(slots=True)
class Queue:
    """The queues of all models now."""

    tokens: float
    rows: float
    # Of the oldest row.
    age_s: float


@dataclass(slots=True)
class PageTotals:
    """Sums over all models since the start."""

    requests: Requests
    latency: Buckets
    # Texts and tokens that were computed.
    texts: float
    tokens: float
    truncated: float
    queue: Queue
    batch_tokens: Sums
    batch_rows: Sums
    padding: Sums
    cache_hits: float
    cache_misses: float
    cache_saved_tokens: float


@dataclass(slots=True)
class Snapshot:
    """One response."""

    # Monotonic seconds.
    at: float
    server: ServerLine
    totals: PageTotals
    versions: list[VersionLine]
    # Versions without a line.
    left_out: int


class Figures:
    """One per server, on its loop."""

    def __init__(self, inference: Inference, batching: BatchingSettings) -> None:
        self._inference = inference
        self._batching = batching
        self._instance = secrets.token_hex(4)
        self._started = time.monotonic()
        self._making = asyncio.Lock()
        self._made = b""
        self._made_at = float("-inf")

    async def answer(self) -> bytes:
        """The latest snapshot as JSON, at most half a second old."""
        async with self._making:
            if time.monotonic() - self._made_at > KEEP_S:
                now = time.monotonic()
                server = self._server_line(now)
                versions = lines_of(self._inference.models)
                self._made = await asyncio.to_thread(write, now, server, versions)
                self._made_at = now
            return self._made

    def _server_line(self, now: float) -> ServerLine:
        return ServerLine(
            version=__version__,
            instance=self._instance,
            uptime_s=now - self._started,
            ready=self._inference.ready,
            draining=self._inference.draining,
            default=self._inference.models.default_name,
            batch_tokens=self._batching.max_batch_tokens,
            queue_tokens=self._batching.max_queue_tokens,
        )


def write(at: float, server: ServerLine, versions: list[VersionLine]) -> bytes:
    """A snapshot as JSON, of bounded size; from any thread."""
    shown = versions[:MAX_VERSIONS]
    add_series(shown, time.time())
    return encode_json(Snapshot(at, server, totals(), shown, len(versions) - len(shown)))


def totals() -> PageTotals:
    """The current values of the series; from any thread."""
    ages = by_labels(metrics.QUEUE_AGE, *metrics.MODEL)
    return PageTotals(
        requests=outcomes(by_labels(metrics.REQUESTS, "code")),
        latency=buckets(metrics.REQUEST_SECONDS, metrics.SECONDS),
        texts=total(metrics.INPUTS),
        tokens=total(metrics.TOKENS),
        truncated=total(metrics.TRUNCATED),
        queue=Queue(
            total(metrics.QUEUE_TOKENS),
            total(metrics.QUEUE_ROWS),
            max(ages.values(), default=0.0),
        ),
        batch_tokens=sums(metrics.BATCH_TOKENS),
        batch_rows=sums(metrics.BATCH_ROWS),
        padding=sums(metrics.PADDING_RATIO),
        cache_hits=total(metrics.CACHE_HITS),
        cache_misses=total(metrics.CACHE_MISSES),
        cache_saved_tokens=total(metrics.CACHE_SAVED_TOKENS),
    )


def outcomes(by_code: Mapping[Labels, float]) -> Requests:
    """Requests by outcome, from counts by HTTP status."""
    requests = Requests()
    for (code,), count in by_code.items():
        if code.startswith("2"):
            requests.answered += count
        elif code.startswith("4"):
            requests.refused += count
        else:
            requests.failed += count
    return requests
