"""What many simulated runs came to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.rollout.simulation import Trace
from predictor.rollout.state import Phase

# Percent of the traffic; a bad canary should be found below it.
EARLY_WEIGHT = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. detected_s: from the canary's readiness to the decision to roll back, if it came.

    highest: percent of the traffic that it got at most. share: of all requests, that it answered.
    ended_s: when the run was over.
    """

    phase: Phase
    reason: str
    detected_s: float | None
    highest: int
    share: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of all runs; shares 0 to 1, times in seconds, None where there was no such run.

    early: shares of runs rolled back before the canary got `EARLY_WEIGHT` percent.
    reasons: of the rollbacks, the measure that failed first, how often.
    """

    runs: int
    phases: dict[str, int]
    rolled_back: float
    early: float
    detected_median_s: float | None
    detected_p95_s: float | None
    highest: int
    highest_median: float
    share_median: float
    share_p95: float
    ended_median_s: float
    reasons: dict[str, int]


def outcome_of(trace: Trace) -> Outcome:
    first = next((one.time for one in trace.points if one.phase == "Progressing"), 0.0)
    looked = next((one.time for one in trace.points if one.verdict), first)
    back = next((one for one in trace.points if one.phase == "RollingBack"), None)
    return Outcome(
        phase=trace.state.phase,
        reason=back.reason if back else trace.state.reason,
        detected_s=back.time - min(looked, back.time) if back else None,
        highest=max(one.routed for one in trace.points),
        share=trace.of_canary / max(1, trace.answers),
        ended_s=trace.points[-1].time,
    )


def outcomes_of(runs: Sequence[Outcome]) -> Outcomes:
    """Of one run at least."""
    back = [one for one in runs if one.detected_s is not None]
    times = [one.detected_s for one in back if one.detected_s is not None]
    shares = [one.share for one in runs]
    return Outcomes(
        runs=len(runs),
        phases=dict(Counter(one.phase for one in runs).most_common()),
        rolled_back=len(back) / len(runs),
        early=sum(one.highest < EARLY_WEIGHT for one in back) / len(runs),
        detected_median_s=float(np.median(times)) if times else None,
        detected_p95_s=float(np.quantile(times, 0.95)) if times else None,
        highest=max(one.highest for one in runs),
        highest_median=float(np.median([one.highest for one in runs])),
        share_median=float(np.median(shares)),
        share_p95=float(np.quantile(shares, 0.95)),
        ended_median_s=float(np.median([one.ended_s for one in runs])),
        reasons=dict(Counter(one.reason.split(":")[0] for one in back).most_common()),
    )
