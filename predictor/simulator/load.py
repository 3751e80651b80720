"""Synthetic traffic for the simulator: rate, latencies, and faults of the canary.

Latencies are lognormal, given as shares up to each bound of the servers' histogram: a controller
sees no more of them. Only the bursts are random, drawn from a given generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import erf, exp, log, sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# How much faster an answer out of the cache is.
HIT_SPEED = 10.0
# The normal distribution's share up to z, for interpolation.
_Z = np.linspace(-8.0, 8.0, 1601)
_PHI = np.array([0.5 * (1 + erf(z / sqrt(2))) for z in _Z])


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one version answers."""

    # Share of 5xx in all answers.
    errors: float
    # Share of 429 in all answers.
    refused: float
    # Share of answers up to each bound, [bounds + 1], ascending, the last is 1.
    cdf: Floats
    # The part of `cdf` that was not answered from the cache; None: not known.
    computed: Floats | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Traffic of a short time."""

    # Requests a second, of both versions together.
    rate: float
    stable: Behaviour
    canary: Behaviour


class TrafficSource(Protocol):
    """The traffic of one run."""

    # Of the histogram, seconds, ascending, without infinity.
    bounds: Sequence[float]

    def at(self, now: float, warm_s: float) -> Moment:
        """The traffic at a moment.

        Args:
            now: seconds since the run began.
            warm_s: seconds since the canary first had traffic.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """How the canary differs from the stable version; by default not at all."""

    # Share of 5xx in addition to the stable version's.
    errors: float = 0.0
    # Share of 429 in addition to the stable version's.
    refused: float = 0.0
    # Factor of every latency.
    latency: float = 1.0
    # Factor of the latencies of the slowest `tail_share` of the answers.
    tail: float = 1.0
    tail_share: float = 0.05
    # Between its vectors and the stable version's.
    cosine: float = 1.0
    # Time in which its cache fills, evenly.
    cold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SyntheticLoad:
    """The requests to both versions, and the behaviour of the stable one."""

    # Of the histogram, seconds, ascending, without infinity.
    bounds: Sequence[float]
    # Requests a second.
    rate: float = 50.0
    # Share of 5xx in all answers.
    errors: float = 0.0
    # Share of 429 in all answers.
    refused: float = 0.0
    # Median of the latencies.
    median_s: float = 0.01
    # Standard deviation of the logarithm of a latency.
    spread: float = 0.5
    # Share of answers from the cache.
    hits: float = 0.0
    # Standard deviation of the logarithm of a factor on the latencies and error shares of both
    # versions; the rate varies with its root.
    bursts: float = 0.0
    # Time over which the bursts are correlated.
    burst_s: float = 60.0
    fault: Fault = field(default_factory=Fault)


class Synthetic:
    """A synthetic load in one run."""

    def __init__(self, load: SyntheticLoad, rng: np.random.Generator) -> None:
        self.bounds = load.bounds
        self._load = load
        self._rng = rng
        self._logs = np.log(np.asarray(load.bounds))
        self._burst_at: float | None = None
        self._burst = float(rng.normal()) * load.bursts
        # Every moment is the same without bursts and a cache that fills.
        self._constant: Moment | None = None

    def at(self, now: float, warm_s: float) -> Moment:
        if self._load.bursts or self._load.fault.cold_s:
            return self._moment(exp(self._next_burst(now)), warm_s)
        if self._constant is None:
            self._constant = self._moment(1.0, warm_s)
        return self._constant

    def _moment(self, factor: float, warm_s: float) -> Moment:
        load, fault = self._load, self._load.fault
        cold = max(0.0, 1 - warm_s / fault.cold_s) if fault.cold_s else 0.0
        errors, refused = min(1.0, load.errors * factor), min(1.0, load.refused)
        stable = self._behaviour(errors, refused, factor, load.hits)
        if fault == Fault():
            return Moment(load.rate * sqrt(factor), stable, stable)
        canary = self._behaviour(
            min(1.0, errors + fault.errors),
            min(1.0, refused + fault.refused),
            factor * fault.latency,
            load.hits * (1 - cold),
            fault,
        )
        return Moment(load.rate * sqrt(factor), stable, canary)

    def _next_burst(self, now: float) -> float:
        load = self._load
        if self._burst_at is not None:
            kept = exp(-(now - self._burst_at) / load.burst_s)
            new = load.bursts * sqrt(1 - kept * kept) * float(self._rng.normal())
            self._burst = kept * self._burst + new
        self._burst_at = now
        return self._burst

    def _behaviour(
        self, errors: float, refused: float, factor: float, hits: float, fault: Fault | None = None
    ) -> Behaviour:
        """Args: hits: share of the answers; a fault's slowest answers are among the others."""
        bounds = np.asarray(self.bounds)
        computed = self._cdf(factor)
        if fault is not None and hits < 1:
            share = min(1.0, fault.tail_share / (1 - hits))
            computed = slower_tail(bounds, computed, fault.tail, share)
        if not hits:
            return Behaviour(errors, refused, computed, computed)
        computed = (1 - hits) * computed
        return Behaviour(errors, refused, hits * self._cdf(factor / HIT_SPEED) + computed, computed)

    def _cdf(self, factor: float) -> Floats:
        load = self._load
        middle = log(load.median_s * factor)
        return np.append(np.interp((self._logs - middle) / load.spread, _Z, _PHI), 1.0)


def slower(bounds: Floats, cdf: Floats, factor: float) -> Floats:
    """Shares up to each bound when every latency is multiplied by a factor; [bounds + 1].

    Within a bucket the latencies are assumed to be even on a logarithmic scale.
    """
    if factor == 1.0:
        return cdf
    logs = np.log(bounds)
    first = logs[0] - log(2)  # the first bucket has no lower bound
    shares = np.interp(
        logs - log(factor), np.append(first, logs), np.append(0.0, cdf[:-1]), left=0.0
    )
    return np.append(shares, 1.0)


def slower_tail(bounds: Floats, cdf: Floats, factor: float, share: float) -> Floats:
    """The same where only the slowest share of the answers takes longer."""
    if factor == 1.0:
        return cdf
    slowed: Floats = np.maximum(np.minimum(cdf, 1 - share), slower(bounds, cdf, factor))
    slowed[-1] = 1.0
    return slowed
