"""The statistics: how far two samples of the same quantity are apart. Pure arithmetic on NumPy.

All are effect sizes, not p-values: with thousands of rows every difference is significant, and
hardly any deserves an alarm. What chance alone gives is small against the thresholds.
"""

import numpy as np
import numpy.typing as npt

from predictor.similarity import Floats

Counts = npt.NDArray[np.int64]


def psi(reference: Counts, window: Counts, n: int, m: int) -> float:
    """Population stability index of two histograms `[bins]` of `n` and `m` observations.

    0.1 is commonly called a moderate change and 0.2 a large one. Half an observation of the
    smaller sample is added to each bin of both, so that an empty bin is finite and a bin that is
    empty in both adds nothing.
    """
    if not reference.sum() or not window.sum():
        return 0.0
    little = 0.5 / min(n, m)
    p, q = (counts / counts.sum() + little for counts in (reference, window))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def cohens_h(reference: float, window: float) -> float:
    """Cohen's h of two shares: the difference of their arcsines. 0.2 is small, 0.5 medium.

    A share that goes from 0.1 % to 2 % counts as much as one from 50 % to 61 %.
    """
    p, q = (2 * np.arcsin(np.sqrt(min(1.0, max(0.0, share)))) for share in (reference, window))
    return float(abs(p - q))


def ks(reference: Counts, window: Counts, slack: int = 0) -> float:
    """Kolmogorov and Smirnov's largest distance of two distributions, from histograms `[bins]`.

    slack: bins that a value may be off without counting: values that all lie on the edge of a bin
    fall to either side by rounding alone.
    """
    if not reference.sum() or not window.sum():
        return 0.0
    p, q = (np.cumsum(counts) / counts.sum() for counts in (reference, window))
    if slack:
        ones = np.ones(slack)
        window_ahead = (p - np.concatenate([q[slack:], ones])).max()
        reference_ahead = (q - np.concatenate([p[slack:], ones])).max()
        return float(max(0.0, window_ahead, reference_ahead))
    return float(np.abs(p - q).max())


def mean_shift(moved: Floats, variance: float, n: int, m: int) -> float:
    """How far a mean moved, in standard deviations of the rows (all directions together).

    moved: `[width]`, the difference of the means of `n` and `m` rows; variance: the rows', summed
    over the components. What chance adds on average is subtracted.
    """
    squared = float(moved @ moved) / max(variance, 1e-9) - (1 / n + 1 / m)
    return float(np.sqrt(max(0.0, squared)))


def mmd(left: Floats, right: Floats) -> float:
    """Maximum mean discrepancy of two samples `[n, width]`, `[m, width]` of two rows or more.

    Gaussian kernel as wide as the median distance within `left`. Between 0 and about 1; it detects
    changes that move no mean: a new cluster, a distribution that shrinks. Unbiased, so chance may
    give 0.
    """
    within = _squared(left, left)
    n, m = len(left), len(right)
    width = max(float(np.median(within[~np.eye(n, dtype=bool)])), 1e-9)
    same_left = (np.exp(-within / width).sum() - n) / (n * (n - 1))
    same_right = (np.exp(-_squared(right, right) / width).sum() - m) / (m * (m - 1))
    across = np.exp(-_squared(left, right) / width).mean()
    return float(np.sqrt(max(0.0, same_left + same_right - 2 * across)))


def _squared(left: Floats, right: Floats) -> Floats:
    """Squared distances `[n, m]`."""
    lengths = np.einsum("ij,ij->i", left, left)[:, None] + np.einsum("ij,ij->i", right, right)
    result: Floats = np.maximum(lengths - 2 * left @ right.T, 0)
    return result
