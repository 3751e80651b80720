"""Begin, end and batch, with a collector that keeps what it gets; and when there is no tracer."""

import logging
import sys
import time

import pytest

from predictor.errors import BadSetting
from predictor.timeline import Timeline
from predictor.tracing import BatchFacts, RequestFacts, RequestSpan, Tracer
from predictor.tracing.sampling import Sampling
from predictor.tracing.spans import MAX_LINKS
from tests.unit.tracing.doubles import Counts, FakeSender

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FACTS = RequestFacts("tei", "/embed", 200, "m", "1")
BATCH = BatchFacts("m", "1", rows=3, tokens=30, wide=False)
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


def tracer(bound: int = 0, *, by_parent: bool = True) -> tuple[Tracer, FakeSender, Counts]:
    sender, counts = FakeSender(), Counts()
    return Tracer(Sampling(bound, by_parent), sender, counts), sender, counts


def sampled(made: Tracer) -> RequestSpan:
    span = made.begin(f"00-{TRACE}-{SPAN}-01", "v=1")
    assert span is not None
    return span


async def test_the_caller_decides() -> None:
    made, _, _ = tracer()
    before = time.time_ns()
    span = sampled(made)
    assert (span.trace, span.parent_id, span.tracestate) == (TRACE, int(SPAN, 16), "v=1")
    assert before <= span.started_ns <= time.time_ns()
    assert made.begin(f"00-{TRACE}-{SPAN}-00", None) is None
    assert made.begin(None, None) is None
    assert made.begin("nonsense", "v=1") is None
    await made.close()


async def test_without_a_caller_a_share_is_sampled() -> None:
    made, _, _ = tracer(bound=1 << 63)
    spans = [made.begin(None, None) for _ in range(2000)]
    sampled = [span for span in spans if span is not None]
    assert 800 < len(sampled) < 1200
    assert len({span.trace_id for span in sampled}) == len(sampled)
    assert all(span.parent_id == 0 and span.tracestate is None for span in sampled)
    await made.close()


async def test_a_sampler_that_does_not_ask_the_caller() -> None:
    made, _, _ = tracer(by_parent=False)
    assert made.begin(f"00-{TRACE}-{SPAN}-01", None) is None
    await made.close()


async def test_a_request_and_its_batch_are_linked_both_ways() -> None:
    made, sender, counts = tracer()
    first, second = sampled(made), sampled(made)
    began = time.perf_counter()
    made.batch([first, second], began, 0.004, BATCH)
    made.end(first, Timeline(decode=0.001, queue=0.002, run=0.004), 0.01, FACTS)
    made.end(second, Timeline(), 0.01, FACTS)
    await made.close()
    assert counts == {"exported": 1 + 4 + 1}
    batch = sender.sent[0]
    assert batch.name == "batch"
    assert batch.trace_id not in (first.trace_id, 0)
    assert batch.links == [(s.trace_id, s.span_id) for s in (first, second)]
    assert batch.end_ns - batch.start_ns == 4_000_000
    assert abs(batch.start_ns - time.time_ns()) < 60e9
    run = next(span for span in sender.sent if span.name == "run")
    assert run.links == [(batch.trace_id, batch.span_id)]
    assert run.parent_id == first.span_id


async def test_a_batch_of_nobody_sampled_is_not_sampled() -> None:
    made, sender, _ = tracer()
    made.batch([], 0.0, 0.004, BATCH)
    await made.close()
    assert sender.sent == []


async def test_a_request_of_many_batches_links_to_the_first_of_them() -> None:
    made, _, _ = tracer()
    span = sampled(made)
    for _ in range(MAX_LINKS + 5):
        made.batch([span], 0.0, 0.004, BATCH)
    assert len(span.batches) == MAX_LINKS
    await made.close()


def test_no_tracer_unless_asked_for() -> None:
    assert Tracer.open("auto", Counts(), {}) is None
    assert Tracer.open("off", Counts(), COLLECTOR) is None


def test_the_flag_without_the_extra_is_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "predictor.tracing.otlp", None)
    with pytest.raises(BadSetting, match=r"--tracing otlp: .* pip install 'opentelemetry"):
        Tracer.open("otlp", Counts(), {})


def test_the_environment_without_the_extra_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "predictor.tracing.otlp", None)
    with caplog.at_level(logging.INFO):
        assert Tracer.open("auto", Counts(), COLLECTOR) is None
    assert len(caplog.messages) == 1
    assert "pip install 'opentelemetry-" in caplog.messages[0]


def test_an_exporter_that_cannot_be_made_is_a_warning_or_a_bad_setting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zpaq")
    assert Tracer.open("auto", Counts(), COLLECTOR) is None
    assert "zpaq" in caplog.text
    with pytest.raises(BadSetting, match="zpaq"):
        Tracer.open("otlp", Counts(), COLLECTOR)
