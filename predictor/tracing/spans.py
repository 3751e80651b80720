"""What is known of a request or a batch, and the spans that it becomes. Pure; times in ns, UTC.

A request is one span `SERVER` with a child for each stage that took place. A batch is the root of a
trace of its own, as it belongs to several requests: it links to them, and their `run` to it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from predictor.timeline import STAGES
from predictor.types import Protocol

# Links kept on one span, the SDK's default; the rest is counted on it.
MAX_LINKS = 128

Link = tuple[int, int]
NewId = Callable[[], int]
Value = str | int | bool


@dataclass(slots=True, eq=False)
class RequestSpan:
    """A sampled request on its way. batches: those that had a row of it."""

    trace_id: int
    span_id: int
    parent_id: int
    tracestate: str | None
    started_ns: int
    batches: list[Link] = field(default_factory=list)

    @property
    def trace(self) -> str:
        """The trace id as logs and exemplars write it."""
        return f"{self.trace_id:032x}"


@dataclass(slots=True, frozen=True)
class RequestFacts:
    """What a request was and what came of it; nothing of what it said.

    route: the path with names for what varies, or gRPC's full method.
    status: of HTTP or its equivalent; code: gRPC's name of it.
    tokens, texts: 0 where they were never known.
    """

    protocol: Protocol
    route: str
    status: int
    model: str = ""
    version: str = ""
    tokens: int = 0
    texts: int = 0
    code: str = ""
    request_id: str = ""


@dataclass(slots=True, frozen=True)
class BatchFacts:
    """wide: alone on all threads."""

    model: str
    version: str
    rows: int
    tokens: int
    wide: bool
    failed: bool = False


@dataclass(slots=True, frozen=True)
class PlainSpan:
    """A span before it is OpenTelemetry's. parent_id: 0 for a root; links: trace and span ids."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    server: bool = False
    links: Sequence[Link] = ()
    failed: bool = False
    tracestate: str | None = None


def new_span_id() -> int:
    """64 random bits, not all of them 0."""
    return random.getrandbits(64) or 1  # an id, not a secret


def request_spans(
    span: RequestSpan,
    stages: Sequence[float],
    seconds: float,
    facts: RequestFacts,
    new_id: NewId = new_span_id,
) -> list[PlainSpan]:
    """The span of a request, then one a stage.

    Args:
        stages: seconds, in the order of `timeline.STAGES`.
        seconds: of the whole request.
    """
    whole = PlainSpan(
        name=facts.route if facts.code else f"POST {facts.route}",
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        start_ns=span.started_ns,
        end_ns=span.started_ns + round(seconds * 1e9),
        attributes=_attributes(facts),
        server=True,
        failed=facts.status >= 500,
        tracestate=span.tracestate,
    )
    return [
        whole,
        *(
            PlainSpan(
                stage, span.trace_id, new_id(), span.span_id, start, end, {},
                links=span.batches if stage == "run" else (), tracestate=span.tracestate,
            )
            for stage, start, end in _stage_times(whole, stages)
        ),
    ]  # fmt: skip


def _stage_times(whole: PlainSpan, stages: Sequence[float]) -> list[tuple[str, int, int]]:
    """One stage after the other, none past the end of the request.

    The answer is encoded last of all: what no stage accounts for lies before it.
    """
    times, at = [], whole.start_ns
    for stage, seconds in zip(STAGES, stages, strict=True):
        if seconds <= 0.0:
            continue
        took = round(seconds * 1e9)
        start = max(at, whole.end_ns - took) if stage == "encode" else at
        at = min(start + took, whole.end_ns)
        times.append((stage, min(start, at), at))
    return times


def _attributes(facts: RequestFacts) -> dict[str, Value]:
    """By OpenTelemetry's conventions for HTTP and RPC servers, and our own."""
    found: dict[str, Value]
    if facts.code:
        # `rpc.system` is the older name, which tools still look for.
        found = {"rpc.system": "grpc", "rpc.system.name": "grpc", "rpc.method": facts.route}
        found["rpc.response.status_code"] = facts.code
    else:
        found = {"http.request.method": "POST", "http.route": facts.route, "url.scheme": "http"}
        found["http.response.status_code"] = facts.status
    if facts.status >= 500:
        found["error.type"] = facts.code or str(facts.status)
    known: dict[str, Value] = {
        "predictor.protocol": facts.protocol,
        "predictor.request_id": facts.request_id,
        "predictor.model": facts.model,
        "predictor.version": facts.version,
        "predictor.tokens": facts.tokens,
        "predictor.texts": facts.texts,
    }
    return found | {name: value for name, value in known.items() if value}


def batch_span(trace: Link, links: Sequence[Link], times: Link, facts: BatchFacts) -> PlainSpan:
    """The span of a batch.

    Args:
        trace: trace and span id of it.
        links: of the requests that it had rows of.
        times: start and end.
    """
    return PlainSpan(
        name="batch",
        trace_id=trace[0],
        span_id=trace[1],
        parent_id=0,
        start_ns=times[0],
        end_ns=times[1],
        attributes={
            "predictor.model": facts.model,
            "predictor.version": facts.version,
            "predictor.rows": facts.rows,
            "predictor.tokens": facts.tokens,
            "predictor.mode": "wide" if facts.wide else "narrow",
        },
        links=links,
        failed=facts.failed,
    )
