"""How fast an engine is by itself: rates over batch sizes and arrangements of threads.

A rate is taken over a fixed time in which every caller is busy: work that runs when the time is up
counts by the part of it that was done. Otherwise large batches would look slow, because the last
ones end while other callers are idle. Figures that are compared are measured in turns, in rounds,
and medians count, because a machine's speed changes over time.
"""

import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from threading import Lock
from typing import TypeVar

from predictor.engine.engine import Engine, Rows
from predictor.engine.reference_runs import in_batches

# Does a piece of work and returns how large it was.
Work = Callable[[], float]
# Takes so many seconds and returns a figure.
Measurement = Callable[[float], float]
Key = TypeVar("Key", bound=Hashable)

ROUNDS = 3
WARM_UP_S = 0.05
# A lone text is timed at least so often, however short the time.
FEWEST_RUNS = 5


@dataclass(frozen=True)
class Arrangement:
    """`callers` runs side by side, each on `threads` threads."""

    callers: int
    threads: int

    def __str__(self) -> str:
        runs = "1 run" if self.callers == 1 else f"{self.callers} runs"
        return f"{runs} of {self.threads} thread{'' if self.threads == 1 else 's'}"


def arrangements(threads: int) -> list[Arrangement]:
    """The ways to use that many threads: a run each, or one run on all."""
    side_by_side = Arrangement(threads, 1)
    return [side_by_side] if threads == 1 else [side_by_side, Arrangement(1, threads)]


def share_done(started: float, ended: float, stop: float) -> float:
    """Which part of a piece of work was done before `stop`."""
    if ended <= stop:
        return 1.0
    return max(0.0, (stop - started) / (ended - started))


def work_per_second(work: Work, callers: int, seconds: float) -> float:
    """Work done in a second by so many callers at once, over `seconds` > 0."""
    stop = time.perf_counter() + seconds

    def call(_: int) -> float:
        done = 0.0
        started = time.perf_counter()
        while started < stop:
            amount = work()
            ended = time.perf_counter()
            done += amount * share_done(started, ended, stop)
            started = ended
        return done

    if callers == 1:
        return call(0) / seconds
    with ThreadPoolExecutor(callers) as pool:
        return sum(pool.map(call, range(callers))) / seconds


def median_time(work: Work, seconds: float) -> float:
    """Median seconds of one piece of work, done again and again by one caller."""
    stop = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < FEWEST_RUNS or time.perf_counter() < stop:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def interleave(
    measures: Mapping[Key, Measurement],
    seconds: float,
    advance: Callable[[], object] = lambda: None,
) -> dict[Key, float]:
    """The median of each figure over rounds in which all of them take turns."""
    slot = seconds / (ROUNDS * len(measures))
    for measure in measures.values():
        measure(min(slot, WARM_UP_S))
    samples: dict[Key, list[float]] = {key: [] for key in measures}
    for _ in range(ROUNDS):
        for key, measure in measures.items():
            samples[key].append(measure(slot))
            advance()
    return {key: statistics.median(values) for key, values in samples.items()}


def batches_of(rows: Rows, budget: int) -> list[Rows]:
    """Rows of like length in batches of at most `budget` tokens, long and short ones mixed."""
    batches: list[Rows] = [*in_batches(rows, budget)]
    random.Random(0).shuffle(batches)
    return batches


def embedding_work(engine: Engine, batches: Sequence[Rows], *, wide: bool = False) -> Work:
    """The work of running the batches one after the other, endlessly, counted in tokens."""
    lock = Lock()
    endless = cycle(batches)

    def work() -> float:
        with lock:
            batch = next(endless)
        engine.run(batch, wide=wide)
        return float(sum(map(len, batch)))

    return work


def throughput(engine: Engine, arrangement: Arrangement, rows: Rows, budget: int) -> Measurement:
    """Tokens a second in batches of `budget` tokens."""
    work = embedding_work(engine, batches_of(rows, budget), wide=arrangement.threads > 1)
    return partial(work_per_second, work, arrangement.callers)


def latency(engine: Engine, row: Sequence[int], *, wide: bool) -> Measurement:
    """Median seconds of one text that is alone in the engine."""
    return partial(median_time, embedding_work(engine, [[row]], wide=wide))


def best_rate(engine: Engine, rows: Rows, budgets: Sequence[int], seconds: float) -> float:
    """Tokens a second of one-thread runs side by side, at the best of the budgets."""
    arrangement = Arrangement(engine.threads, 1)
    measures = {budget: throughput(engine, arrangement, rows, budget) for budget in budgets}
    return max(interleave(measures, seconds).values())
