"""How rates are counted, what is measured, and which setting follows: with engines that sleep."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.engine import benchmark, survey
from predictor.engine.benchmark import Arrangement, arrangements, share_done
from predictor.engine.engine import NullEngine, Rows
from predictor.engine.peak import peak
from predictor.engine.survey import Alone, Figure, Peak, Rate
from predictor.types import FloatRows

ROWS: list[list[int]] = [[7] * length for length in (3, 9, 20, 20, 41, 130, 256)]


class SleepyEngine(NullEngine):
    """Takes 0.1 ms a token and remembers how many ran at once."""

    def __init__(self, threads: int) -> None:
        super().__init__(4, threads)
        self._lock, self._running, self.most = threading.Lock(), 0, 0
        self.wide_runs = 0

    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            self.wide_runs += wide
        time.sleep(1e-4 * sum(map(len, rows)))
        with self._lock:
            self._running -= 1
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
    # One piece takes 0.1 s and only half of the time is there for it.
    def work() -> float:
        time.sleep(0.1)
        return 100.0

    assert benchmark.work_per_second(work, 1, 0.05) == pytest.approx(1000, rel=0.2)


def test_callers_work_side_by_side() -> None:
    engine = SleepyEngine(3)
    rate = benchmark.throughput(engine, Arrangement(3, 1), ROWS, 256)(0.2)
    assert engine.most == 3
    assert engine.wide_runs == 0
    assert 15_000 < rate <= 30_500  # three times 10 000 tokens a second, less the overhead


def test_one_run_on_all_threads_is_wide_and_alone() -> None:
    engine = SleepyEngine(3)
    benchmark.throughput(engine, Arrangement(1, 3), ROWS, 64)(0.05)
    assert engine.most == 1
    assert engine.wide_runs > 0


def test_the_latency_is_a_median_of_several() -> None:
    engine = SleepyEngine(2)
    assert benchmark.latency(engine, [7] * 50, wide=True)(0.0) == pytest.approx(5e-3, rel=0.5)
    assert engine.wide_runs == benchmark.FEWEST_RUNS


def test_measures_take_turns_and_medians_count() -> None:
    order: list[str] = []
    figures = {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([9.0, 7.0, 7.0, 8.0])}

    def measure(name: str, seconds: float) -> float:
        order.append(name)
        assert seconds == pytest.approx(0.02)
        return next(figures[name])

    steps: list[None] = []
    found = benchmark.interleave(
        {"a": lambda s: measure("a", s), "b": lambda s: measure("b", s)},
        0.12,
        lambda: steps.append(None),
    )
    assert found == {"a": 2.0, "b": 7.0}
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
    assert [str(one) for one in arrangements(4)] == ["4 runs of 1 thread", "1 run of 4 threads"]


def test_the_best_budget_counts() -> None:
    rate = benchmark.best_rate(SleepyEngine(2), ROWS, (64, 256), 0.6)
    assert 10_000 < rate <= 20_500


def test_the_plan_measures_every_arrangement() -> None:
    plan = survey.plan({1: SleepyEngine(1), 2: SleepyEngine(2)}, ROWS, on_cuda=False)
    measured = [Arrangement(1, 1), Arrangement(2, 1), Arrangement(1, 2)]
    wanted: set[tuple[Figure, Arrangement]] = {(Peak(), a) for a in measured}
    wanted |= {(Rate(budget), a) for a in measured for budget in survey.BUDGETS}
    wanted |= {(Alone(tokens), Arrangement(1, n)) for tokens in (16, 128) for n in (1, 2)}
    assert set(plan) == wanted


def test_the_plan_of_a_gpu_has_larger_batches_and_no_peak_of_the_cpu() -> None:
    plan = survey.plan({1: SleepyEngine(1)}, ROWS, on_cuda=True)
    assert {a for _, a in plan} == {Arrangement(1, 1)}
    assert (Rate(16384), Arrangement(1, 1)) in plan
    assert not any(isinstance(figure, Peak) for figure, _ in plan)


def test_rows_to_time_alone_keep_their_last_token() -> None:
    rows = [[1, *range(10, 300), 2], [1, 2]]
    short, long = survey.alone_rows(rows)
    assert (len(short), len(long)) == (16, 128)
    assert (short[0], short[-1], long[0], long[-1]) == (1, 2, 1, 2)
    assert [len(row) for row in survey.alone_rows([[1] * 40])] == [16, 40]
    assert [len(row) for row in survey.alone_rows([[1] * 9])] == [9]


def test_the_setting_is_the_smallest_that_is_as_fast() -> None:
    side, wide = Arrangement(2, 1), Arrangement(1, 2)
    rates: dict[tuple[Figure, Arrangement], float] = {
        (Rate(64), side): 80.0,
        (Rate(128), side): 98.5,
        (Rate(256), side): 100.0,
        (Rate(256), wide): 500.0,  # not how the server runs under load
        (Rate(512), Arrangement(1, 1)): 60.0,
        (Alone(16), wide): 0.001,
    }
    assert survey.setting(rates) == (128, 2)
    rates[Rate(512), Arrangement(1, 1)] = 99.0  # one thread does it as well
    assert survey.setting(rates) == (512, 1)


def test_the_peak_is_a_figure_of_this_machine() -> None:
    assert 1e8 < peak(Arrangement(1, 1))(0.1) < 1e13
