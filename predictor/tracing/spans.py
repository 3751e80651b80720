"""The facts about a request or a batch, and pure functions that make spans from them.

Times are UTC in nanoseconds. A request is one span of kind `SERVER` with a child for each stage
that took place. A batch belongs to several requests, so it is the root of its own trace: it links
to the spans of the requests, and their `run` spans link to it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from predictor.timeline import STAGES
from predictor.types import ProtocolName

# Most links of one span, the SDK's default; the span has a count of the dropped ones.
MAX_LINKS = 128
# Longer values need not be propagated. Source: W3C Trace Context, section 3.3.1.5.
MAX_TRACESTATE = 512

Link = tuple[int, int]
NewId = Callable[[], int]
Value = str | int | bool


@dataclass(slots=True, eq=False)
class RequestSpan:
    """A sampled request that is being answered."""

    trace_id: int
    span_id: int
    parent_id: int
    tracestate: str | None
    started_ns: int
    # The batches that had rows of it.
    batches: list[Link] = field(default_factory=list)

    @property
    def trace(self) -> str:
        """The trace id as text for logs and exemplars."""
        return f"{self.trace_id:032x}"


@dataclass(slots=True, frozen=True)
class RequestFacts:
    """What a request was and how it ended, without its content."""

    protocol: ProtocolName
    # The path template of the route, or gRPC's full method.
    route: str
    # The HTTP status or its equivalent.
    status: int
    model: str = ""
    version: str = ""
    # 0 if they are not known.
    tokens: int = 0
    texts: int = 0
    # gRPC's name of the status; empty over REST.
    code: str = ""
    request_id: str = ""


@dataclass(slots=True, frozen=True)
class BatchFacts:
    """What a batch was."""

    model: str
    version: str
    rows: int
    tokens: int
    # Whether it ran by itself on all threads.
    wide: bool
    failed: bool = False


@dataclass(slots=True, frozen=True)
class PlainSpan:
    """A span, before it is converted to OpenTelemetry's type."""

    name: str
    trace_id: int
    span_id: int
    # 0 for a root span.
    parent_id: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    # Whether its kind is `SERVER`.
    server: bool = False
    # Trace and span ids.
    links: Sequence[Link] = ()
    failed: bool = False
    tracestate: str | None = None


def new_span_id() -> int:
    """Return 64 random bits, not all of them 0."""
    return random.getrandbits(64) or 1  # an id, not a secret


def request_spans(
    span: RequestSpan,
    stages: Sequence[float],
    seconds: float,
    facts: RequestFacts,
    new_id: NewId = new_span_id,
) -> list[PlainSpan]:
    """Make the span of a request and one span per stage.

    Args:
        stages: seconds, in the order of `timeline.STAGES`.
        seconds: duration of the whole request.
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
                stage,
                span.trace_id,
                new_id(),
                span.span_id,
                start,
                end,
                {},
                links=span.batches if stage == "run" else (),
                tracestate=span.tracestate,
            )
            for stage, start, end in _stage_times(whole, stages)
        ),
    ]


def _stage_times(whole: PlainSpan, stages: Sequence[float]) -> list[tuple[str, int, int]]:
    """Place the stages one after the other, none beyond the end of the request.

    Encoding comes last, so time that belongs to no stage is put before it.
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
    """Attributes by OpenTelemetry's conventions for HTTP and RPC servers, and our own."""
    attributes: dict[str, Value]
    if facts.code:
        # `rpc.system` is the older name, which tools still look for.
        attributes = {"rpc.system": "grpc", "rpc.system.name": "grpc", "rpc.method": facts.route}
        attributes["rpc.response.status_code"] = facts.code
    else:
        attributes = {
            "http.request.method": "POST",
            "http.route": facts.route,
            "url.scheme": "http",
        }
        attributes["http.response.status_code"] = facts.status
    if facts.status >= 500:
        attributes["error.type"] = facts.code or str(facts.status)
    known: dict[str, Value] = {
        "predictor.protocol": facts.protocol,
        "predictor.request_id": facts.request_id,
        "predictor.model": facts.model,
        "predictor.version": facts.version,
        "predictor.tokens": facts.tokens,
        "predictor.texts": facts.texts,
    }
    return attributes | {name: value for name, value in known.items() if value}


def batch_span(trace: Link, links: Sequence[Link], times: Link, facts: BatchFacts) -> PlainSpan:
    """Make the span of a batch.

    Args:
        trace: its trace id and span id.
        links: trace and span ids of the requests with rows in it.
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
