"""Watches a sample of each version's traffic for drift from the version's reference.

Everything is kept per version, because another model has other vectors. The sample is what clients
get, from the cache or computed; the canonical texts are not part of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.drift import (
    DriftSchedule,
    Finding,
    ModelIdentity,
    Monitor,
    Sketch,
    reference_to_bytes,
    sketch_to_bytes,
)
from predictor.repository import RoutingTable
from predictor.server.model import ServedModel
from predictor.server.watch.drift_files import DriftFiles
from predictor.settings import Settings
from predictor.supervised_task import SupervisedTask
from predictor.tasks.embed import EMBED, EmbedRequest
from predictor.types import FloatRows, Tokens
from predictor.version_metrics import DriftMetrics

logger = logging.getLogger(__name__)

# Seconds between two searches for versions that are new and windows that are over.
POLL_S = 1.0


@dataclass(slots=True)
class WatchedVersion:
    """One version and its monitor."""

    model: ServedModel
    monitor: Monitor
    metrics: DriftMetrics
    # Its monitor raised an error and is no longer used.
    broken: bool = False

    def observe(self, request: EmbedRequest, tokens: Tokens, rows: FloatRows) -> None:
        """See `Monitor.observe`; never raises, because it runs within a request."""
        if self.broken:
            return
        try:
            self.monitor.observe(request.inputs, tokens, rows)
        except Exception:
            self.fail("observing the traffic")

    def flush(self) -> None:
        """See `Monitor.flush`; never raises. Called often, so that no text is held for long."""
        if not self.broken:
            try:
                self.monitor.flush()
            except Exception:
                self.fail("sketching the traffic")

    def fail(self, activity: str) -> None:
        """Log the error being handled, and stop watching."""
        self.broken = True
        self.metrics.outcomes["failed"].inc()
        name, version = self.model.name, self.model.version
        logger.exception("%s of %s %s failed: no longer watched", activity, name, version)


class DriftWatch:
    """Watches all versions that answer; `start` and `stop` on the loop that serves."""

    def __init__(self, models: RoutingTable[ServedModel], settings: Settings) -> None:
        drift = settings.drift
        self._models = models
        self._is_on = drift.drift_window_s > 0
        self._schedule = DriftSchedule(
            seconds=drift.drift_window_s, learn_seconds=drift.drift_learn_s
        )
        self._files = DriftFiles(Path(drift.drift_dir or Path(settings.model.cache_dir) / "drift"))
        self._watched: dict[ServedModel, WatchedVersion] = {}
        self._background = SupervisedTask("the drift watch")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        """on_fatal: called if the task ends by itself, which it never should."""
        if self._is_on:
            self._background.start(self._run, on_fatal)

    async def stop(self) -> None:
        await self._background.stop()

    def monitor_of(self, model: ServedModel) -> Monitor | None:
        """The monitor of a version's traffic; None: it is not watched."""
        watched = self._watched.get(model)
        return watched.monitor if watched else None

    async def _run(self) -> None:
        while True:
            answering = self._models.all()
            for model in [model for model in self._watched if model not in answering]:
                self._remove(model)
            for model in answering:
                if model not in self._watched:
                    await self._begin(model)
                await self._end_due_window(self._watched[model])
            await asyncio.sleep(POLL_S)

    async def _begin(self, model: ServedModel) -> None:
        loaded = model.loaded
        identity = ModelIdentity(model.revision, loaded.variant, loaded.bundle.dimensions)
        reference = await asyncio.to_thread(self._files.find, identity, Path(loaded.folder))
        monitor = Monitor(
            identity,
            np.random.default_rng(),
            time.monotonic(),
            unknown_id=loaded.tokenizer.unknown_id,
            reference=reference,
            schedule=self._schedule,
        )
        watched = WatchedVersion(
            model, monitor, DriftMetrics(model.name, model.version, monitor.alarms)
        )
        watched.metrics.learning.set(reference is None)
        self._watched[model] = watched
        model.observe(EMBED.name, watched.observe)

    def _remove(self, model: ServedModel) -> None:
        watched = self._watched.pop(model)
        model.stop_observing(EMBED.name, watched.observe)
        watched.metrics.remove()

    async def _end_due_window(self, watched: WatchedVersion) -> None:
        """End the open window if it is due; errors are counted and logged."""
        monitor = watched.monitor
        now = time.monotonic()
        watched.flush()
        if watched.broken or not monitor.is_due(now):
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

    def _show(self, watched: WatchedVersion, findings: list[Finding]) -> None:
        alarms = watched.monitor.alarms
        for finding in findings:
            watched.metrics.show(finding.name, finding.effect, alarms[finding.name])
        drifted = [finding for finding in findings if finding.drifted]
        if drifted:
            logger.warning(
                "traffic of %s %s has drifted: %s",
                watched.model.name,
                watched.model.version,
                ", ".join(map(_describe, sorted(drifted, key=lambda finding: -finding.effect))),
            )

    def _keep(self, watched: WatchedVersion, window: Sketch, learning: bool) -> None:
        """Write the window, and the reference when it has just been made."""
        monitor = watched.monitor
        try:
            self._files.write(monitor.identity, "window", sketch_to_bytes(window))
            if learning and monitor.reference is not None:
                content = reference_to_bytes(monitor.reference)
                self._files.write(monitor.identity, "reference", content)
                logger.info(
                    "drift reference of %s %s: %d rows of %d windows",
                    watched.model.name,
                    watched.model.version,
                    monitor.reference.sketch.rows,
                    monitor.reference.windows,
                )
        except OSError as error:
            logger.error("drift files: %s", error)


def _describe(finding: Finding) -> str:
    change = f"{finding.figure} {finding.before:.3g} -> {finding.after:.3g}"
    return f"{finding.name} {finding.effect:.1f} ({change})"
