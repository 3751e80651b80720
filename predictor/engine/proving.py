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


def alone(engine: Engine, rows: Sequence[Sequence[int]]) -> FloatRows:
    """Normalised vectors `[N, dim]` of the rows, run one by one (wide)."""
    return finish(np.concatenate([engine.run([row], wide=True) for row in rows]), None, True)


def alone_and_batched(engine: Engine, rows: Sequence[Sequence[int]]) -> tuple[FloatRows, FloatRows]:
    """Normalised vectors `[N, dim]` of the rows run one by one (wide), and in batches (narrow)."""
    by_itself = alone(engine, rows)
    batched = np.empty_like(by_itself)
    for group in group_by_length(list(map(len, rows)), BUDGET):
        batched[group] = engine.run([rows[index] for index in group])
    return by_itself, finish(batched, None, True)
