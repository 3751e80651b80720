"""Results of many simulated runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.rollout.state import Phase
from predictor.simulator.simulation import Trace

# Percent of the traffic; a bad canary should be found below it.
EARLY_WEIGHT = 20


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The result of one run."""

    # In which it ended.
    phase: Phase
    # Of the rollback, if there was one, else of the last phase.
    message: str
    # From the first analysis to the decision to roll back; None: there was no rollback.
    detected_s: float | None
    # Highest percent of the traffic that the canary got.
    highest: int
    # Share of all requests that the canary answered.
    share: float
    # When the run ended.
    ended_s: float


@dataclass(frozen=True, slots=True)
class RunOutcomes:
    """The results of all runs; None where no run had such a result."""

    runs: int
    # Runs by the phase in which they ended.
    phases: dict[str, int]
    # Share of runs that were rolled back, 0 to 1.
    rolled_back: float
    # Share of runs that were rolled back before the canary got `EARLY_WEIGHT` percent, 0 to 1.
    early: float
    # From the first analysis to the decision to roll back.
    detected_median_s: float | None
    detected_p95_s: float | None
    # Highest percent of the traffic that the canary got in any run.
    highest: int
    highest_median: float
    # Share of all requests that the canary answered, 0 to 1.
    share_median: float
    share_p95: float
    # When a run ended.
    ended_median_s: float
    # Rollbacks by the measure that failed first.
    reasons: dict[str, int]


def outcome_of(trace: Trace) -> RunOutcome:
    points = trace.points
    first = next((point.time for point in points if point.phase == "Progressing"), 0.0)
    analyzed = next((point.time for point in points if point.verdict), first)
    rollback = next((point for point in points if point.phase == "RollingBack"), None)
    return RunOutcome(
        phase=trace.state.phase,
        message=rollback.message if rollback else trace.state.message,
        detected_s=rollback.time - min(analyzed, rollback.time) if rollback else None,
        highest=max(point.routed for point in points),
        share=trace.of_canary / max(1, trace.answers),
        ended_s=points[-1].time,
    )


def outcomes_of(runs: Sequence[RunOutcome]) -> RunOutcomes:
    """The results of at least one run."""
    rollbacks = [run for run in runs if run.detected_s is not None]
    times = [run.detected_s for run in rollbacks if run.detected_s is not None]
    shares = [run.share for run in runs]
    return RunOutcomes(
        runs=len(runs),
        phases=dict(Counter(run.phase for run in runs).most_common()),
        rolled_back=len(rollbacks) / len(runs),
        early=sum(run.highest < EARLY_WEIGHT for run in rollbacks) / len(runs),
        detected_median_s=float(np.median(times)) if times else None,
        detected_p95_s=float(np.quantile(times, 0.95)) if times else None,
        highest=max(run.highest for run in runs),
        highest_median=float(np.median([run.highest for run in runs])),
        share_median=float(np.median(shares)),
        share_p95=float(np.quantile(shares, 0.95)),
        ended_median_s=float(np.median([run.ended_s for run in runs])),
        reasons=dict(Counter(run.message.split(":")[0] for run in rollbacks).most_common()),
    )
