"""Is the traffic still what it was? A sample of what is served, beside the version's reference.

Everything is kept per version: another model has other vectors. What is looked at is what the
client gets, from the cache or computed; the canonical texts do not come this way.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.drift import (
    Finding,
    Monitor,
    Rhythm,
    Sketch,
    Subject,
    reference_to_bytes,
    sketch_to_bytes,
)
from predictor.metrics import DriftMetrics
from predictor.repository import Answers
from predictor.server.background import Background
from predictor.server.drift_files import DriftFiles
from predictor.server.model import EmbeddingModel
from predictor.settings import Settings
from predictor.types import EmbedRequest, FloatRows, Tokens

logger = logging.getLogger(__name__)

# How often it looks whether a version is new or a window over, seconds.
LOOK_S = 1.0


@dataclass(slots=True)
class Watched:
    """One version. broken: looking at its traffic failed, and is left alone from then on."""

    model: EmbeddingModel
    monitor: Monitor
    metrics: DriftMetrics
    broken: bool = False

    def observe(self, request: EmbedRequest, tokens: Tokens, rows: FloatRows) -> None:
        """See `Monitor.observe`; never raises, for it stands in a request's way."""
        if self.broken:
            return
        try:
            self.monitor.observe(request.inputs, tokens, rows)
        except Exception:
            self.fail("observing the traffic")

    def settle(self) -> None:
        """See `Monitor.settle`; never raises. Called often, so that no text is held for long."""
        if not self.broken:
            try:
                self.monitor.settle()
            except Exception:
                self.fail("looking at the traffic")

    def fail(self, doing: str) -> None:
        """Log the error being handled, and stop."""
        self.broken = True
        self.metrics.outcomes["failed"].inc()
        name, version = self.model.name, self.model.version
        logger.exception("%s of %s %s: not watched any more", doing, name, version)


class DriftWatch:
    """Watches all versions that answer; `start` and `stop` on the loop that serves."""

    def __init__(self, models: Answers[EmbeddingModel], settings: Settings) -> None:
        drift = settings.drift
        self._models, self._is_on = models, drift.drift_window > 0
        self._rhythm = Rhythm(seconds=drift.drift_window, learn_seconds=drift.drift_learn)
        self._files = DriftFiles(Path(drift.drift_dir or Path(settings.model.cache_dir) / "drift"))
        self._watched: dict[EmbeddingModel, Watched] = {}
        self._background = Background("watches the traffic")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        """on_fatal: called if it ends by itself, which it never should."""
        if self._is_on:
            self._background.start(self._run(), on_fatal)

    async def stop(self) -> None:
        await self._background.stop()

    def found(self, model: EmbeddingModel) -> Monitor | None:
        """What is known of a version's traffic, if it is watched."""
        watched = self._watched.get(model)
        return watched.monitor if watched else None

    async def _run(self) -> None:
        while True:
            answering = self._models.all()
            for model in [model for model in self._watched if model not in answering]:
                self._forget(model)
            for model in answering:
                if model not in self._watched:
                    await self._begin(model)
                await self._look(self._watched[model])
            await asyncio.sleep(LOOK_S)

    async def _begin(self, model: EmbeddingModel) -> None:
        loaded = model.loaded
        subject = Subject(model.revision, loaded.variant, loaded.bundle.dimensions)
        reference = await asyncio.to_thread(self._files.find, subject, Path(loaded.folder))
        monitor = Monitor(
            subject,
            np.random.default_rng(),
            time.monotonic(),
            unknown_id=loaded.tokenizer.unknown_id,
            reference=reference,
            rhythm=self._rhythm,
        )
        watched = Watched(model, monitor, DriftMetrics(model.name, model.version, monitor.alarms))
        watched.metrics.learning.set(reference is None)
        self._watched[model] = watched
        model.observers += (watched.observe,)

    def _forget(self, model: EmbeddingModel) -> None:
        watched = self._watched.pop(model)
        model.observers = tuple(one for one in model.observers if one != watched.observe)
        watched.metrics.remove()

    async def _look(self, watched: Watched) -> None:
        """End the open window if it is time; whatever happens is a count and a line."""
        monitor, now = watched.monitor, time.monotonic()
        watched.settle()
        if watched.broken or not monitor.due(now):
            return
        learning = monitor.reference is None
        try:
            window = monitor.close(now)
            findings = await asyncio.to_thread(monitor.judge, window, now, time.time())
        except Exception:
            watched.fail("judging the traffic")
            return
        watched.metrics.outcomes["learnt" if learning else "compared"].inc()
        watched.metrics.learning.set(monitor.reference is None)
        self._show(watched, findings)
        await asyncio.to_thread(self._keep, watched, window, learning)

    def _show(self, watched: Watched, findings: list[Finding]) -> None:
        alarms = watched.monitor.alarms
        for one in findings:
            watched.metrics.show(one.name, one.effect, alarms[one.name])
        if drifted := [one for one in findings if one.drifted]:
            told = ", ".join(
                f"{one.name} {one.effect:.1f} ({one.figure} {one.before:.3g} -> {one.after:.3g})"
                for one in sorted(drifted, key=lambda one: -one.effect)
            )
            logger.warning("traffic of %s %s: %s", watched.model.name, watched.model.version, told)

    def _keep(self, watched: Watched, window: Sketch, learning: bool) -> None:
        """Write the window, and the reference when it has just been made."""
        monitor = watched.monitor
        try:
            self._files.write(monitor.subject, "window", sketch_to_bytes(window))
            if learning and monitor.reference is not None:
                content = reference_to_bytes(monitor.reference)
                self._files.write(monitor.subject, "reference", content)
                logger.info(
                    "drift reference of %s %s: %d rows of %d windows",
                    *(watched.model.name, watched.model.version),
                    *(monitor.reference.sketch.rows, monitor.reference.windows),
                )
        except OSError as error:
            logger.error("drift files: %s", error)
