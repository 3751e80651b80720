"""Traffic that is never twice the same and yet has not drifted: what a threshold has to bear."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictor.drift.scripts import shares
from predictor.drift.sketch import ModelIdentity, Sketch
from predictor.drift.window import Window
from predictor.similarity import Floats
from predictor.types import FloatRows, Tokens

DAY = 96  # windows of 15 minutes
# Rows that come together from one tenant, as an ingest request brings them.
TOGETHER = 4


@dataclass(frozen=True)
class Pool:
    """Texts of which traffic is drawn, as the monitor sees them; `tenants` `[N]`: whose each is."""

    lengths: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.int64]
    scripts: npt.NDArray[np.float32]
    rows: FloatRows
    tenants: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def joined(self, other: "Pool") -> "Pool":
        """Both; the other's tenants are new ones."""
        tenants = np.concatenate([self.tenants, other.tenants + self.tenants.max() + 1])
        return Pool(
            np.concatenate([self.lengths, other.lengths]),
            np.concatenate([self.truncated, other.truncated]),
            np.concatenate([self.unknown, other.unknown]),
            np.concatenate([self.scripts, other.scripts]),
            np.concatenate([self.rows, other.rows]),
            tenants,
        )


def pool_of(
    texts: Sequence[str],
    tokens: Tokens,
    rows: FloatRows,
    unknown_id: int,
    tenants: npt.NDArray[np.int64],
) -> Pool:
    truncated = np.zeros(len(texts), bool)
    truncated[tokens.truncated] = True
    return Pool(
        lengths=np.array([len(ids) for ids in tokens.ids]),
        truncated=truncated,
        unknown=np.array([ids.count(unknown_id) for ids in tokens.ids]),
        scripts=shares(texts),
        rows=rows,
        tenants=tenants,
    )


def invented(generator: np.random.Generator, dimensions: int = 48, tenants: int = 12) -> Pool:
    """Texts that nobody wrote: each tenant has a topic, a length and a share of digits."""
    count = 100 * tenants
    whose = np.repeat(np.arange(tenants), 100)
    topics = generator.standard_normal((tenants, dimensions)) + 0.5
    rows = topics[whose] + 1.5 * generator.standard_normal((count, dimensions))
    rows *= generator.lognormal(0, 0.1, (count, 1))
    typical = generator.uniform(2, 4.5, tenants)
    lengths = np.exp(generator.normal(typical[whose], 0.5)).astype(np.int64).clip(3, 256)
    texts = ["a1 " * (5 + index % 7) + "word " * 9 for index in range(count)]
    return Pool(
        lengths=lengths,
        truncated=lengths == 256,
        unknown=generator.binomial(lengths, 0.002),
        scripts=shares(texts),
        rows=rows.astype(np.float32),
        tenants=whose,
    )


@dataclass
class Mix:
    """Each tenant's part of the traffic, window by window.

    sway: standard deviation of the logarithm of a tenant's part, which wanders within some hours;
    day: amplitude of a daily cycle, half of the tenants against the other half; weekend: what the
    days 6 and 7 add to that.
    """

    name: str
    sway: float = 0.0
    day: float = 0.0
    weekend: float = 0.0

    def weights(self, base: Floats, windows: int, generator: np.random.Generator) -> Floats:
        """Parts `[windows, tenants]` of tenants that have `base` `[tenants]` on average."""
        keeps = np.exp(-1 / 8)
        wander = np.zeros((windows, len(base)))
        wander[0] = generator.standard_normal(len(base))
        for place in range(1, windows):
            noise = generator.standard_normal(len(base))
            wander[place] = keeps * wander[place - 1] + np.sqrt(1 - keeps**2) * noise
        side = np.where(np.arange(len(base)) % 2, 1.0, -1.0)
        time = np.arange(windows)
        cycle = self.day * np.sin(2 * np.pi * time / DAY)
        cycle += self.weekend * (time // DAY % 7 >= 5)
        parts = base * np.exp(self.sway * wander + cycle[:, None] * side)
        result: Floats = parts / parts.sum(axis=1, keepdims=True)
        return result


def base_of(pool: Pool) -> Floats:
    result: Floats = np.bincount(pool.tenants) / len(pool)
    return result


def draw(
    pool: Pool, parts: Floats, count: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Indices `[count]` of the rows of a window with tenants' `parts`, some in a row alike."""
    chance = (parts / np.bincount(pool.tenants, minlength=len(parts)).clip(1))[pool.tenants]
    first = generator.choice(len(pool), -(-count // TOGETHER), p=chance / chance.sum())
    order = np.argsort(pool.tenants, kind="stable")
    starts = np.searchsorted(pool.tenants[order], np.arange(len(parts)))
    sizes = np.bincount(pool.tenants, minlength=len(parts))
    whose = pool.tenants[first]
    offsets = generator.integers(0, 1 << 30, (len(first), TOGETHER)) % sizes[whose][:, None]
    result: npt.NDArray[np.int64] = order[starts[whose][:, None] + offsets].ravel()[:count]
    return result


def sketched(pool: Pool, indices: npt.NDArray[np.int64], generator: np.random.Generator) -> Sketch:
    window = Window(ModelIdentity("simulated", "fp32", pool.rows.shape[1]), generator)
    window.observe(
        pool.lengths[indices].tolist(),
        pool.truncated[indices].tolist(),
        pool.unknown[indices].tolist(),
        pool.scripts[indices],
        pool.rows[indices],
    )
    return window.sketch()
