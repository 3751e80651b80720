"""The same rows alone and among others: what a graph has to show before it may serve."""

from collections.abc import Sequence

import numpy as np

from predictor.engine.engine import Engine
from predictor.engine.pooling import finish
from predictor.types import FloatRows

# Tokens a batch while proving; a larger one would leave a larger arena behind.
BUDGET = 256


def group_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in batches of like length, each of at most `budget` tokens (or one row)."""
    groups: list[list[int]] = []
    total = budget + 1
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if total + lengths[index] > budget:
            groups.append([])
            total = 0
        groups[-1].append(index)
        total += lengths[index]
    return groups


def in_batches(rows: Sequence[Sequence[int]], budget: int) -> list[list[Sequence[int]]]:
    """Rows in batches of like length, each of at most `budget` tokens (or one row)."""
    groups = group_by_length([len(row) for row in rows], budget)
    return [[rows[index] for index in group] for group in groups]


def run_unbatched(engine: Engine, rows: Sequence[Sequence[int]]) -> FloatRows:
    """Normalised vectors `[N, dim]` of the rows, run one by one (wide)."""
    return finish(np.concatenate([engine.run([row], wide=True) for row in rows]), None, True)


# Tokens of the row that stands for the model's length, at most. Attention without packing needs
# memory by the square of them, and no start is to fail or to last for a length that few texts have.
LONGEST_CHECKED = 2048


def full_and_short(
    rows: Sequence[Sequence[int]], max_length: int
) -> tuple[tuple[Sequence[int], Sequence[int]], int]:
    """A row of full length and a short one, to run in one batch, in which the short one is padded.

    The first is the longest row, its middle repeated between its special tokens.

    Args:
        rows: token ids of at least one text.
        max_length: the most tokens that the model takes.

    Returns:
        The two rows, and the index of the short one in `rows`.
    """
    longest = max(rows, key=len)
    short = min(range(len(rows)), key=lambda index: len(rows[index]))
    middle = list(longest[1:-1])
    room = min(max_length, LONGEST_CHECKED) - 2
    if middle and len(middle) < room:
        repeated = (middle * (room // len(middle) + 1))[:room]
        longest = [longest[0], *repeated, longest[-1]]
    return (longest, rows[short]), short


def run_unbatched_and_batched(
    engine: Engine, rows: Sequence[Sequence[int]]
) -> tuple[FloatRows, FloatRows]:
    """Normalised vectors `[N, dim]` of the rows run one by one (wide), and in batches (narrow)."""
    unbatched = run_unbatched(engine, rows)
    batched = np.empty_like(unbatched)
    for group in group_by_length(list(map(len, rows)), BUDGET):
        batched[group] = engine.run([rows[index] for index in group])
    return unbatched, finish(batched, None, True)
