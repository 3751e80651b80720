"""What a request and a batch become."""

from itertools import count, pairwise

import pytest

from predictor.tracing import BatchFacts, PlainSpan, RequestFacts, RequestSpan
from predictor.tracing.spans import batch_span, request_spans

START = 1_700_000_000_000_000_000
MS = 1_000_000
FACTS = RequestFacts(
    "openai", "/v1/embeddings", 200, "minilm", "3", tokens=7, texts=2, request_id="r1"
)


def spans_of(
    *stages: float, seconds: float = 0.1, facts: RequestFacts = FACTS, parent_id: int = 5
) -> tuple[PlainSpan, dict[str, PlainSpan]]:
    """The span of the request, and its children by name."""
    span = RequestSpan(0xABC, 0xDEF, parent_id, "v=1", START, batches=[(8, 9)])
    whole, *children = request_spans(span, stages, seconds, facts, new_id=count(100).__next__)
    return whole, {child.name: child for child in children}


def test_the_span_of_a_request() -> None:
    whole, _ = spans_of(0, 0, 0, 0, 0, 0)
    assert whole.name == "POST /v1/embeddings"
    assert (whole.trace_id, whole.span_id, whole.parent_id) == (0xABC, 0xDEF, 5)
    assert (whole.start_ns, whole.end_ns) == (START, START + 100 * MS)
    assert whole.server
    assert not whole.failed
    assert whole.tracestate == "v=1"
    assert whole.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/embeddings",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "predictor.protocol": "openai",
        "predictor.request_id": "r1",
        "predictor.model": "minilm",
        "predictor.version": "3",
        "predictor.tokens": 7,
        "predictor.texts": 2,
    }


def test_the_span_of_a_grpc_call() -> None:
    facts = RequestFacts("v2_grpc", "a.Service/Method", 504, code="DEADLINE_EXCEEDED")
    whole, _ = spans_of(0, 0, 0, 0, 0, 0, facts=facts)
    assert whole.name == "a.Service/Method"
    assert whole.failed
    assert whole.attributes == {
        "rpc.system": "grpc",
        "rpc.system.name": "grpc",
        "rpc.method": "a.Service/Method",
        "rpc.response.status_code": "DEADLINE_EXCEEDED",
        "error.type": "DEADLINE_EXCEEDED",
        "predictor.protocol": "v2_grpc",
    }


@pytest.mark.parametrize(("status", "failed"), [(200, False), (429, False), (499, False)])
def test_the_clients_errors_are_not_ours(status: int, failed: bool) -> None:
    whole, _ = spans_of(0, 0, 0, 0, 0, 0, facts=RequestFacts("tei", "/embed", status))
    assert whole.failed is failed
    assert "error.type" not in whole.attributes


def test_a_failure_of_ours_is_an_error() -> None:
    whole, _ = spans_of(0, 0, 0, 0, 0, 0, facts=RequestFacts("tei", "/embed", 503))
    assert whole.failed
    assert whole.attributes["error.type"] == "503"


def test_stages_follow_one_another_and_the_answer_is_encoded_last() -> None:
    _, children = spans_of(0.001, 0.002, 0.003, 0.010, 0.050, 0.004)
    times = {
        name: ((child.start_ns - START) // MS, (child.end_ns - START) // MS)
        for name, child in children.items()
    }
    assert times == {
        "decode": (0, 1),
        "tokenize": (1, 3),
        "cache": (3, 6),
        "queue": (6, 16),
        "run": (16, 66),
        "encode": (96, 100),
    }
    assert {child.parent_id for child in children.values()} == {0xDEF}
    assert {child.trace_id for child in children.values()} == {0xABC}
    assert len({child.span_id for child in children.values()}) == 6


def test_a_stage_that_did_not_take_place_is_no_span() -> None:
    _, children = spans_of(0.001, 0.002, 0.003, 0, 0, 0.001)
    assert list(children) == ["decode", "tokenize", "cache", "encode"]


def test_no_stage_ends_after_its_request() -> None:
    whole, children = spans_of(0.03, 0.03, 0.03, 0.03, 0.03, 0.03)
    assert all(START <= c.start_ns <= c.end_ns <= whole.end_ns for c in children.values())
    ordered = list(children.values())
    assert all(a.end_ns <= b.start_ns for a, b in pairwise(ordered))


def test_the_run_links_to_its_batches() -> None:
    _, children = spans_of(0, 0, 0, 0.01, 0.01, 0.01)
    assert children["run"].links == [(8, 9)]
    assert children["queue"].links == ()


def test_the_span_of_a_batch() -> None:
    facts = BatchFacts("minilm", "3", rows=12, tokens=99, wide=True, failed=True)
    span = batch_span((1, 2), [(3, 4), (5, 6)], (START, START + MS), facts)
    assert (span.name, span.trace_id, span.span_id, span.parent_id) == ("batch", 1, 2, 0)
    assert span.links == [(3, 4), (5, 6)]
    assert span.failed
    assert span.attributes == {
        "predictor.model": "minilm",
        "predictor.version": "3",
        "predictor.rows": 12,
        "predictor.tokens": 99,
        "predictor.mode": "wide",
    }
