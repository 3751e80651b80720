"""Made traffic for the simulator: how many ask, how long answers take, and what is wrong with some.

Latencies are lognormal, given as shares up to each bound of the servers' histogram: that is all
that a controller can see of them. Nothing here is drawn but the bursts, from a given generator.
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
    """How one version answers: shares of 5xx and of 429 in all answers, and its latencies.

    upto: share of answers up to each bound, [bounds + 1], ascending, the last is 1. computed: the
    part of it that did not come out of the cache; None: not known.
    """

    errors: float
    refused: float
    upto: Floats
    computed: Floats | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Traffic of a short while. rate: requests a second, of both versions together."""

    rate: float
    stable: Behaviour
    canary: Behaviour


class Source(Protocol):
    """One run's traffic, asked moment after moment. bounds: seconds, ascending, no infinity."""

    bounds: Sequence[float]

    def at(self, now: float, warm_s: float) -> Moment:
        """Args: now: seconds since the run began; warm_s: since the canary first had traffic."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the canary; nothing, as it stands.

    errors, refused: shares more than the stable version's. latency: factor of every time; tail:
    factor of the slowest `tail_share`. cosine: of its vectors with the stable version's.
    cold_s: so long its cache fills, evenly.
    """

    errors: float = 0.0
    refused: float = 0.0
    latency: float = 1.0
    tail: float = 1.0
    tail_share: float = 0.05
    cosine: float = 1.0
    cold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """What both versions get and the stable one gives.

    spread: standard deviation of the logarithm of a latency, whose median is `median_s`.
    hits: share of answers out of the cache.
    bursts: standard deviation of the logarithm of a factor common to both versions' times and
    error shares, by its root to the rate; correlated over `burst_s` seconds.
    """

    bounds: Sequence[float]
    rate: float = 50.0
    errors: float = 0.0
    refused: float = 0.0
    median_s: float = 0.01
    spread: float = 0.5
    hits: float = 0.0
    bursts: float = 0.0
    burst_s: float = 60.0
    fault: Fault = field(default_factory=Fault)


class Synthetic:
    """A load as it comes in one run."""

    def __init__(self, load: Load, rng: np.random.Generator) -> None:
        self.bounds = load.bounds
        self._load, self._rng = load, rng
        self._logs = np.log(np.asarray(load.bounds))
        self._then: float | None = None
        self._burst = float(rng.normal()) * load.bursts
        self._usual: Moment | None = None  # every moment is alike, if nothing bursts or warms up

    def at(self, now: float, warm_s: float) -> Moment:
        if self._load.bursts or self._load.fault.cold_s:
            return self._moment(exp(self._next_burst(now)), warm_s)
        if self._usual is None:
            self._usual = self._moment(1.0, warm_s)
        return self._usual

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
        if self._then is not None:
            kept = exp(-(now - self._then) / load.burst_s)
            new = load.bursts * sqrt(1 - kept * kept) * float(self._rng.normal())
            self._burst = kept * self._burst + new
        self._then = now
        return self._burst

    def _behaviour(
        self, errors: float, refused: float, factor: float, hits: float, fault: Fault | None = None
    ) -> Behaviour:
        """hits: share of the answers; the slowest ones of a fault are among the others."""
        bounds = np.asarray(self.bounds)
        computed = self._upto(factor)
        if fault is not None and hits < 1:
            share = min(1.0, fault.tail_share / (1 - hits))
            computed = slower_tail(bounds, computed, fault.tail, share)
        if not hits:
            return Behaviour(errors, refused, computed, computed)
        computed = (1 - hits) * computed
        return Behaviour(
            errors, refused, hits * self._upto(factor / HIT_SPEED) + computed, computed
        )

    def _upto(self, factor: float) -> Floats:
        load = self._load
        middle = log(load.median_s * factor)
        return np.append(np.interp((self._logs - middle) / load.spread, _Z, _PHI), 1.0)


def slower(bounds: Floats, upto: Floats, factor: float) -> Floats:
    """Shares up to each bound when every time is longer by a factor; [bounds + 1].

    Within a bucket the times are taken to lie evenly on a logarithmic scale.
    """
    if factor == 1.0:
        return upto
    logs = np.log(bounds)
    first = logs[0] - log(2)  # the first bucket has no lower bound
    shares = np.interp(
        logs - log(factor), np.append(first, logs), np.append(0.0, upto[:-1]), left=0.0
    )
    return np.append(shares, 1.0)


def slower_tail(bounds: Floats, upto: Floats, factor: float, share: float) -> Floats:
    """The same where only the slowest share of the answers takes longer."""
    if factor == 1.0:
        return upto
    found: Floats = np.maximum(np.minimum(upto, 1 - share), slower(bounds, upto, factor))
    found[-1] = 1.0
    return found
