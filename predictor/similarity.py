"""How close two sets of vectors of the same texts are: pure arithmetic, no models and no files.

Cosines are computed in double precision: in single, two equal vectors are 6e-8 apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictor.types import FloatRows

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Closeness:
    """Cosine of each vector to its counterpart, and the largest difference of a component."""

    min_cosine: float
    p1_cosine: float
    mean_cosine: float
    max_abs_difference: float

    def missed(self, limits: dict[str, float]) -> list[str]:
        """What is under its limit, as sentences; nothing if all is well.

        A figure that is not a number is under every limit.
        """
        return [
            f"{name} {getattr(self, name):.6f}, limit {least}"
            for name, least in limits.items()
            if not getattr(self, name) >= least
        ]


def cosines(left: FloatRows, right: FloatRows) -> Floats:
    """Cosine of each row of `left` `[N, H]` to the same row of `right`."""
    a = left.astype(np.float64)
    b = right.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    result: Floats = np.einsum("ij,ij->i", a, b) / np.maximum(norms, 1e-30)
    return result


def directed(rows: FloatRows) -> npt.NDArray[np.bool_]:
    """Which rows `[N]` of `[N, H]` are vectors that have a direction: finite and not all zeros."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    result: npt.NDArray[np.bool_] = np.isfinite(lengths) & (lengths > 0)
    return result


def closeness(left: FloatRows, right: FloatRows) -> Closeness:
    """Compare rows `[N, H]` of the same texts, N > 0."""
    values = cosines(left, right)
    return Closeness(
        min_cosine=float(values.min()),
        p1_cosine=float(np.percentile(values, 1)),
        mean_cosine=float(values.mean()),
        max_abs_difference=float(np.abs(left - right).max()),
    )


@dataclass(frozen=True)
class Spread:
    """How some figures lie: the least, low percentiles, the middle, the mean, the greatest."""

    least: float
    p1: float
    p5: float
    median: float
    mean: float
    greatest: float


def spread(values: Floats) -> Spread:
    """Of at least one value. A value that is not a number makes every figure none."""
    p1, p5, median = (float(p) for p in np.percentile(values, [1, 5, 50]))
    return Spread(float(values.min()), p1, p5, median, float(values.mean()), float(values.max()))


def length_ratios(left: FloatRows, right: FloatRows) -> Floats:
    """Length of each row of `right` over that of the same row of `left`; widths may differ."""
    of_left = np.linalg.norm(left.astype(np.float64), axis=1)
    of_right = np.linalg.norm(right.astype(np.float64), axis=1)
    result: Floats = of_right / np.maximum(of_left, 1e-30)
    return result


def neighbourhood(count: int, most: int = 10) -> int:
    """How many neighbours are worth comparing among `count` texts; 0: none.

    At most half of the others: with all of them every two sets agree.
    """
    return min(most, (count - 1) // 2)


# Scores held at once while neighbours are looked for; memory grows with the texts, not its square.
BLOCK_SCORES = 1 << 23


def neighbours(vectors: FloatRows, k: int) -> npt.NDArray[np.int64]:
    """For each row of `[N, H]` the indices `[N, k]` of the k other rows with the highest cosine."""
    unit = vectors.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-30)
    nearest = np.empty((len(unit), k), dtype=np.int64)
    rows = max(1, BLOCK_SCORES // len(unit))
    for start in range(0, len(unit), rows):
        scores = unit[start : start + rows] @ unit.T
        index = np.arange(len(scores))
        scores[index, start + index] = -np.inf
        nearest[start : start + rows] = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return nearest


def neighbour_overlap(left: FloatRows, right: FloatRows, k: int = 10) -> Floats:
    """Share `[N]` of each text's k nearest neighbours that both sets agree on, N > k.

    The widths of the two may differ: only the ranking within each set counts.
    """
    pairs = zip(neighbours(left, k), neighbours(right, k), strict=True)
    return np.array([len(set(a) & set(b)) / k for a, b in pairs])
