"""The only module that imports OpenTelemetry; it is imported only if tracing is on."""

import logging
from collections.abc import Sequence

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from predictor import __version__
from predictor.tracing.config import Config
from predictor.tracing.spans import MAX_LINKS, PlainSpan

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("predictor", __version__)
_OK, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


class _Resource(Resource):
    """The encoder hashes the resource of every span, and the SDK's hash writes it as JSON."""

    __hash__ = object.__hash__


class _Complaints(logging.Handler):
    """Keeps the exporter's log messages about one export, so that they are not all logged.

    The first message has the cause and the last the outcome.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._first = self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self._last = record.getMessage()
        self._first = self._first or self._last

    def take(self) -> str:
        first, last = self._first, self._last
        self._first = self._last = ""
        return last if first == last else f"{last} ({first})"


class OtlpSender:
    """Sends spans to a collector over gRPC or HTTP."""

    def __init__(self, config: Config) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            Exception: of any type, from the exporter: a variable has an impossible value.
            ImportError: the exporter is not installed.
        """
        self._exporter = _exporter(config)
        self._resource = _resource()
        self._complaints = _Complaints()
        library = logging.getLogger("opentelemetry")
        library.handlers, library.propagate = [self._complaints], False

    def send(self, spans: Sequence[PlainSpan]) -> str:
        result = self._exporter.export([self._readable(span) for span in spans])
        complaints = self._complaints.take()
        if result is SpanExportResult.SUCCESS:
            return ""
        return complaints or "the exporter gave no reason"

    def close(self) -> None:
        self._exporter.shutdown()

    def _readable(self, span: PlainSpan) -> ReadableSpan:
        state = _state(span.tracestate)
        parent = None
        if span.parent_id:
            parent = SpanContext(span.trace_id, span.parent_id, span.server, _SAMPLED, state)
        links: Sequence[Link] = ()
        if span.links:
            links = BoundedList.from_seq(
                MAX_LINKS, [Link(SpanContext(*ids, False, _SAMPLED)) for ids in span.links]
            )
        return ReadableSpan(
            span.name,
            context=SpanContext(span.trace_id, span.span_id, False, _SAMPLED, state),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            links=links,
            kind=SpanKind.SERVER if span.server else SpanKind.INTERNAL,
            status=_ERROR if span.failed else _OK,
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=_SCOPE,
        )


def _state(text: str | None) -> TraceState | None:
    if not text:
        return None
    return TraceState.from_header([text])


def _resource() -> Resource:
    """Our name and version, which OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override."""
    attributes = dict(Resource.create().attributes)
    if str(attributes[SERVICE_NAME]).startswith("unknown_service"):
        attributes[SERVICE_NAME] = "predictor"
    return _Resource({SERVICE_VERSION: __version__, **attributes})


def _exporter(config: Config) -> SpanExporter:
    if config.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=config.endpoint, timeout=config.timeout_s)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    return trace_exporter.OTLPSpanExporter(endpoint=config.endpoint, timeout=config.timeout_s)
