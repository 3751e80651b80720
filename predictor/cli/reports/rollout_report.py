"""The outcomes of simulated rollouts as text and as JSON."""

import json
from dataclasses import asdict

from predictor.cli.reports.table import table
from predictor.simulator.outcomes import EARLY_WEIGHT, RunOutcomes


def as_text(title: str, outcomes: RunOutcomes, is_good: bool) -> str:
    """The scenario, and one line per figure."""
    rows = [("", "")]
    rows += [
        (f"ended {phase}", f"{count / outcomes.runs:.2%}")
        for phase, count in outcomes.phases.items()
    ]
    if is_good:
        rows.append(("false rollbacks", f"{outcomes.rolled_back:.2%}"))
    else:
        rows.append(
            (
                f"rolled back before the canary had {EARLY_WEIGHT} % of the traffic",
                f"{outcomes.early:.2%}",
            )
        )
    rows += [
        (f"  detected first by {name}", str(count)) for name, count in outcomes.reasons.items()
    ]
    rows += [
        ("detection, median", _time(outcomes.detected_median_s)),
        ("detection, 95th percentile", _time(outcomes.detected_p95_s)),
        ("highest weight, median", f"{outcomes.highest_median:g} %"),
        ("highest weight in any run", f"{outcomes.highest} %"),
        ("share of requests answered by the canary, median", f"{outcomes.share_median:.2%}"),
        ("share of requests answered by the canary, 95th percentile", f"{outcomes.share_p95:.2%}"),
        ("duration of the rollout, median", _time(outcomes.ended_median_s)),
    ]
    return f"{title}\n{table(rows)}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def as_json(title: str, outcomes: RunOutcomes, is_good: bool) -> str:
    false = outcomes.rolled_back if is_good else None
    return json.dumps({"setting": title, **asdict(outcomes), "false_rollbacks": false})
