"""The interface for the server: `begin` and `end` of a request, and `batch` after a batch."""

import logging
import os
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial

from predictor.errors import BadSetting
from predictor.extras import install
from predictor.timeline import Timeline
from predictor.tracing.config import Config, read_config
from predictor.tracing.delivery import Count, Delivery, Sender
from predictor.tracing.sampling import Sampling, parent_of
from predictor.tracing.spans import (
    MAX_LINKS,
    MAX_TRACESTATE,
    BatchFacts,
    RequestFacts,
    RequestSpan,
    batch_span,
    new_span_id,
    request_spans,
)

logger = logging.getLogger(__name__)

# Longest wait for the last spans at shutdown, seconds.
CLOSE_S = 3.0


class Tracer:
    """Records spans. Only the event loop's thread uses it, and no method but `close` waits."""

    def __init__(self, sampling: Sampling, sender: Sender, count: Count) -> None:
        self._sampling = sampling
        self._delivery = Delivery(sender, count)

    @classmethod
    def open(
        cls, mode: str, count: Count, environment: Mapping[str, str] = os.environ
    ) -> "Tracer | None":
        """Open a tracer, or return None if tracing is off.

        Args:
            mode: `otlp`, `off`, or `auto`, which traces if the environment names a collector.
            count: called in any thread with the number of spans exported, failed or dropped.

        Raises:
            BadSetting: the mode is `otlp` and tracing is not possible. In mode `auto` that is
                only a warning, because the platform may have set the variables.
        """
        config = read_config(mode, environment)
        if config is None:
            return None
        try:
            sender = _sender(config)
        except Exception as error:
            problem = _problem(error)
            if mode == "otlp":
                raise BadSetting(f"--tracing otlp: {problem}") from error
            logger.warning("tracing is off although OTEL_* variables ask for it: %s", problem)
            return None
        logger.info("tracing", extra={"endpoint": config.address, "protocol": config.protocol})
        return cls(config.sampling, sender, count)

    @property
    def waiting(self) -> int:
        """Spans that are not sent yet."""
        return self._delivery.waiting

    def begin(self, traceparent: str | None, tracestate: str | None) -> RequestSpan | None:
        """Begin the span of a request; None: it is not sampled.

        Args:
            traceparent, tracestate: the headers (or gRPC metadata) as received.
        """
        parent = parent_of(traceparent) if traceparent else None
        if parent is None:
            trace_id = random.getrandbits(128) or 1  # an id, not a secret
            if not self._sampling.takes(trace_id, None):
                return None
            return RequestSpan(trace_id, new_span_id(), 0, None, time.time_ns())
        trace_id, parent_id, _ = parent
        if not self._sampling.takes(trace_id, parent):
            return None
        # What is not sent on is not kept until then.
        kept = tracestate if tracestate and len(tracestate) <= MAX_TRACESTATE else None
        return RequestSpan(trace_id, new_span_id(), parent_id, kept, time.time_ns())

    def end(
        self, span: RequestSpan, timeline: Timeline, seconds: float, facts: RequestFacts
    ) -> None:
        """Queue the spans of a request that took `seconds`."""
        stages = timeline.stages()
        size = 1 + sum(stage > 0.0 for stage in stages)
        self._delivery.put(size, partial(request_spans, span, stages, seconds, facts))

    def batch(
        self, spans: Sequence[RequestSpan], began: float, ran_s: float, facts: BatchFacts
    ) -> None:
        """Queue the span of a finished batch; called before its requests end.

        Args:
            spans: those of the sampled requests in it; if empty, the batch is not sampled.
            began: `time.perf_counter` at its start.
        """
        if not spans:
            return
        start = time.time_ns() - round((time.perf_counter() - began) * 1e9)
        ids = (random.getrandbits(128) or 1, new_span_id())
        for span in spans:
            if len(span.batches) < MAX_LINKS:
                span.batches.append(ids)
        links = [(span.trace_id, span.span_id) for span in spans]
        times = (start, start + round(ran_s * 1e9))
        self._delivery.put(1, lambda: (batch_span(ids, links, times, facts),))

    async def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send the last spans within about `timeout_s`; call it when no request is left."""
        await self._delivery.close(timeout_s)


def _sender(config: Config) -> Sender:
    from predictor.tracing.otlp import OtlpSender

    return OtlpSender(config)


def _problem(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"OpenTelemetry is not installed; {install('otel')}"
    return str(error)[:300]
