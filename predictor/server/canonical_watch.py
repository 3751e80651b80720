"""Are the vectors still right? The canonical texts, on a schedule, the way that requests go.

What was right when a version was loaded may be wrong later: memory that rots, a driver, a node that
was moved. Through the batcher, as ingest and past the cache, so that what is compared is what
clients get, and so that it waits for them and not they for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import numpy as np

from predictor.engine.bundle import read_canonical
from predictor.errors import BadModel, DeadlineExceeded, NotReady, Overloaded
from predictor.fidelity import cosines
from predictor.metrics import CanonicalMetrics
from predictor.repository import Answers
from predictor.server.background import Background
from predictor.server.model import EmbeddingModel, Prepared
from predictor.types import EmbedRequest, FloatRows, Lane

logger = logging.getLogger(__name__)

# How often it looks whether a version is new or due, seconds.
LOOK_S = 1.0
# Longest that one look may wait behind the clients, seconds; then the next one tries again.
PATIENCE_S = 60.0
# Texts a request: as many as an import would send, and not all at once.
TEXTS = 12


class CanonicalWatch:
    """Watches all versions that answer; `start` and `stop` on the loop that serves."""

    def __init__(self, models: Answers[EmbeddingModel], interval_s: float) -> None:
        """interval_s: seconds between two looks at a version, the first one at once; 0: none."""
        self._models, self._interval_s = models, interval_s
        self._seen: dict[EmbeddingModel, tuple[float, CanonicalMetrics]] = {}
        self._background = Background("watches the canonical texts")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        """on_fatal: called if it ends by itself, which it never should."""
        self._background.start(self._run(), on_fatal)

    async def stop(self) -> None:
        await self._background.stop()

    async def _run(self) -> None:
        while True:
            answering = self._models.all()
            for model in [model for model in self._seen if model not in answering]:
                self._seen.pop(model)[1].remove()
            for model in answering:
                if self._is_due(model):
                    await self._look(model)
            await asyncio.sleep(LOOK_S)

    def _is_due(self, model: EmbeddingModel) -> bool:
        if not self._interval_s:
            return False
        if model not in self._seen:
            return model.loaded.bundle.variant(model.loaded.variant).proof.reference != "none"
        return time.monotonic() - self._seen[model][0] >= self._interval_s

    async def _look(self, model: EmbeddingModel) -> None:
        """One look at one version; whatever happens is a count and a line, never an end."""
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
            metrics.outcomes["failed"].inc()
            logger.exception("canonical texts of %s %s", model.name, model.version)
            return
        metrics.cosine.set(smallest)
        metrics.looked.set(time.time())
        is_right = smallest >= proof.tolerance
        metrics.outcomes["right" if is_right else "wrong"].inc()
        if not is_right:
            logger.error(
                "%s version %s gives other vectors than when it was proven (%s): smallest cosine "
                "%.6f, tolerance %s",
                *(model.name, model.version, proof.reference, smallest, proof.tolerance),
            )

    def _metrics_of(self, model: EmbeddingModel) -> CanonicalMetrics:
        """Of a version that is looked at now."""
        found = self._seen.get(model)
        proof = model.loaded.bundle.variant(model.loaded.variant).proof
        metrics = (
            found[1] if found else CanonicalMetrics(model.name, model.version, proof.reference)
        )
        self._seen[model] = time.monotonic(), metrics
        return metrics

    async def smallest_cosine(self, model: EmbeddingModel) -> float:
        """Of the canonical texts' vectors as they are served now to those in the bundle.

        Raises:
            BadModel: the bundle's vectors cannot be read any more.
            Overloaded, DeadlineExceeded, NotReady: the clients left no room.
            EngineError: the engine failed.
        """
        loaded = model.loaded
        texts, expected = await asyncio.to_thread(read_canonical, loaded.folder, loaded.variant)
        parts = [
            await _embed(model, texts[start : start + TEXTS])
            for start in range(0, len(texts), TEXTS)
        ]
        vectors = np.concatenate(parts)
        if not np.isfinite(vectors).all():
            return -1.0
        return float(cosines(vectors, expected).min())


async def _embed(model: EmbeddingModel, texts: list[str]) -> FloatRows:
    """Vectors `[len(texts), dim]` of length 1, without any prompt: so the reference was made."""
    request = EmbedRequest(
        inputs=texts, protocol="v2", lane=Lane.INGEST, normalize=True, cache=False
    )
    tokens = await asyncio.to_thread(model.loaded.tokenizer.encode, texts)
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    prepared = await model.predict(Prepared(request, tokens, deadline))
    return model.postprocess(prepared).vectors
