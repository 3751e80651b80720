"""The arithmetic of a comparison: ratio, spread, and whether the spread allows a verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

CONFIDENCE = 0.95
TOLERANCE = 0.97  # the least ratio that still counts as unchanged, unless --at-least names another

Verdict = Literal["faster", "slower", "unchanged", "undecided", "too few rounds", "invalid"]


class RatioInterval(NamedTuple):
    """From the lower to the higher bound, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class CommitComparison:
    """One figure of both sides, in `unit`. Both sides' samples of one round have the same index."""

    section: str
    figure: str
    unit: str
    candidate: tuple[float, ...]
    baseline: tuple[float, ...]
    # Of a latency, where less is better. Every ratio is turned so that more than 1 is better.
    lower_is_better: bool = False
    # Refused, broken or timed-out requests of both sides. One makes the figure invalid.
    errors: int = 0

    @property
    def candidate_median(self) -> float:
        return median(self.candidate)

    @property
    def baseline_median(self) -> float:
        return median(self.baseline)

    @property
    def ratio(self) -> float:
        """The ratio of the two medians. More than 1: the candidate is better."""
        return self._quotient(self.candidate_median, self.baseline_median)

    @property
    def round_ratios(self) -> tuple[float, ...]:
        """The ratio of each round."""
        return tuple(map(self._quotient, self.candidate, self.baseline))

    @property
    def spread(self) -> RatioInterval:
        """The least and the greatest ratio of a round."""
        return RatioInterval(min(self.round_ratios), max(self.round_ratios))

    @property
    def interval(self) -> RatioInterval | None:
        """Where the median of the rounds' ratios lies with 95 % confidence."""
        return median_interval(self.round_ratios)

    def verdict(self, tolerance: float = TOLERANCE) -> Verdict:
        """What the interval shows.

        Args:
            tolerance: a ratio from this to its reciprocal counts as unchanged.
        """
        if self.errors:
            return "invalid"
        interval = self.interval
        if interval is None:
            return "too few rounds"
        if interval.low > 1:
            return "faster"
        if interval.high < 1:
            return "slower"
        if interval.low >= tolerance and interval.high <= 1 / tolerance:
            return "unchanged"
        return "undecided"

    def _quotient(self, candidate: float, baseline: float) -> float:
        if self.lower_is_better:
            candidate, baseline = baseline, candidate
        return candidate / baseline if baseline else math.nan


def median_interval(
    values: Sequence[float], confidence: float = CONFIDENCE
) -> RatioInterval | None:
    """The narrowest interval between two of the values that holds the median of their distribution.

    It follows from the sign test and assumes nothing about the distribution. With 7 values it
    reaches from the least to the greatest (98.4 %), with 9 from the second to the eighth (96.1 %).

    Returns:
        None for fewer than 6 values, which give no interval of 95 %.
    """
    ordered = sorted(values)
    count = len(ordered)
    interval = None
    # Of 2**count equally likely outcomes, those that put the median below the interval.
    outcomes_below = 0
    for cut in range(count // 2):
        outcomes_below += math.comb(count, cut)
        if 1 - 2 * outcomes_below / 2**count < confidence:
            break
        interval = RatioInterval(ordered[cut], ordered[-1 - cut])
    return interval
