"""Checks on a schedule that a version still gives the vectors that it was verified with.

Vectors that were right when a version was loaded may be wrong later: faulty memory, another driver,
a migrated node. The canonical texts go through the batcher like requests, as ingest and past the
cache, so that the check compares what clients get and waits for them, not they for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from predictor.bundle.canonical_vectors import read_canonical
from predictor.engine.reference_runs import full_and_short
from predictor.errors import (
    BadModel,
    DeadlineExceeded,
    EngineError,
    NotFinite,
    NotReady,
    Overloaded,
)
from predictor.repository import RoutingTable
from predictor.server.model import ServedModel, TaskCall, Tokenized
from predictor.similarity import cosines
from predictor.supervised_task import SupervisedTask
from predictor.tasks.embed import EMBED, EmbedRequest
from predictor.types import FloatRows, Lane, Tokens
from predictor.version_metrics import CanonicalMetrics

logger = logging.getLogger(__name__)

# Seconds between two searches for versions that are new or due.
POLL_S = 1.0
# Longest that one check may wait behind client requests, seconds; then the next one tries again.
PATIENCE_S = 60.0
# Texts per request: as many as an import would send, and not all at once.
TEXTS = 12


class CanonicalWatch:
    """Checks all versions that answer; `start` and `stop` on the loop that serves."""

    def __init__(self, models: RoutingTable[ServedModel], interval_s: float) -> None:
        """interval_s: between two checks of a version, the first one at once; 0: no checks."""
        self._models = models
        self._interval_s = interval_s
        # Per version, the time of the last check and its metrics.
        self._checked: dict[ServedModel, tuple[float, CanonicalMetrics]] = {}
        self._background = SupervisedTask("the canonical watch")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        """on_fatal: called if the task ends by itself, which it never should."""
        self._background.start(self._run, on_fatal)

    async def stop(self) -> None:
        await self._background.stop()

    async def _run(self) -> None:
        while True:
            answering = self._models.all()
            for model in [model for model in self._checked if model not in answering]:
                self._checked.pop(model)[1].remove()
            for model in answering:
                if self._is_due(model):
                    await self._check(model)
            await asyncio.sleep(POLL_S)

    def _is_due(self, model: ServedModel) -> bool:
        if not self._interval_s:
            return False
        if model not in self._checked:
            return model.loaded.bundle.variant(model.loaded.variant).proof.reference != "none"
        return time.monotonic() - self._checked[model][0] >= self._interval_s

    async def _check(self, model: ServedModel) -> None:
        """One check of one version; every error is counted and logged, none ends the task."""
        proof = model.loaded.bundle.variant(model.loaded.variant).proof
        metrics = self._metrics_of(model)
        metrics.tolerance.set(proof.tolerance)
        try:
            smallest = await self.smallest_cosine(model)
        except (Overloaded, DeadlineExceeded, NotReady):
            metrics.outcomes["busy"].inc()
            return
        except BadModel as error:
            metrics.outcomes["unreadable"].inc()
            logger.error("canonical texts of %s %s: %s", model.name, model.version, error)
            return
        except Exception:
            metrics.outcomes["error"].inc()
            logger.exception("canonical texts of %s %s", model.name, model.version)
            return
        metrics.cosine.set(smallest)
        metrics.timestamp.set(time.time())
        has_passed = smallest >= proof.tolerance
        metrics.outcomes["passed" if has_passed else "failed"].inc()
        if not has_passed:
            logger.error(
                "%s version %s gives other vectors than when it was verified (%s): smallest cosine "
                "%.6f, tolerance %s",
                model.name,
                model.version,
                proof.reference,
                smallest,
                proof.tolerance,
            )

    def _metrics_of(self, model: ServedModel) -> CanonicalMetrics:
        """The metrics of a version that is checked now."""
        proof = model.loaded.bundle.variant(model.loaded.variant).proof
        if model in self._checked:
            metrics = self._checked[model][1]
        else:
            metrics = CanonicalMetrics(model.name, model.version, proof.reference)
        self._checked[model] = time.monotonic(), metrics
        return metrics

    async def smallest_cosine(self, model: ServedModel) -> float:
        """Smallest cosine between the canonical texts' vectors as served now and in the bundle.

        Raises:
            BadModel: the bundle's vectors can no longer be read.
            Overloaded, DeadlineExceeded, NotReady: no capacity beside client requests.
            EngineError: the engine failed.
        """
        loaded = model.loaded
        texts, expected = await asyncio.to_thread(read_canonical, loaded.folder, loaded.variant)
        rows = (await asyncio.to_thread(loaded.tokenizer.encode, texts)).ids
        pair, short = full_and_short(rows, loaded.bundle.max_length)
        try:
            parts = [
                await _embed(model, rows[start : start + TEXTS])
                for start in range(0, len(rows), TEXTS)
            ]
            short_vectors = (await _embed(model, pair))[1:]
        except NotFinite:
            return -1.0
        vectors = np.concatenate([*parts, short_vectors])
        expected = np.concatenate([expected, expected[short : short + 1]])
        return float(cosines(vectors, expected).min())


async def _embed(model: ServedModel, rows: Sequence[Sequence[int]]) -> FloatRows:
    """Vectors `[len(rows), dim]` of length 1, without a prompt, as the reference was made."""
    ids = [list(row) for row in rows]
    request = EmbedRequest(inputs=ids, lane=Lane.INGEST, normalize=True, cache=False)
    tokens = Tokens(ids)
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    computed = await model.predict(Tokenized(TaskCall(EMBED, request), tokens, deadline))
    if computed.output is None:
        raise EngineError("the engine gave no vectors")
    return EMBED.result(request, tokens, computed.output, model.context).vectors
