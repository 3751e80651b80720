"""Reconciles all rollouts, again and again: observe, measure, decide, write the status, apply.

The status is written before anything is done. A controller that dies in between leaves a state from
which the next one does the same thing. A rollout that fails does not delay the others for long:
every request has a time limit.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from predictor.controller import metrics, standard
from predictor.controller.apply import Applier
from predictor.controller.autoscalers import Autoscalers
from predictor.controller.cluster import Cluster, ClusterError, Conflict
from predictor.controller.events import (
    report_deletion,
    report_refusal,
    report_transitions,
    write_status,
)
from predictor.controller.objects import Object, annotations_of, key_of
from predictor.controller.observe import (
    Analyzer,
    ObservedService,
    action_of,
    canary_problem,
    observe_service,
)
from predictor.rollout.decide import decide, is_due, is_overdue
from predictor.rollout.observation import Observation
from predictor.rollout.spec import ACTION, KIND, BadRollout, Spec, read_spec
from predictor.rollout.state import ACTIVE, ENDING, TERMINAL, Measurement, State
from predictor.rollout.status import read_state
from predictor.rollout.transitions import transition
from predictor.rollout.writes import is_waiting, record_refusal, record_success

logger = logging.getLogger(__name__)

# Between the beginnings of two reconciliations, seconds.
INTERVAL_S = 2.0


@dataclass
class RolloutReconciler:
    """Reconciles the rollouts of one namespace, or of all."""

    cluster: Cluster
    analyzer: Analyzer
    # Whether this process leads; asked before each write.
    may_act: Callable[[], bool]
    # Of the rollouts; empty: all namespaces.
    namespace: str = ""
    # Seconds since 1970.
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._applier = Applier(self.cluster)
        # As they were listed last.
        self._known: dict[tuple[str, str], Object] = {}
        # When the last reconciliation ended, by the monotonic clock.
        self.finished = time.monotonic()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Reconcile until `should_stop`; does nothing while it may not act."""
        while not should_stop():
            started = time.monotonic()
            if self.may_act():
                self.reconcile()
            self.finished = time.monotonic()
            duration_s = self.finished - started
            metrics.RECONCILE_DURATION.set(duration_s)
            time.sleep(max(0.0, INTERVAL_S - duration_s))

    def reconcile(self) -> None:
        """Reconcile every rollout once; never raises."""
        try:
            rollouts = self.cluster.list(KIND, self.namespace)
        except ClusterError as error:
            metrics.ERRORS.labels("cluster").inc()
            logger.warning("rollouts cannot be listed: %s", error)
            return
        rollouts = [item for item in rollouts if "deletionTimestamp" not in item["metadata"]]
        conflicts = conflicts_of(rollouts)
        for rollout in rollouts:
            if not self.may_act():
                return
            self._reconcile_guarded(rollout, conflicts.get(key_of(rollout), ""))
        listed = {key_of(rollout): rollout for rollout in rollouts}
        for key in self._known.keys() - listed.keys():
            self._forget(self._known[key])
        self._known = listed

    def _forget(self, rollout: Object) -> None:
        """A rollout was deleted; one that had not ended leaves its canary."""
        metrics.remove_metrics(*key_of(rollout))
        state = read_state(rollout)
        if state.phase in ACTIVE or state.phase in ENDING:
            report_deletion(self.cluster, rollout, state, self.clock())
        try:
            self._give_fields_back(rollout, state)
        except ClusterError as error:
            logger.warning("rollout %s/%s: fields are not given back: %s", *key_of(rollout), error)

    def _give_fields_back(self, rollout: Object, state: State) -> None:
        """Raises ClusterError."""
        namespace, _ = key_of(rollout)
        service = rollout["spec"].get("inferenceService", "")
        isvc = self.cluster.get("InferenceService", namespace, service)
        if isvc is not None:
            self._applier.give_fields_back(isvc)
            autoscalers = Autoscalers(self.cluster, namespace)
            for predictor in {state.stable_name, state.canary}:
                autoscalers.give_fields_back(standard.deployment_name(service, predictor))

    def _reconcile_guarded(self, rollout: Object, conflict: str) -> None:
        namespace, name = key_of(rollout)
        try:
            self._reconcile_rollout(rollout, conflict)
        except Conflict as error:
            metrics.ERRORS.labels("conflict").inc()
            logger.info("rollout %s/%s: changed meanwhile: %s", namespace, name, error)
        except ClusterError as error:
            metrics.ERRORS.labels("cluster").inc()
            logger.warning("rollout %s/%s: %s", namespace, name, error)
        except Exception:
            metrics.ERRORS.labels("internal").inc()
            logger.exception("rollout %s/%s: the reconciliation failed", namespace, name)

    def _reconcile_rollout(self, rollout: Object, conflict: str) -> None:
        """One decision for one rollout. Raises ClusterError."""
        # The status keeps microseconds: so a state is the same before and after it is written.
        now = round(self.clock(), 6)
        state = read_state(rollout)
        namespace, name = key_of(rollout)
        try:
            spec = read_spec(rollout)
        except BadRollout as error:
            if state.phase in TERMINAL or state.phase == "Pending":
                invalid = transition(state, now, "Pending", "InvalidSpec", str(error))
                self._write(rollout, state, invalid, now)
            return
        observed = observe_service(self.cluster, namespace, spec, state)
        observation = self._observe(rollout, spec, state, observed, conflict, now)
        has_ended = state.phase in ENDING or (state.phase in TERMINAL and state.stable_pods)
        if observed is not None and has_ended and observed.is_without_canary:
            settle = partial(self._applier.settle_autoscalers, observed, state)
            if not self._act(rollout, state, state, settle, now):
                return
        decision = decide(spec, state, observation, now)
        rollout = self._write(rollout, state, decision.state, now)
        metrics.set_state(namespace, name, decision.state)
        if observed is not None and state.phase == "Preparing" != decision.state.phase:
            self.analyzer.end_shadow(observed)
        if observed is not None and not observation.unsupported_reason and self.may_act():
            apply = partial(self._applier.apply, observed, rollout, spec.target, decision)
            self._act(rollout, state, decision.state, apply, now)
            if is_at_rest(state) and is_at_rest(decision.state):
                give_back = partial(self._applier.give_fields_back, observed.isvc)
                self._act(rollout, state, decision.state, give_back, now)
        if ACTION in annotations_of(rollout):
            done: Object = {"metadata": {"annotations": {ACTION: None}}}
            self.cluster.patch(KIND, namespace, name, done)

    def _act(
        self, rollout: Object, before: State, state: State, write: Callable[[], None], now: float
    ) -> bool:
        """Write to the cluster, or wait after a refusal; whether it was done.

        Raises:
            Conflict: an object was changed meanwhile; the next reconciliation reads it again.
            ClusterError: the status cannot be written either.
        """
        if is_waiting(before, state, now):
            return False
        try:
            write()
        except Conflict:
            raise
        except ClusterError as error:
            metrics.ERRORS.labels("cluster").inc()
            logger.warning("rollout %s/%s: %s", *key_of(rollout), error)
            refused = record_refusal(state, str(error), now)
            write_status(self.cluster, rollout, refused, now)
            if refused.write_error != state.write_error:
                report_refusal(self.cluster, rollout, refused.write_error, now)
            return False
        if state.write_failures:
            write_status(self.cluster, rollout, record_success(state), now)
        return True

    def _observe(
        self,
        rollout: Object,
        spec: Spec,
        state: State,
        observed: ObservedService | None,
        conflict: str,
        now: float,
    ) -> Observation:
        service = observed.service if observed else None
        measurements: tuple[Measurement, ...] = ()
        if observed and service and not conflict and is_due(spec, state, service, now):
            measurements = self.analyzer.measure(spec, state, observed, service, now)
        return Observation(
            service=service,
            measurements=measurements,
            conflicting_rollout=conflict,
            action=action_of(rollout),
            canary_problem=(
                canary_problem(self.cluster, observed)
                if observed and state.phase in ACTIVE and is_overdue(spec, state, now)
                else ""
            ),
            unsupported_reason=observed.unsupported_reason if observed else "",
        )

    def _write(self, rollout: Object, before: State, after: State, now: float) -> Object:
        """Write the status, then the Events; nothing is written that is there already."""
        observed = (rollout.get("status") or {}).get("observedGeneration")
        if after == before and observed == rollout["metadata"].get("generation"):
            return rollout
        written = write_status(self.cluster, rollout, after, now)
        report_transitions(self.cluster, rollout, before, after)
        return written


def is_at_rest(state: State) -> bool:
    """Whether the rollout has ended, and everything was given back that it held."""
    return state.phase in TERMINAL and not state.stable_pods


def conflicts_of(rollouts: list[Object]) -> dict[tuple[str, str], str]:
    """Rollouts whose service an older rollout has, and the name of that one."""
    owners: dict[tuple[str, str], str] = {}
    conflicts: dict[tuple[str, str], str] = {}
    by_age = sorted(
        rollouts, key=lambda item: (item["metadata"]["creationTimestamp"], key_of(item))
    )
    for rollout in by_age:
        namespace, name = key_of(rollout)
        service = (namespace, rollout.get("spec", {}).get("inferenceService", ""))
        if owners.setdefault(service, name) != name:
            conflicts[namespace, name] = owners[service]
    return conflicts
