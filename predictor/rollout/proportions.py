"""Confidence intervals for the difference of two shares, of few or many requests.

Newcombe's score interval for the difference of two proportions (R. Newcombe, Statistics in Medicine
17, 1998, method 10): valid also for shares of 0, where the usual interval is empty.
"""

from math import sqrt
from statistics import NormalDist


def z_of(confidence: float) -> float:
    """The normal quantile of a one-sided confidence, 0.5 to 1."""
    return NormalDist().inv_cdf(confidence)


def interval(hits: float, total: float, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share; 0 to 1 where `total` is 0."""
    if total <= 0:
        return 0.0, 1.0
    share = min(max(hits / total, 0.0), 1.0)
    spread = z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def increase(
    canary: tuple[float, float], stable: tuple[float, float], confidence: float
) -> tuple[float, float]:
    """Least and most by which the canary's share exceeds the stable one's, each with confidence.

    Args:
        canary, stable: hits and total.
    """
    z = z_of(confidence)
    low, high = interval(*canary, z)
    stable_low, stable_high = interval(*stable, z)
    share = canary[0] / canary[1] if canary[1] > 0 else 0.5
    base = stable[0] / stable[1] if stable[1] > 0 else 0.5
    difference = share - base
    return (
        difference - sqrt((share - low) ** 2 + (stable_high - base) ** 2),
        difference + sqrt((high - share) ** 2 + (base - stable_low) ** 2),
    )
