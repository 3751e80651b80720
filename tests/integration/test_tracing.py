"""Spans at a real collector, over gRPC and HTTP; and collectors that refuse, hang or are slow."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from predictor import __version__
from predictor.timeline import STAGES, Timeline
from predictor.tracing import BatchFacts, RequestFacts, Tracer
from predictor.tracing.delivery import AT_ONCE, QUEUE_SPANS
from tests.collector import Collector, GrpcCollector, HttpCollector, attributes, tree
from tests.unit.tracing.doubles import Counts

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
FACTS = RequestFacts("openai", "/v1/embeddings", 200, "minilm", "3", tokens=7, texts=2)
BATCH = BatchFacts("minilm", "3", rows=2, tokens=7, wide=True)
PROTOCOLS = ("grpc", "http/protobuf")


def timeline() -> Timeline:
    return Timeline(
        decode=0.0001, tokenize=0.0004, cache=0.0003, queue=0.002, run=0.005, encode=0.0002
    )


@pytest.fixture(autouse=True)
def library() -> Iterator[None]:
    """The tracer keeps the library's complaints to itself; afterwards as it was."""
    logger = logging.getLogger("opentelemetry")
    before = logger.handlers, logger.propagate
    yield
    logger.handlers, logger.propagate = before


@pytest.fixture(params=PROTOCOLS)
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    made: Collector = GrpcCollector() if request.param == "grpc" else HttpCollector()
    yield made
    made.close()


def environment(url: str, protocol: str = "", **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        **{f"OTEL_{name}": value for name, value in more.items()},
    }


def protocol_of(collector: Collector) -> str:
    return "grpc" if isinstance(collector, GrpcCollector) else "http/protobuf"


def opened(url: str, protocol: str, **more: str) -> tuple[Tracer, Counts]:
    counts = Counts()
    tracer = Tracer.open("auto", counts, environment(url, protocol, **more))
    assert tracer is not None
    return tracer, counts


def trace_request(tracer: Tracer, status: int = 200, *, batches: int = 0) -> None:
    span = tracer.begin(SAMPLED, "vendor=1")
    assert span is not None
    for _ in range(batches):
        tracer.batch([span], time.perf_counter(), 0.005, BATCH)
    facts = RequestFacts("openai", "/v1/embeddings", status, "minilm", "3", tokens=7, texts=2)
    tracer.end(span, timeline(), 0.01, facts)


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


# A collector as it should be


async def test_a_request_and_its_batch_arrive(collector: Collector) -> None:
    tracer, counts = opened(collector.url, protocol_of(collector))
    before = time.time_ns()
    trace_request(tracer, batches=1)
    await tracer.close()
    spans = by_name(collector.inbox.wait_for(8))
    assert counts == {"exported": 8}
    assert set(spans) == {"POST /v1/embeddings", "batch", *STAGES}
    whole, batch, run = spans["POST /v1/embeddings"], spans["batch"], spans["run"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    assert whole.kind == Span.SPAN_KIND_SERVER
    assert whole.trace_state == "vendor=1"
    assert before <= whole.start_time_unix_nano <= time.time_ns()
    assert whole.end_time_unix_nano - whole.start_time_unix_nano == 10_000_000
    assert attributes(whole.attributes)["http.response.status_code"] == 200
    for stage in STAGES:
        assert spans[stage].parent_span_id == whole.span_id
        assert spans[stage].trace_id == whole.trace_id
        assert spans[stage].kind == Span.SPAN_KIND_INTERNAL
    assert batch.parent_span_id == b""
    assert batch.trace_id != whole.trace_id
    assert [(link.trace_id, link.span_id) for link in batch.links] == [
        (whole.trace_id, whole.span_id)
    ]
    assert [(link.trace_id, link.span_id) for link in run.links] == [
        (batch.trace_id, batch.span_id)
    ]
    assert attributes(batch.attributes)["predictor.mode"] == "wide"


async def test_an_error_of_ours_is_marked(collector: Collector) -> None:
    tracer, _ = opened(collector.url, protocol_of(collector))
    trace_request(tracer, 429)
    trace_request(tracer, 503)
    await tracer.close()
    wholes = [span for span in collector.inbox.wait_for(14) if span.parent_span_id.hex() == PARENT]
    assert [span.status.code for span in wholes] == [
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_ERROR,
    ]


async def test_many_links_are_cut_and_the_rest_counted(collector: Collector) -> None:
    tracer, _ = opened(collector.url, protocol_of(collector))
    spans = [tracer.begin(SAMPLED, None) for _ in range(150)]
    tracer.batch([s for s in spans if s is not None], time.perf_counter(), 0.005, BATCH)
    await tracer.close()
    batch = collector.inbox.wait_for(1)[0]
    assert (len(batch.links), batch.dropped_links_count) == (128, 22)


async def test_who_sends_and_with_which_headers(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "minilm-predictor")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1,isvc.component=predictor")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
    tracer, _ = opened(collector.url, protocol_of(collector))
    trace_request(tracer)
    await tracer.close()
    collector.inbox.wait_for(7)
    resource = collector.inbox.resource
    assert resource["service.name"] == "minilm-predictor"
    assert resource["service.version"] == __version__
    assert resource["k8s.pod.name"] == "pod-1"
    assert collector.inbox.headers["x-tenant"] == "blue"


async def test_a_service_without_a_name_is_the_predictor(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    tracer, _ = opened(collector.url, protocol_of(collector))
    trace_request(tracer)
    await tracer.close()
    collector.inbox.wait_for(7)
    assert collector.inbox.resource["service.name"] == "predictor"


async def test_a_foreign_tracestate_is_left_out_and_costs_no_span(collector: Collector) -> None:
    tracer, _ = opened(collector.url, protocol_of(collector))
    for state in ("not a state", "a=" + "x" * 600, "a=1,a=2"):
        span = tracer.begin(SAMPLED, state)
        assert span is not None
        tracer.end(span, Timeline(), 0.01, FACTS)
    await tracer.close()
    assert [span.trace_state for span in collector.inbox.wait_for(3)] == ["", "", ""]


async def test_the_trace_as_text(collector: Collector) -> None:
    tracer, _ = opened(collector.url, protocol_of(collector))
    trace_request(tracer, batches=1)
    await tracer.close()
    lines = tree(collector.inbox.wait_for(8)).splitlines()
    names = [line.split("  ")[0].strip() or line.split()[0] for line in lines]
    assert sorted(names) == sorted(["batch", "POST /v1/embeddings", *STAGES])
    assert all("█" in line for line in lines)


# Collectors as they are


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["silent", "refusing"])
async def test_a_dead_collector_costs_neither_memory_nor_time(
    kind: str, protocol: str, request: pytest.FixtureRequest
) -> None:
    tracer, counts = opened(request.getfixturevalue(kind), protocol, EXPORTER_OTLP_TIMEOUT="60000")
    requests = 4000
    started = time.thread_time()
    for _ in range(requests):
        trace_request(tracer)
    took = time.thread_time() - started
    assert QUEUE_SPANS - 7 < tracer.waiting <= QUEUE_SPANS
    assert counts["dropped"] >= 7 * requests - QUEUE_SPANS - AT_ONCE
    assert counts["exported"] == 0
    assert took / requests < 200e-6  # of the CPU; it takes 10
    started = time.monotonic()
    await tracer.close(1.0)
    assert time.monotonic() - started < 30.0  # the collector would keep it for sixty
    assert 0 <= 7 * requests - counts.total() <= AT_ONCE  # what is on its way still


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_why_spans_are_not_delivered_is_logged_once(
    protocol: str, refusing: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    tracer, counts = opened(refusing, protocol, EXPORTER_OTLP_TIMEOUT="3000")
    trace_request(tracer)
    await asyncio.to_thread(counts.wait_for, "failed", 7)
    trace_request(tracer)
    await asyncio.to_thread(counts.wait_for, "failed", 14)
    await tracer.close(1.0)
    assert len(caplog.messages) == 1
    assert "spans are not delivered" in caplog.messages[0]
    assert "refused" in caplog.messages[0]


async def test_a_hanging_collector_is_given_up_and_found_again(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector.inbox.gate.clear()
    tracer, counts = opened(collector.url, protocol_of(collector), EXPORTER_OTLP_TIMEOUT="1000")
    trace_request(tracer)
    await asyncio.to_thread(counts.wait_for, "failed", 7)
    collector.inbox.gate.set()
    trace_request(tracer)
    await asyncio.to_thread(counts.wait_for, "exported", 7)
    await tracer.close()
    assert caplog.messages[-1] == "spans are delivered again"


async def test_a_slow_collector_gets_everything_that_the_queue_holds(collector: Collector) -> None:
    collector.inbox.delay_s = 0.02
    tracer, counts = opened(collector.url, protocol_of(collector))
    for _ in range(500):
        trace_request(tracer)
    await tracer.close(20.0)
    assert counts == {"exported": 3500}
    assert len(collector.inbox.spans) == 3500
