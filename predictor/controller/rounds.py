"""Round after round over all rollouts: look, measure, decide, write, act.

The state is written before anything is done. Whoever dies in between leaves a state from which the
next one does the same thing, and a rollout that fails does not keep the others waiting for long:
everything that is asked has a time limit.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from predictor.controller import metrics
from predictor.controller.acting import Actor
from predictor.controller.cluster import Cluster, ClusterError, Conflict, Object
from predictor.controller.looking import Analyst, Found, action_of, find
from predictor.controller.reporting import tell, write_status
from predictor.rollout.decide import ENDING, decide, is_due
from predictor.rollout.moves import move
from predictor.rollout.seen import Seen
from predictor.rollout.spec import ACTION, KIND, BadRollout, Spec, read_spec
from predictor.rollout.state import TERMINAL, Measure, State, read_state

logger = logging.getLogger(__name__)

ROUND_S = 2.0


@dataclass
class Rounds:
    """namespace: empty for all. may_act: whether this process leads; asked before each write."""

    cluster: Cluster
    analyst: Analyst
    may_act: Callable[[], bool]
    namespace: str = ""
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._actor = Actor(self.cluster)
        self._known: set[tuple[str, str]] = set()
        self.finished = time.monotonic()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Until told to stop; does nothing while it may not act."""
        while not should_stop():
            begun = time.monotonic()
            if self.may_act():
                self.round()
            self.finished = time.monotonic()
            metrics.ROUND_SECONDS.set(self.finished - begun)
            time.sleep(max(0.0, ROUND_S - (self.finished - begun)))

    def round(self) -> None:
        """Once over all rollouts; never raises."""
        try:
            resources = self.cluster.list(KIND, self.namespace)
        except ClusterError as error:
            metrics.ERRORS.labels("cluster").inc()
            logger.warning("rollouts cannot be listed: %s", error)
            return
        living = [r for r in resources if "deletionTimestamp" not in r["metadata"]]
        rivals = rivals_of(living)
        for resource in living:
            if not self.may_act():
                return
            self._guarded(resource, rivals.get(_key(resource), ""))
        for namespace, name in self._known - {_key(resource) for resource in living}:
            metrics.forget(namespace, name)
        self._known = {_key(resource) for resource in living}

    def _guarded(self, resource: Object, rival: str) -> None:
        try:
            self._one(resource, rival)
        except Conflict as error:
            metrics.ERRORS.labels("conflict").inc()
            logger.info("somebody else wrote meanwhile: %s", error)
        except ClusterError as error:
            metrics.ERRORS.labels("cluster").inc()
            logger.warning("%s/%s: %s", *_key(resource), error)
        except Exception:
            metrics.ERRORS.labels("internal").inc()
            logger.exception("%s/%s: this round is given up", *_key(resource))

    def _one(self, resource: Object, rival: str) -> None:
        """One rollout, one step. Raises ClusterError."""
        state, now = read_state(resource), self.clock()
        namespace, name = _key(resource)
        try:
            spec = read_spec(resource)
        except BadRollout as error:
            if state.phase in TERMINAL or state.phase == "Pending":
                self._write(resource, state, move(state, now, "Pending", str(error)))
            return
        found = find(self.cluster, namespace, spec)
        seen = self._seen(resource, spec, state, found, rival, now)
        is_over = state.phase in ENDING and found and found.service and not found.service.canary
        if found and is_over:
            self._actor.retire(found, state)
        decision = decide(spec, state, seen, now)
        resource = self._write(resource, state, decision.state)
        metrics.show(namespace, name, decision.state)
        if found is not None and state.phase == "Preparing" != decision.state.phase:
            self.analyst.prepared(found)
        if found is not None and not seen.trouble and self.may_act():
            self._actor.act(found, resource, spec.target, decision.intent)
        if ACTION in (resource["metadata"].get("annotations") or {}):
            done: Object = {"metadata": {"annotations": {ACTION: None}}}
            self.cluster.patch(KIND, namespace, name, done)

    def _seen(
        self,
        resource: Object,
        spec: Spec,
        state: State,
        found: Found | None,
        rival: str,
        now: float,
    ) -> Seen:
        service = found.service if found else None
        measures: tuple[Measure, ...] = ()
        if found and service and not rival and is_due(spec, state, service, now):
            measures = self.analyst.measures(spec, state, found, service, now)
        return Seen(service, measures, rival, action_of(resource), found.trouble if found else "")

    def _write(self, resource: Object, before: State, after: State) -> Object:
        """Status first; nothing is written that is there already."""
        is_told = resource.get("status", {}).get("observedGeneration")
        if after == before and is_told == resource["metadata"].get("generation"):
            return resource
        written = write_status(self.cluster, resource, after)
        tell(self.cluster, resource, before, after)
        return written


def _key(resource: Object) -> tuple[str, str]:
    own = resource["metadata"]
    return own["namespace"], own["name"]


def rivals_of(resources: list[Object]) -> dict[tuple[str, str], str]:
    """Rollouts whose service an older one has, and the name of that one."""
    first: dict[tuple[str, str], str] = {}
    rivals: dict[tuple[str, str], str] = {}
    by_age = sorted(resources, key=lambda r: (r["metadata"]["creationTimestamp"], _key(r)))
    for resource in by_age:
        namespace, name = _key(resource)
        service = (namespace, resource.get("spec", {}).get("inferenceService", ""))
        if first.setdefault(service, name) != name:
            rivals[namespace, name] = first[service]
    return rivals
