"""Traces of requests and batches, sent to an OpenTelemetry collector by a thread of their own.

The event loop decides whether a request is sampled and, at its end, queues the facts about it. One
thread makes, encodes and sends the spans; spans that cannot be sent are dropped and counted. If
tracing is off, `Tracer.open` returns None and OpenTelemetry is not imported.
"""

from predictor.tracing.spans import BatchFacts, PlainSpan, RequestFacts, RequestSpan
from predictor.tracing.tracer import Tracer

__all__ = ["BatchFacts", "PlainSpan", "RequestFacts", "RequestSpan", "Tracer"]
