"""What simulated rollouts came to, in words for people and for programs."""

import json
from dataclasses import asdict

from predictor.cli.table import table
from predictor.rollout.outcomes import EARLY_WEIGHT, Outcomes


def as_text(title: str, found: Outcomes, is_good: bool) -> str:
    """The setting, and a line a figure."""
    rows = [("", "")]
    rows += [
        (f"ended {phase}", f"{count / found.runs:.2%}") for phase, count in found.phases.items()
    ]
    if is_good:
        rows.append(("false rollbacks", f"{found.rolled_back:.2%}"))
    else:
        rows.append((f"rolled back below {EARLY_WEIGHT} % of the traffic", f"{found.early:.2%}"))
    rows += [(f"  first by {name}", str(count)) for name, count in found.reasons.items()]
    rows += [
        ("detection, median", _time(found.detected_median_s)),
        ("detection, 95 of 100 within", _time(found.detected_p95_s)),
        ("highest weight, median", f"{found.highest_median:g} %"),
        ("highest weight of all runs", f"{found.highest} %"),
        ("requests that the canary answered, median", f"{found.share_median:.2%}"),
        ("requests that the canary answered, 95 of 100 below", f"{found.share_p95:.2%}"),
        ("whole rollout, median", _time(found.ended_median_s)),
    ]
    return f"{title}\n{table(rows)}"


def _time(given_s: float | None) -> str:
    if given_s is None:
        return "-"
    minutes, rest = divmod(round(given_s), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def as_json(title: str, found: Outcomes, is_good: bool) -> str:
    false = found.rolled_back if is_good else None
    return json.dumps({"setting": title, **asdict(found), "false_rollbacks": false})
