"""The order of the runs, in which slow changes of the machine cancel out."""

from typing import Literal

Side = Literal["candidate", "baseline"]
CANDIDATE: Side = "candidate"
BASELINE: Side = "baseline"
SIDES: tuple[Side, Side] = (CANDIDATE, BASELINE)


def order(round_number: int) -> tuple[Side, Side]:
    """Which side runs first in a round, counted from 1: A B, B A, A B, and so on.

    A machine that gets slower favours whichever side runs first. It favours each side in every
    other round.
    """
    if round_number % 2:
        return (CANDIDATE, BASELINE)
    return (BASELINE, CANDIDATE)
