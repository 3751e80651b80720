"""What the controller exports; the server's series are in `predictor/metrics.py`."""

from typing import get_args

from prometheus_client import Counter, Gauge

from predictor.rollout.state import Phase, State, Verdict

PHASES: tuple[Phase, ...] = get_args(Phase)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ROLLOUT = ("namespace", "rollout")

PHASE = Gauge(
    "predictor_rollout_phase", "1 for the phase that a rollout is in", (*ROLLOUT, "phase")
)
WEIGHT = Gauge(
    "predictor_rollout_weight_percent", "Share of the traffic that the canary should have", ROLLOUT
)
VERDICT = Gauge(
    "predictor_rollout_verdict", "1 for the verdict of the last look, by measure",
    (*ROLLOUT, "measure", "verdict"),
)  # fmt: skip
FAILED_LOOKS = Gauge(
    "predictor_rollout_failed_looks", "Looks in a row that found the canary worse", ROLLOUT
)
MOVES = Counter(
    "predictor_rollout_moves", "Changes of phase, step or weight by phase", (*ROLLOUT, "phase")
)
ERRORS = Counter(
    "predictor_rollout_errors", "Rounds of a rollout that ended early: cluster (the API server), "
    "conflict (somebody else wrote), internal", ("cause",),
)  # fmt: skip
ROUND_SECONDS = Gauge("predictor_rollout_round_seconds", "Time of the last round over all rollouts")
LEADING = Gauge("predictor_rollout_leading", "1 on the controller that leads")
for _cause in ("cluster", "conflict", "internal"):
    ERRORS.labels(_cause)


def show(namespace: str, name: str, state: State) -> None:
    """Set the gauges of one rollout."""
    for phase in PHASES:
        PHASE.labels(namespace, name, phase).set(phase == state.phase)
    WEIGHT.labels(namespace, name).set(state.weight)
    FAILED_LOOKS.labels(namespace, name).set(state.failures)
    for measure in state.measures:
        for verdict in VERDICTS:
            labels = (namespace, name, measure.name, verdict)
            VERDICT.labels(*labels).set(verdict == measure.verdict)


def forget(namespace: str, name: str) -> None:
    """A rollout is gone."""
    ours = {"namespace": namespace, "rollout": name}
    for metric in (PHASE, WEIGHT, VERDICT, FAILED_LOOKS, MOVES):
        metric.remove_by_labels(ours)
