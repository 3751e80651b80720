"""Traces of requests and batches, sent to an OpenTelemetry collector: behind everybody's back.

The event loop decides whether a request is sampled and, at its end, queues what is known of it.
Spans are made, encoded and sent on one thread; what the collector does not take is dropped and
counted. Without tracing there is no tracer: `Tracer.open` gives None, and nothing is imported.
"""

from predictor.tracing.spans import BatchFacts, PlainSpan, RequestFacts, RequestSpan
from predictor.tracing.tracer import Tracer

__all__ = ["BatchFacts", "PlainSpan", "RequestFacts", "RequestSpan", "Tracer"]
