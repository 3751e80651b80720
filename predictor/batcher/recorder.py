"""What is measured of each batch that ran: metrics, the speed of the engine, the trace."""

import logging

from predictor.batcher.submission import Batch
from predictor.tracing import BatchFacts, Tracer
from predictor.version_metrics import ModelMetrics

logger = logging.getLogger(__name__)

# Weight of the newest batch in the running estimate of tokens a second.
SPEED_WEIGHT = 0.1


class BatchRecorder:
    """Measurements of one model version's batches."""

    def __init__(self, metrics: ModelMetrics, tracer: Tracer | None, *, threads: int) -> None:
        """threads: batches that may run at once; None as a tracer: no traces."""
        self._metrics = metrics
        self._tracer = tracer
        self._threads = threads
        # Running estimate of the whole engine; 0.0 before the first batch.
        self.tokens_per_second = 0.0

    def record(self, batch: Batch) -> None:
        """Count a batch that succeeded."""
        metrics = self._metrics
        count = len(batch.rows)
        metrics.queue_seconds.observe(batch.began - min(r.submission.entered for r in batch.rows))
        metrics.run_seconds.observe(batch.ran_s)
        metrics.batch_tokens.observe(batch.tokens)
        metrics.batch_rows.observe(count)
        view = count * len(batch.rows[-1].ids)
        metrics.padding_ratio.observe(1.0 - batch.tokens / view)
        (metrics.wide if batch.wide else metrics.narrow).inc()
        metrics.inputs[batch.lane].inc(count)
        metrics.tokens[batch.lane].inc(batch.tokens)
        if batch.not_finite:
            self._record_not_finite(batch)
        at_once = 1 if batch.wide else self._threads
        speed = batch.tokens / max(batch.ran_s, 1e-6) * at_once
        if self.tokens_per_second:
            self.tokens_per_second += SPEED_WEIGHT * (speed - self.tokens_per_second)
        else:
            self.tokens_per_second = speed

    def _record_not_finite(self, batch: Batch) -> None:
        metrics = self._metrics
        metrics.not_finite.inc(len(batch.not_finite))
        logger.error(
            "%s version %s gave NaN or infinity for %d of %d rows of a batch; the shortest of them "
            "has %d tokens",
            metrics.model,
            metrics.version,
            len(batch.not_finite),
            len(batch.rows),
            len(batch.rows[batch.not_finite[0]].ids),
        )

    def trace(self, batch: Batch, *, failed: bool) -> None:
        """Record the batch's span; to be called before its requests go on, as they link to it."""
        if self._tracer is None:
            return
        timelines = (row.submission.timeline for row in batch.rows)
        spans = dict.fromkeys(t.span for t in timelines if t is not None and t.span is not None)
        if spans:
            metrics = self._metrics
            facts = BatchFacts(
                metrics.model, metrics.version, len(batch.rows), batch.tokens, batch.wide, failed
            )
            self._tracer.batch(list(spans), batch.began, batch.ran_s, facts)
