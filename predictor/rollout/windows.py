"""The windows of time in which each version is measured: since the canary has its present weight.

Both versions have the same window, unless the canary has all of the traffic: then it is compared
with the stable version just before that.
"""

from dataclasses import dataclass

from predictor.rollout.state import State

# `increase` over a shorter window contains fewer than two scrapes, seconds.
SHORTEST_S = 60.0
# Length of the stable version's window where its present has no traffic, seconds.
BEFORE_S = 600.0
# A weight may stay for days: last week's good figures must not hide today's bad ones.
LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Windows:
    """Begin and end of each window, seconds since 1970."""

    canary: tuple[float, float]
    stable: tuple[float, float]
    # Whether the two windows are different times.
    apart: bool = False


def windows(state: State, now: float) -> Windows | None:
    """The windows of an analysis at `now`; None where the canary has no traffic."""
    applied_at = state.weight_applied_at
    if state.weight == 0 or applied_at is None:
        return None
    length_s = min(max(now - applied_at, SHORTEST_S), LONGEST_S)
    latest = (now - length_s, now)
    if state.weight < 100:
        return Windows(latest, latest)
    end = min(applied_at, now)
    return Windows(latest, (end - max(length_s, BEFORE_S), end), apart=True)
