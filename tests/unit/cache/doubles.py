"""A compute that is a function, and caches around it."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from predictor.cache import RowCache, VersionCache
from predictor.settings import CacheSettings
from predictor.types import FloatRows, Lane
from predictor.version_metrics import ModelMetrics

Ids = Sequence[int]
DIM = 4


def vectors(rows: Sequence[Ids]) -> FloatRows:
    """What the fake engine gives: the row's numbers decide, `[first id, sum, length, 1]`."""
    return np.array([[row[0], sum(row), len(row), 1] for row in rows], dtype=np.float32)


class FakeCompute:
    """Stands for `Batcher.embed`. Held back while `gate` is closed; `fault` may raise."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[list[int]], Lane, float | None]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Callable[[int], None] | None = None
        self.answer: Callable[[Sequence[Ids]], FloatRows] = vectors

    async def embed(self, rows: Sequence[Ids], lane: Lane, deadline: float | None) -> FloatRows:
        self.calls.append(([list(row) for row in rows], lane, deadline))
        call = len(self.calls)
        await self.gate.wait()
        if self.fault:
            self.fault(call)
        return self.answer(rows)

    @property
    def rows(self) -> list[list[int]]:
        """Every row that was computed, in order."""
        return [row for rows, _, _ in self.calls for row in rows]


def version_cache(
    compute: FakeCompute,
    memory: RowCache | None = None,
    *,
    digest: str = "d1" * 32,
    variant: str = "int8",
    dimensions: int = DIM,
    version: str = "1",
    **settings: object,
) -> VersionCache:
    return VersionCache(
        compute.embed,
        digest=digest,
        variant=variant,
        dimensions=dimensions,
        memory=memory or RowCache(CacheSettings(**settings)),  # type: ignore[arg-type]
        redis=None,
        metrics=ModelMetrics("cache-test", version),
    )


async def turns(count: int = 3) -> None:
    """Let everything run that can run."""
    for _ in range(count):
        await asyncio.sleep(0)
