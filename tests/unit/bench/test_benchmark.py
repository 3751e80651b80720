"""How rates are counted, what is measured, and which setting follows: with engines that sleep."""

import threading
import time
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.bench import benchmark, plan
from predictor.bench.benchmark import Arrangement, arrangements, share_done
from predictor.bench.peak import peak
from predictor.bench.plan import Figure, Latency, Peak, Throughput
from predictor.engine.engine import NullEngine, Rows
from predictor.types import FloatRows

ROWS: list[list[int]] = [[7] * length for length in (3, 9, 20, 20, 41, 130, 256)]


class SleepyEngine(NullEngine):
    """Takes 0.1 ms a token and remembers how many ran at once."""

    def __init__(self, threads: int) -> None:
        super().__init__(4, threads)
        self._lock = threading.Lock()
        self._running = 0
        self.most = 0
        self.wide_runs = 0
        self.tokens: list[int] = []
        self.seconds: list[float] = []

    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            self.wide_runs += wide
        tokens, started = sum(map(len, rows)), time.perf_counter()
        time.sleep(1e-4 * tokens)
        with self._lock:
            self._running -= 1
            self.tokens.append(tokens)
            self.seconds.append(time.perf_counter() - started)
        return super().run(rows)


@given(st.floats(0, 10), st.floats(0.001, 10), st.floats(0, 30))
def test_a_share_is_between_nothing_and_all(started: float, took: float, stop: float) -> None:
    share = share_done(started, started + took, stop)
    assert 0 <= share <= 1
    if stop >= started + took:
        assert share == 1
    if stop <= started:
        assert share == 0


def test_work_that_is_cut_off_counts_by_its_part() -> None:
    # One piece takes 0.1 s or more and only half of the time is there for it.
    took_s: list[float] = []

    def work() -> float:
        started = time.perf_counter()
        time.sleep(0.1)
        took_s.append(time.perf_counter() - started)
        return 100.0

    rate = benchmark.work_per_second(work, 1, 0.05)
    assert len(took_s) == 1
    assert rate == pytest.approx(100.0 / took_s[0], rel=0.2)


def test_callers_work_side_by_side() -> None:
    engine = SleepyEngine(3)
    rate = benchmark.throughput(engine, Arrangement(3, 1), ROWS, 256)(0.2)
    assert engine.most == 3
    assert engine.wide_runs == 0
    assert rate <= 30_500  # three times 10 000 tokens a second
    # Everything that was run counts, but for the ends of the last piece of each caller.
    assert sum(engine.tokens) - 3 * max(engine.tokens) <= 0.2 * rate <= sum(engine.tokens)


def test_one_run_on_all_threads_is_wide_and_alone() -> None:
    engine = SleepyEngine(3)
    benchmark.throughput(engine, Arrangement(1, 3), ROWS, 64)(0.05)
    assert engine.most == 1
    assert engine.wide_runs > 0


def test_the_latency_is_a_median_of_several() -> None:
    engine = SleepyEngine(2)
    latency_s = benchmark.latency(engine, [7] * 50, wide=True)(0.0)
    assert latency_s == pytest.approx(median(engine.seconds), rel=0.5)
    assert engine.wide_runs == benchmark.FEWEST_RUNS


def test_measures_take_turns_and_medians_count() -> None:
    order: list[str] = []
    figures = {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([9.0, 7.0, 7.0, 8.0])}

    def measure(name: str, seconds: float) -> float:
        order.append(name)
        assert seconds == pytest.approx(0.02)
        return next(figures[name])

    steps: list[None] = []
    medians = benchmark.interleave(
        {"a": lambda s: measure("a", s), "b": lambda s: measure("b", s)},
        0.12,
        lambda: steps.append(None),
    )
    assert medians == {"a": 2.0, "b": 7.0}
    assert order == ["a", "b"] * 4
    assert len(steps) == 6


@given(st.integers(16, 600))
def test_batches_hold_every_row_once(budget: int) -> None:
    batches = benchmark.batches_of(ROWS, budget)
    lengths = sorted(len(row) for batch in batches for row in batch)
    assert lengths == sorted(map(len, ROWS))
    assert all(len(batch) == 1 or sum(map(len, batch)) <= budget for batch in batches)
    assert benchmark.batches_of(ROWS, budget) == batches


def test_the_arrangements_of_threads() -> None:
    assert arrangements(1) == [Arrangement(1, 1)]
    assert arrangements(4) == [Arrangement(4, 1), Arrangement(1, 4)]
    assert [str(arrangement) for arrangement in arrangements(4)] == [
        "4 runs of 1 thread",
        "1 run of 4 threads",
    ]


def test_the_best_budget_counts() -> None:
    rate = benchmark.best_rate(SleepyEngine(2), ROWS, (64, 256), 0.6)
    assert 10_000 < rate <= 20_500


def test_the_plan_measures_every_arrangement() -> None:
    planned = plan.plan({1: SleepyEngine(1), 2: SleepyEngine(2)}, ROWS, on_cuda=False)
    measured = [Arrangement(1, 1), Arrangement(2, 1), Arrangement(1, 2)]
    expected: set[tuple[Figure, Arrangement]] = {(Peak(), a) for a in measured}
    expected |= {(Throughput(budget), a) for a in measured for budget in plan.BUDGETS}
    expected |= {(Latency(tokens), Arrangement(1, n)) for tokens in (16, 128) for n in (1, 2)}
    assert set(planned) == expected


def test_the_plan_of_a_gpu_has_larger_batches_and_no_peak_of_the_cpu() -> None:
    planned = plan.plan({1: SleepyEngine(1)}, ROWS, on_cuda=True)
    assert {a for _, a in planned} == {Arrangement(1, 1)}
    assert (Throughput(16384), Arrangement(1, 1)) in planned
    assert not any(isinstance(figure, Peak) for figure, _ in planned)


def test_rows_to_time_alone_keep_their_last_token() -> None:
    rows = [[1, *range(10, 300), 2], [1, 2]]
    short, long = plan.latency_rows(rows)
    assert (len(short), len(long)) == (16, 128)
    assert (short[0], short[-1], long[0], long[-1]) == (1, 2, 1, 2)
    assert [len(row) for row in plan.latency_rows([[1] * 40])] == [16, 40]
    assert [len(row) for row in plan.latency_rows([[1] * 9])] == [9]


def test_the_setting_is_the_smallest_that_is_as_fast() -> None:
    side = Arrangement(2, 1)
    wide = Arrangement(1, 2)
    rates: dict[tuple[Figure, Arrangement], float] = {
        (Throughput(64), side): 80.0,
        (Throughput(128), side): 98.5,
        (Throughput(256), side): 100.0,
        (Throughput(256), wide): 500.0,  # not how the server runs under load
        (Throughput(512), Arrangement(1, 1)): 60.0,
        (Latency(16), wide): 0.001,
    }
    assert plan.setting(rates) == (128, 2)
    rates[Throughput(512), Arrangement(1, 1)] = 99.0  # one thread does it as well
    assert plan.setting(rates) == (512, 1)


def test_the_peak_is_a_figure_of_this_machine() -> None:
    assert 1e8 < peak(Arrangement(1, 1))(0.1) < 1e13
