"""What the controller exports; the server's series are in `predictor/metrics.py`."""

from typing import get_args

from prometheus_client import Counter, Gauge

from predictor.rollout.state import Phase, State, Verdict

PHASES: tuple[Phase, ...] = get_args(Phase)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ROLLOUT = ("namespace", "rollout")
CAUSES = ("cluster", "conflict", "internal")

PHASE = Gauge(
    "predictor_rollout_phase",
    "1 for the phase that a rollout is in",
    (*ROLLOUT, "phase"),
)
WEIGHT = Gauge(
    "predictor_rollout_weight_percent",
    "Share of the traffic that the canary should have",
    ROLLOUT,
)
VERDICT = Gauge(
    "predictor_rollout_verdict",
    "1 for the verdict of the last analysis, by measure",
    (*ROLLOUT, "measure", "verdict"),
)
CONSECUTIVE_FAILURES = Gauge(
    "predictor_rollout_consecutive_failures",
    "Analyses in a row that found the canary worse than the stable version",
    ROLLOUT,
)
TRANSITIONS = Counter(
    "predictor_rollout_transitions",
    "Changes of phase, step or weight, by the phase after them",
    (*ROLLOUT, "phase"),
)
ERRORS = Counter(
    "predictor_rollout_errors",
    "Reconciliations that ended early, by cause: cluster (the API server failed or refused), "
    "conflict (the object was changed meanwhile, the next reconciliation reads it again), "
    "internal (a fault of the controller)",
    ("cause",),
)
RECONCILE_DURATION = Gauge(
    "predictor_rollout_reconcile_duration_seconds",
    "Duration of the last reconciliation of all rollouts",
)
LEADING = Gauge("predictor_rollout_leading", "1 on the controller that leads")
for _cause in CAUSES:
    ERRORS.labels(_cause)


def set_state(namespace: str, name: str, state: State) -> None:
    """Set the gauges of one rollout."""
    for phase in PHASES:
        PHASE.labels(namespace, name, phase).set(phase == state.phase)
    WEIGHT.labels(namespace, name).set(state.weight)
    CONSECUTIVE_FAILURES.labels(namespace, name).set(state.consecutive_failures)
    for measurement in state.measurements:
        for verdict in VERDICTS:
            labels = (namespace, name, measurement.name, verdict)
            VERDICT.labels(*labels).set(verdict == measurement.verdict)


def remove_metrics(namespace: str, name: str) -> None:
    """Remove the series of a rollout that was deleted."""
    labels = {"namespace": namespace, "rollout": name}
    for metric in (PHASE, WEIGHT, VERDICT, CONSECUTIVE_FAILURES, TRANSITIONS):
        metric.remove_by_labels(labels)
