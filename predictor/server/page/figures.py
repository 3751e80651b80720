"""What the page asks for: totals since the start, of which it makes rates and quantiles itself.

Two answers and the time between them are all that a rate needs, so the server keeps nothing for
anybody who looks. The series are added up in a thread, as /metrics is written in one, and what was
made is given to everybody who asks within half a second.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from predictor import __version__, metrics
from predictor.protocols.wire import encode_json
from predictor.server.inference import Inference
from predictor.server.page.reading import Buckets, Labels, Sums, buckets, by_labels, sums, total
from predictor.server.page.versions import MAX_VERSIONS, VersionLine, add_series, lines_of
from predictor.settings import BatchingSettings

# How long an answer is given again, seconds; the page asks every two.
KEEP_S = 0.5


@dataclass(slots=True)
class ServerLine:
    """instance: tells processes behind one address apart, and one from the one before it."""

    version: str
    instance: str
    uptime_s: float
    ready: bool
    draining: bool
    default: str
    batch_tokens: int
    queue_tokens: int


@dataclass(slots=True)
class Requests:
    """answered: 200; refused: the client's doing or a limit; failed: ours, 500 and above."""

    answered: float = 0.0
    refused: float = 0.0
    failed: float = 0.0


@dataclass(slots=True)
class Queue:
    """What waits now; age_s: of the oldest row."""

    tokens: float
    rows: float
    age_s: float


@dataclass(slots=True)
class Totals:
    """Over all models, since the start. texts and tokens are those that were run."""

    requests: Requests
    latency: Buckets
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
    """One answer.

    at: a clock that only goes forward, seconds. left_out: versions without a line.
    """

    at: float
    server: ServerLine
    totals: Totals
    versions: list[VersionLine]
    left_out: int


class Figures:
    """One a server, on its loop."""

    def __init__(self, inference: Inference, batching: BatchingSettings) -> None:
        self._inference, self._batching = inference, batching
        self._instance = secrets.token_hex(4)
        self._started = time.monotonic()
        self._making = asyncio.Lock()
        self._made, self._made_at = b"", float("-inf")

    async def answer(self) -> bytes:
        """The latest snapshot as JSON, at most half a second old."""
        async with self._making:
            if time.monotonic() - self._made_at > KEEP_S:
                now = time.monotonic()
                server, versions = self._server_line(now), lines_of(self._inference.models)
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


def totals() -> Totals:
    """What the series say now; from any thread."""
    ages = by_labels(metrics.QUEUE_AGE, *metrics.MODEL)
    return Totals(
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
    """Requests by who is to blame, from counts by HTTP status."""
    requests = Requests()
    for (code,), count in by_code.items():
        if code.startswith("2"):
            requests.answered += count
        elif code.startswith("4"):
            requests.refused += count
        else:
            requests.failed += count
    return requests
