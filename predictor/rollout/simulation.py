"""A rollout from its beginning to its end without a cluster, a clock or a network.

`decide` is asked as the controller asks it: every few seconds, with measures at the interval of the
analysis, on the windows of `windows.py`. A person who is asked by a step says yes at once; one who
is asked because nothing can be told ends the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from predictor.rollout.counters import Counters
from predictor.rollout.decide import decide, is_due
from predictor.rollout.judge import Traffic, combined, judge_traffic
from predictor.rollout.load import Fault, Source
from predictor.rollout.seen import Seen, Service
from predictor.rollout.site import Cluster, Site
from predictor.rollout.spec import Action, Spec
from predictor.rollout.state import TERMINAL, Measure, Phase, State, Verdict
from predictor.rollout.windows import SHORTEST_S, windows


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a run. routed: percent that the gateway sent to the canary in it.

    verdict: of the look at this moment, if there was one; `canary`, `stable`: what it saw.
    """

    time: float
    routed: int
    phase: Phase
    reason: str
    verdict: Verdict | None = None
    measures: tuple[Measure, ...] = ()
    canary: Traffic | None = None
    stable: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole run. answers, of_canary: all, and those that the canary gave."""

    points: tuple[Point, ...]
    state: State
    answers: int
    of_canary: int


class Run:
    """One simulated rollout.

    Args:
        rng: the source of everything that is drawn, except the source's own bursts.
    """

    def __init__(
        self, spec: Spec, source: Source, fault: Fault, site: Site, rng: np.random.Generator
    ) -> None:
        self._spec, self._source, self._fault, self._site = spec, source, fault, site
        self._rng = rng
        first = rng.uniform(0, site.scrape_s, size=2)
        self._canary, self._stable = (
            Counters(source.bounds, site.scrape_s, float(first_s)) for first_s in first
        )
        self._cluster = Cluster(site)
        self._state = State()
        self._began: float | None = None
        self._earlier = 0  # answers before the rollout

    def trace(self) -> Trace:
        """Run it to its end; once only."""
        points = tuple(self._points())
        answers = self._canary.answers + self._stable.answers - self._earlier
        return Trace(points, self._state, answers, self._canary.answers)

    def _points(self) -> Iterator[Point]:
        now = -2 * SHORTEST_S  # the stable version is known already when it begins
        while now < self._site.longest_s:
            if now >= 0:
                yield self._turn(now)
                if self._is_over():
                    return
            self._pass(now)
            if now < 0:
                self._earlier = self._stable.answers
            now += self._site.tick_s

    def _turn(self, now: float) -> Point:
        service = self._cluster.seen(now)
        looked = self._look(service, now)
        measures = looked[0] if looked else ()
        seen = Seen(service, measures, action=self._person())
        decision = decide(self._spec, self._state, seen, now)
        self._state = decision.state
        self._cluster.apply(self._spec, decision.intent, now)
        point = Point(now, self._cluster.routed, self._state.phase, self._state.reason)
        if looked is None:
            return point
        return Point(
            point.time, point.routed, point.phase, point.reason, combined(measures), *looked
        )

    def _look(
        self, service: Service, now: float
    ) -> tuple[tuple[Measure, ...], Traffic | None, Traffic | None] | None:
        state = self._state
        if not is_due(self._spec, state, service, now):
            return None
        vectors = self._vectors()
        spans = windows(state, now)
        if spans is None:
            return vectors, None, None
        ours = self._canary.increase(*spans.canary)
        theirs = self._stable.increase(*spans.stable)
        judged = judge_traffic(self._spec.analysis, ours, theirs, apart=spans.apart)
        return (*vectors, *judged), ours, theirs

    def _vectors(self) -> tuple[Measure, ...]:
        if self._spec.vectors == "Changed":
            return (Measure("vectors", "Successful", "of another model; not simulated"),)
        cosine, tolerance = self._fault.cosine, self._spec.analysis.vectors.tolerance
        verdict: Verdict = "Successful" if cosine >= tolerance else "Failed"
        return (Measure("vectors", verdict, f"cosine {cosine:.6f}, at least {tolerance:g}"),)

    def _person(self) -> Action | None:
        return "resume" if self._is_asked_by_a_step() else None

    def _is_asked_by_a_step(self) -> bool:
        state = self._state
        return state.phase == "Paused" and not state.wrong and not state.failures

    def _is_over(self) -> bool:
        phase = self._state.phase
        asked = phase == "Paused" and not self._is_asked_by_a_step()
        return phase in TERMINAL or phase == "Comparing" or asked

    def _pass(self, now: float) -> None:
        """Traffic until the next turn."""
        routed = self._cluster.routed
        if routed and self._began is None:
            self._began = now
        warm_s = 0.0 if self._began is None else now - self._began
        moment = self._source.at(now, warm_s)
        answers = int(self._rng.poisson(moment.rate * self._site.tick_s))
        ours = int(self._rng.binomial(answers, routed / 100)) if routed else 0
        self._canary.count(self._rng, ours, moment.canary)
        self._stable.count(self._rng, answers - ours, moment.stable)
        for counters in (self._canary, self._stable):
            counters.scrape(now + self._site.tick_s)
