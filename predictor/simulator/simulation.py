"""A rollout from its beginning to its end without a cluster, a clock or a network.

`decide` is called as the controller calls it: every few seconds, with measurements at the interval
of the analysis, in the windows of `windows.py`. The pause of a step is resumed at once; a pause for
any other reason ends the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from predictor.rollout.decide import decide, is_due
from predictor.rollout.judge import Traffic, combined, judge_traffic
from predictor.rollout.observation import Observation, Service
from predictor.rollout.spec import Action, Spec
from predictor.rollout.state import TERMINAL, Measurement, Phase, State, Verdict
from predictor.rollout.windows import SHORTEST_S, windows
from predictor.simulator.cluster import SimulatedCluster, Site
from predictor.simulator.counters import Counters
from predictor.simulator.load import Fault, TrafficSource


@dataclass(frozen=True, slots=True)
class TracePoint:
    """A moment of a run."""

    # Seconds since the run began.
    time: float
    # Percent of the traffic that the gateway sent to the canary.
    routed: int
    phase: Phase
    # Why the rollout is in this phase.
    message: str
    # Of the analysis at this moment; None: there was none.
    verdict: Verdict | None = None
    measurements: tuple[Measurement, ...] = ()
    # What this analysis measured.
    canary: Traffic | None = None
    stable: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole run."""

    points: tuple[TracePoint, ...]
    # At the end.
    state: State
    # Of both versions.
    answers: int
    # Of the canary.
    of_canary: int


class SimulatedRun:
    """One simulated rollout.

    Args:
        rng: of everything random, except the source's own bursts.
    """

    def __init__(
        self,
        spec: Spec,
        source: TrafficSource,
        fault: Fault,
        site: Site,
        rng: np.random.Generator,
    ) -> None:
        self._spec = spec
        self._source = source
        self._fault = fault
        self._site = site
        self._rng = rng
        first = rng.uniform(0, site.scrape_s, size=2)
        self._canary, self._stable = (
            Counters(source.bounds, site.scrape_s, float(first_s)) for first_s in first
        )
        self._cluster = SimulatedCluster(site)
        self._state = State()
        self._canary_since: float | None = None  # when the canary first had traffic
        self._earlier = 0  # answers before the rollout

    def trace(self) -> Trace:
        """Run it to its end; can be called once."""
        points = tuple(self._points())
        answers = self._canary.answers + self._stable.answers - self._earlier
        return Trace(points, self._state, answers, self._canary.answers)

    def _points(self) -> Iterator[TracePoint]:
        now = -2 * SHORTEST_S  # the stable version is scraped before the rollout begins
        while now < self._site.longest_s:
            if now >= 0:
                yield self._reconcile(now)
                if self._is_over():
                    return
            self._send_traffic(now)
            if now < 0:
                self._earlier = self._stable.answers
            now += self._site.tick_s

    def _reconcile(self, now: float) -> TracePoint:
        service = self._cluster.observe(now)
        analysis = self._analyze(service, now)
        measurements = analysis[0] if analysis else ()
        observation = Observation(service, measurements, action=self._command())
        decision = decide(self._spec, self._state, observation, now)
        self._state = decision.state
        self._cluster.apply(self._spec, decision.intent, now)
        routed = self._cluster.routed
        phase = self._state.phase
        message = self._state.message
        if analysis is None:
            return TracePoint(now, routed, phase, message)
        return TracePoint(now, routed, phase, message, combined(measurements), *analysis)

    def _analyze(
        self, service: Service, now: float
    ) -> tuple[tuple[Measurement, ...], Traffic | None, Traffic | None] | None:
        """Measurements, and the traffic of canary and stable version; None: it is not due."""
        state = self._state
        if not is_due(self._spec, state, service, now):
            return None
        vectors = self._vectors()
        spans = windows(state, now)
        if spans is None:
            return vectors, None, None
        canary = self._canary.increase(*spans.canary)
        stable = self._stable.increase(*spans.stable)
        judged = judge_traffic(self._spec.analysis, canary, stable, apart=spans.apart)
        return (*vectors, *judged), canary, stable

    def _vectors(self) -> tuple[Measurement, ...]:
        if self._spec.vectors == "Changed":
            return (Measurement("vectors", "Successful", "of another model; not simulated"),)
        cosine, tolerance = self._fault.cosine, self._spec.analysis.vectors.tolerance
        verdict: Verdict = "Successful" if cosine >= tolerance else "Failed"
        return (Measurement("vectors", verdict, f"cosine {cosine:.6f}, at least {tolerance:g}"),)

    def _command(self) -> Action | None:
        return "resume" if self._is_paused_by_step() else None

    def _is_paused_by_step(self) -> bool:
        state = self._state
        is_undecided = state.undecided_verdict or state.consecutive_failures
        return state.phase == "Paused" and not is_undecided

    def _is_over(self) -> bool:
        phase = self._state.phase
        needs_decision = phase == "Paused" and not self._is_paused_by_step()
        return phase in TERMINAL or phase == "Comparing" or needs_decision

    def _send_traffic(self, now: float) -> None:
        """Traffic until the next reconciliation."""
        routed = self._cluster.routed
        if routed and self._canary_since is None:
            self._canary_since = now
        warm_s = 0.0 if self._canary_since is None else now - self._canary_since
        moment = self._source.at(now, warm_s)
        answers = int(self._rng.poisson(moment.rate * self._site.tick_s))
        of_canary = int(self._rng.binomial(answers, routed / 100)) if routed else 0
        self._canary.count(self._rng, of_canary, moment.canary)
        self._stable.count(self._rng, answers - of_canary, moment.stable)
        for counters in (self._canary, self._stable):
            counters.scrape(now + self._site.tick_s)
