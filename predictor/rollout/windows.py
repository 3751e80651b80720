"""Which stretch of time each version is looked at: both since the canary has its present weight.

A canary with all of the traffic has nobody beside it. It is compared with the stable version just
before that.
"""

from dataclasses import dataclass

from predictor.rollout.state import State

# `increase` over less sees no two scrapes, seconds.
SHORTEST_S = 60.0
# Of the stable version's past, where its present has no traffic, seconds.
BEFORE_S = 600.0
# A weight may stay for days: what went well last week must not hide what goes wrong now.
LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Windows:
    """Beginning and end of each, seconds since 1970. apart: they are not the same time."""

    canary: tuple[float, float]
    stable: tuple[float, float]
    apart: bool = False


def windows(state: State, now: float) -> Windows | None:
    """None where the canary has no traffic."""
    if state.weight == 0 or state.arrived is None:
        return None
    length = min(max(now - state.arrived, SHORTEST_S), LONGEST_S)
    ours = (now - length, now)
    if state.weight < 100:
        return Windows(ours, ours)
    end = min(state.arrived, now)
    return Windows(ours, (end - max(length, BEFORE_S), end), apart=True)
