"""A traced server: spans of every protocol, whose they are, and that nothing waits for them."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from predictor.kserve_sdk import services
from tests.collector import GrpcCollector, attributes
from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import infer_message
from tests.serving import Server, model_flags

SECRET = "a text that no span may hold"


def traceparent(number: int, *, sampled: bool = True) -> str:
    return f"00-{number:032x}-{number:016x}-{int(sampled):02x}"


def kserve(url: str, argument: str = "0") -> dict[str, str]:
    """What KServe's `spec.tracing` sets."""
    return {
        "OTEL_SERVICE_NAME": "minilm-predictor",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": argument,
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=pod-1,isvc.component=predictor",
    }


@pytest.fixture(scope="module")
def collector() -> Iterator[GrpcCollector]:
    made = GrpcCollector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def traced(
    collector: GrpcCollector, model_dir: Path, cache_dir: Path, bundle_dir: Path
) -> Iterator[Server]:
    del bundle_dir
    flags = model_flags(model_dir, cache_dir)
    server = Server(*flags, "--drain-delay-s=0", environment=kserve(collector.url))
    yield server
    assert server.stop() == 0


def trace_of(collector: GrpcCollector, number: int) -> dict[str, Span]:
    """The spans of one trace by name, once its request's span is there."""
    trace_id, end = number.to_bytes(16, "big"), time.monotonic() + 10.0
    while time.monotonic() < end:
        spans = [span for span in collector.inbox.spans if span.trace_id == trace_id]
        if any(span.kind == Span.SPAN_KIND_SERVER for span in spans):
            return {span.name: span for span in spans}
        time.sleep(0.02)
    raise TimeoutError(f"no trace {number:x}")


BODIES = {
    "/v1/embeddings": {"model": "minilm", "input": [SECRET]},
    "/embed": {"inputs": [SECRET]},
    "/v2/models/minilm/infer": {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [SECRET]}]
    },
    "/v1/models/minilm:predict": {"instances": [SECRET]},
    "/v2/embed": {"model": "minilm", "texts": [SECRET], "input_type": "search_query"},
}
ROUTES = {
    "/v2/models/minilm/infer": "/v2/models/{model}/infer",
    "/v1/models/minilm:predict": "/v1/models/{model}:predict",
}


@pytest.mark.parametrize(("number", "path"), list(enumerate(BODIES, 0x100)))
def test_every_protocol_is_traced(
    traced: Server, collector: GrpcCollector, number: int, path: str
) -> None:
    headers = {"traceparent": traceparent(number), "x-request-id": f"id-{number}"}
    reply = httpx.post(traced.url + path, json=BODIES[path], headers=headers, timeout=DEADLINE_S)
    assert reply.status_code == 200, reply.text
    spans = trace_of(collector, number)
    route = ROUTES.get(path, path)
    whole = spans.pop(f"POST {route}")
    assert set(spans) == {"decode", "tokenize", "queue", "run", "encode"}
    assert whole.parent_span_id == number.to_bytes(8, "big")
    shown = attributes(whole.attributes)
    assert (shown["http.route"], shown["http.response.status_code"]) == (route, 200)
    assert (shown["predictor.model"], shown["predictor.texts"]) == ("minilm", 1)
    assert shown["predictor.tokens"] > 5
    assert shown["predictor.request_id"] == f"id-{number}"
    stages_ns = sum(span.end_time_unix_nano - span.start_time_unix_nano for span in spans.values())
    whole_ns = whole.end_time_unix_nano - whole.start_time_unix_nano
    assert 0.5 * whole_ns < stages_ns <= whole_ns


def test_grpc_is_traced_by_its_metadata(traced: Server, collector: GrpcCollector) -> None:
    with grpc.insecure_channel(traced.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        metadata = (("traceparent", traceparent(0x200)),)
        stub.ModelInfer(infer_message(SECRET, "b"), timeout=DEADLINE_S, metadata=metadata)
    whole = trace_of(collector, 0x200)["inference.GRPCInferenceService/ModelInfer"]
    shown = attributes(whole.attributes)
    assert (shown["rpc.system"], shown["rpc.response.status_code"]) == ("grpc", "OK")
    assert shown["predictor.texts"] == 2


def test_a_refusal_is_traced_as_far_as_it_came(traced: Server, collector: GrpcCollector) -> None:
    headers = {"traceparent": traceparent(0x201)}
    reply = httpx.post(
        traced.url + "/embed", json={"inputs": []}, headers=headers, timeout=DEADLINE_S
    )
    assert reply.status_code >= 400
    spans = trace_of(collector, 0x201)
    assert attributes(spans["POST /embed"].attributes)["http.response.status_code"] == (
        reply.status_code
    )
    assert "run" not in spans


def test_a_batch_links_to_those_who_shared_it(traced: Server, collector: GrpcCollector) -> None:
    body = {"inputs": ["word " * 200] * 8}
    numbers = range(0x300, 0x330)

    def ask(number: int) -> int:
        headers = {"traceparent": traceparent(number)}
        small = {"inputs": f"number {number}"}
        return httpx.post(
            traced.url + "/embed", json=body if number % 16 == 0 else small, headers=headers,
            timeout=DEADLINE_S,
        ).status_code  # fmt: skip

    with ThreadPoolExecutor(48) as pool:
        assert set(pool.map(ask, numbers)) == {200}
    requests = {trace_of(collector, number)["POST /embed"].span_id for number in numbers}
    batches = [span for span in collector.inbox.spans if span.name == "batch"]
    shared = [batch for batch in batches if len(batch.links) > 1]
    assert shared
    assert {link.span_id for batch in shared for link in batch.links} <= requests
    ids = {batch.span_id for batch in batches}
    run = trace_of(collector, 0x301)["run"]
    assert run.links
    assert {link.span_id for link in run.links} <= ids


def test_who_is_not_sampled_leaves_no_span(traced: Server, collector: GrpcCollector) -> None:
    for headers in ({}, {"traceparent": traceparent(0x400, sampled=False)}):
        reply = httpx.post(
            traced.url + "/embed", json={"inputs": "x"}, headers=headers, timeout=DEADLINE_S
        )
        assert reply.status_code == 200
    headers = {"traceparent": traceparent(0x401)}
    httpx.post(traced.url + "/embed", json={"inputs": "x"}, headers=headers, timeout=DEADLINE_S)
    trace_of(collector, 0x401)  # which was asked for last
    roots = [span for span in collector.inbox.spans if span.parent_span_id == b""]
    assert {span.name for span in roots} <= {"batch"}
    assert (0x400).to_bytes(16, "big") not in {span.trace_id for span in collector.inbox.spans}


def test_spans_hold_no_text_and_are_counted(traced: Server, collector: GrpcCollector) -> None:
    assert collector.inbox.spans
    sent = b"".join(request.SerializeToString() for request in collector.inbox.requests)
    assert SECRET.encode() not in sent
    assert b"minilm-predictor" in sent
    with httpx.Client(base_url=traced.url, timeout=DEADLINE_S) as client:
        assert counted(client, "predictor_trace_spans_total", outcome="exported") > 0
        assert counted(client, "predictor_trace_spans_total", outcome="dropped") == 0


def test_the_last_spans_are_sent_before_the_end(
    collector: GrpcCollector, model_dir: Path, cache_dir: Path, bundle_dir: Path
) -> None:
    del bundle_dir
    flags = model_flags(model_dir, cache_dir)
    server = Server(*flags, "--drain-delay-s=0", environment=kserve(collector.url))
    headers = {"traceparent": traceparent(0x500)}
    assert httpx.post(
        server.url + "/embed", json={"inputs": "x"}, headers=headers, timeout=DEADLINE_S
    ).is_success
    assert server.stop() == 0
    assert "run" in trace_of(collector, 0x500)


@pytest.mark.slow
def test_a_hanging_collector_does_not_keep_the_process(
    model_dir: Path, cache_dir: Path, bundle_dir: Path
) -> None:
    del bundle_dir
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        flags = (*model_flags(model_dir, cache_dir), "--drain-delay-s=0")
        environment = kserve(url, "1") | {"OTEL_EXPORTER_OTLP_TIMEOUT": "600000"}  # ms
        server = Server(*flags, environment=environment)
        body = json.dumps({"inputs": "x"}).encode()
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
            for _ in range(300):
                assert client.post("/embed", content=body).is_success
        assert server.stop() == 0


def test_the_trace_is_the_exemplar_of_its_bucket(traced: Server, collector: GrpcCollector) -> None:
    """What Grafana follows from a latency panel to a trace."""
    headers = {"traceparent": traceparent(0x900)}
    body = {"model": "minilm", "input": ["an exemplar"]}
    httpx.post(
        f"{traced.url}/v1/embeddings", json=body, headers=headers, timeout=DEADLINE_S
    ).raise_for_status()
    trace_of(collector, 0x900)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    lines = httpx.get(f"{traced.url}/metrics", headers=accept, timeout=DEADLINE_S).text.splitlines()
    buckets = [line for line in lines if line.startswith("predictor_request_seconds_bucket")]
    assert any(f'trace_id="{0x900:032x}"' in line for line in buckets)
