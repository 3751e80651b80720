"""OpenTelemetry collectors for tests, built on the official protocol packages; and a trace as text.

They speak OTLP over gRPC and HTTP, keep what they get, and can be made slow.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.deadlines import DEADLINE_S

BAR = 40


class Collector(Protocol):
    """What all of them have."""

    url: str
    inbox: "Inbox"

    def close(self) -> None: ...


class Inbox:
    """What was received. Exports wait while `gate` is closed, and `delay_s` besides."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.delay_s = 0.0

    def take(self, request: ExportTraceServiceRequest, headers: dict[str, str]) -> None:
        time.sleep(self.delay_s)
        self.gate.wait(DEADLINE_S)
        self.headers = headers
        self.requests.append(request)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resource(self) -> dict[str, Any]:
        """Attributes of who sent the first spans."""
        return attributes(self.requests[0].resource_spans[0].resource.attributes)

    def wait_for(self, count: int, timeout_s: float = DEADLINE_S) -> list[Span]:
        """The spans, once there are so many.

        Raises:
            TimeoutError: there never were.
        """
        end = time.monotonic() + timeout_s
        while len(spans := self.spans) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(spans)} of {count} spans within {timeout_s} s")
            time.sleep(0.01)
        return spans


class GrpcCollector(TraceServiceServicer):
    """OTLP over gRPC on a free port."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self._server = grpc.server(ThreadPoolExecutor(4))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
        self.inbox.take(request, dict(context.invocation_metadata()))
        return ExportTraceServiceResponse()

    def close(self) -> None:
        self.inbox.gate.set()
        self._server.stop(None).wait(DEADLINE_S)


class HttpCollector:
    """OTLP over HTTP on a free port."""

    def __init__(self) -> None:
        self.inbox = inbox = Inbox()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = 200 if self.path == "/v1/traces" else 404
                inbox.take(ExportTraceServiceRequest.FromString(body), headers)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not into the test's output."""

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:  # the exporter gave up
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.inbox.gate.set()
        self._server.shutdown()
        self._thread.join(DEADLINE_S)
        self._server.server_close()


def attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    """Attributes as a dict of plain values."""
    return {
        pair.key: getattr(pair.value, str(pair.value.WhichOneof("value")))
        for pair in pairs
        if pair.value.WhichOneof("value")
    }


def tree(spans: Sequence[Span]) -> str:
    """A trace as text: names indented below their parents, times, and a bar for when it was."""
    first = min(span.start_time_unix_nano for span in spans)
    whole = max(max(span.end_time_unix_nano for span in spans) - first, 1)
    ids = {span.span_id for span in spans}
    lines: list[str] = []

    def draw(span: Span, depth: int) -> None:
        start, end = span.start_time_unix_nano - first, span.end_time_unix_nano - first
        left = min(start * BAR // whole, BAR - 1)
        bar = "█" * max(1, -(-end * BAR // whole) - left)
        name = f"{'  ' * depth}{span.name}"
        links = f"  links: {len(span.links)}" if span.links else ""
        took = (end - start) / 1e6
        lines.append(f"{name:<22} {took:8.2f} ms  {' ' * left}{bar:<{BAR - left}}{links}".rstrip())
        children = [other for other in spans if other.parent_span_id == span.span_id]
        for child in sorted(children, key=lambda other: other.start_time_unix_nano):
            draw(child, depth + 1)

    for span in sorted(spans, key=lambda other: other.start_time_unix_nano):
        if span.parent_span_id not in ids:
            draw(span, 0)
    return "\n".join(lines)
