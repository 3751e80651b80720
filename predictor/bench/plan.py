"""What a benchmark of one model measures, and the setting that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predictor.bench import benchmark
from predictor.bench.benchmark import Arrangement, Measurement, arrangements
from predictor.bench.peak import peak
from predictor.engine.engine import Engine, Rows

BUDGETS = (64, 128, 256, 512, 1024, 2048)
BUDGETS_CUDA = (*BUDGETS, 4096, 8192, 16384, 32768)
LATENCY_TOKENS = (16, 128)
# A smaller batch is a shorter wait and less memory: it may cost this share of the best rate.
ACCEPTED_LOSS = 0.02


@dataclass(frozen=True)
class Throughput:
    """Tokens a second in batches of `budget` tokens."""

    budget: int


@dataclass(frozen=True)
class Latency:
    """Median seconds of one text of so many tokens that is alone in the engine."""

    tokens: int


@dataclass(frozen=True)
class Peak:
    """Floating-point operations a second of a large float32 matrix product."""


Figure = Throughput | Latency | Peak
Figures = Mapping[tuple[Figure, Arrangement], float]


def plan(
    engines: Mapping[int, Engine], rows: Rows, *, on_cuda: bool
) -> dict[tuple[Figure, Arrangement], Measurement]:
    """Everything to measure; engines by their number of threads."""
    measures: dict[tuple[Figure, Arrangement], Measurement] = {}
    for threads, engine in engines.items():
        for arrangement in arrangements(threads):
            if not on_cuda:
                measures[Peak(), arrangement] = peak(arrangement)
            for budget in BUDGETS_CUDA if on_cuda else BUDGETS:
                measure = benchmark.throughput(engine, arrangement, rows, budget)
                measures[Throughput(budget), arrangement] = measure
        for runs_on in {1, threads}:
            for row in latency_rows(rows):
                measure = benchmark.latency(engine, row, wide=runs_on > 1)
                measures[Latency(len(row)), Arrangement(1, runs_on)] = measure
    return measures


def latency_rows(rows: Rows) -> list[Sequence[int]]:
    """Rows of `LATENCY_TOKENS` tokens cut out of the longest row, fewer if that one is short."""
    longest = max(rows, key=len)
    sizes = sorted({min(tokens, len(longest)) for tokens in LATENCY_TOKENS})
    return [[*longest[: size - 1], longest[-1]] for size in sizes]


def setting(figures: Figures) -> tuple[int, int]:
    """`--max-batch-tokens` and `--threads`: the fastest of one-thread runs side by side.

    As the server runs under load. A smaller batch or fewer threads that are as fast but for
    `ACCEPTED_LOSS` are taken instead.
    """
    rates = {
        (arrangement.callers, figure.budget): rate
        for (figure, arrangement), rate in figures.items()
        if isinstance(figure, Throughput) and arrangement.threads == 1
    }
    enough = (1 - ACCEPTED_LOSS) * max(rates.values())
    threads, budget = min(key for key, rate in rates.items() if rate >= enough)
    return budget, threads
