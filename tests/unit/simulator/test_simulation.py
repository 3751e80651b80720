"""The simulator: its parts against what is known of them, and the default strategy's two claims."""

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from msgspec.structs import replace

from predictor.metrics import SECONDS
from predictor.rollout.spec import Spec, Step, Target
from predictor.rollout.state import State
from predictor.rollout.windows import BEFORE_S, LONGEST_S, SHORTEST_S, windows
from predictor.simulator.cluster import Site
from predictor.simulator.counters import Counters
from predictor.simulator.load import Behaviour, Fault, Synthetic, SyntheticLoad, slower, slower_tail
from predictor.simulator.outcomes import RunOutcomes, outcome_of, outcomes_of
from predictor.simulator.simulation import SimulatedRun, Trace

DEFAULT = Spec(inference_service="emb", target=Target(storage_uri="pvc://m/2", name="v2"))
SITE = Site()


def run(
    fault: Fault | None = None, *, seed: int = 1, spec: Spec = DEFAULT, site: Site = SITE,
    **load: float,
) -> Trace:  # fmt: skip
    fault = fault or Fault()
    rng = np.random.default_rng(seed)
    made = SyntheticLoad(SECONDS, fault=fault, **load)
    return SimulatedRun(spec, Synthetic(made, rng), fault, site, rng).trace()


def runs(count: int, fault: Fault | None = None, **load: float) -> RunOutcomes:
    return outcomes_of([outcome_of(run(fault, seed=7000 + n, **load)) for n in range(count)])  # type: ignore[arg-type]


# The claims; thousands of runs, and other traffic: predictor/rollout/README.md.


@pytest.mark.study
def test_an_equal_canary_is_not_rolled_back() -> None:
    summary = runs(200)
    assert summary.phases == {"Succeeded": 200}, "at most one of a hundred false rollbacks"
    assert summary.highest == 100


@pytest.mark.study
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("fault", "name", "count"),
    [
        (Fault(errors=0.02), "errors", 300),
        (Fault(latency=1.5), "slow", 300),
        (Fault(tail=1.5), "slow", 300),
        (Fault(cosine=0.98), "vectors", 50),
    ],
)
def test_a_bad_canary_is_rolled_back_before_a_fifth_of_the_traffic(
    fault: Fault, name: str, count: int
) -> None:
    summary = runs(count, fault)
    assert summary.early >= 0.99
    assert summary.reasons[name] >= 0.99 * count
    assert summary.detected_median_s is not None
    assert summary.detected_median_s <= 480
    assert summary.share_median < 0.05


@pytest.mark.study
def test_bursts_of_both_versions_fail_no_canary() -> None:
    summary = runs(60, bursts=0.3, errors=0.005)
    assert summary.phases == {"Succeeded": 60}


@pytest.mark.study
def test_half_as_slow_again_is_found_where_latencies_lie_far_apart() -> None:
    assert runs(100, Fault(latency=1.5), spread=1.0).early >= 0.99


# One run


def test_a_run_goes_through_the_steps() -> None:
    trace = run(errors=0.01)
    weights = [after.routed for before, after in pairwise(trace.points)
               if before.routed != after.routed]  # fmt: skip
    assert weights == [5, 10, 25, 50, 100, 0]
    assert trace.state.phase == "Succeeded"
    holds = sum((5, 10, 10, 10, 5)) * 60
    assert holds < trace.points[-1].time < holds + 15 * 60
    assert trace.answers == pytest.approx(50 * trace.points[-1].time, rel=0.1)


def test_the_same_seed_is_the_same_run() -> None:
    assert run(bursts=0.3, errors=0.02, seed=5) == run(bursts=0.3, errors=0.02, seed=5)
    assert run(seed=5) != run(seed=6)


def test_analyses_come_at_the_interval_with_the_traffic_since_the_step_began() -> None:
    trace = run(spec=replace(DEFAULT, steps=(Step(weight=10, hold="10m"),)))
    looks = [point for point in trace.points if point.verdict]
    assert {round(after.time - before.time) for before, after in pairwise(looks)} <= {30, 40}
    answers = [point.canary.answers for point in looks if point.canary and point.routed == 10]
    assert answers[-1] == pytest.approx(0.1 * 50 * 600, rel=0.15)


def test_wrong_vectors_are_found_before_any_traffic() -> None:
    trace = run(Fault(cosine=0.98))
    assert (trace.state.phase, trace.of_canary) == ("Failed", 0)
    assert trace.state.message == "vectors: cosine 0.980000, at least 0.999"
    another = run(Fault(cosine=0.98), spec=replace(DEFAULT, vectors="Changed"))
    assert another.state.phase == "Succeeded"


def test_the_pause_of_a_step_is_resumed() -> None:
    steps = (Step(weight=20, hold="1m", pause=True), Step(weight=100, hold="0s"))
    trace = run(spec=replace(DEFAULT, steps=steps))
    assert trace.state.phase == "Succeeded"
    assert "Paused" in {point.phase for point in trace.points}


def test_too_little_traffic_ends_in_a_pause() -> None:
    trace = run(rate=0.1)
    assert trace.state.phase == "Paused"
    assert trace.state.message.startswith("Inconclusive for 1h: traffic: ")
    assert max(point.routed for point in trace.points) == 5


def test_two_versions_side_by_side_end_in_comparing() -> None:
    spec = replace(DEFAULT, strategy="Compare", steps=(Step(weight=50, hold="1m"),))
    assert run(spec=spec).state.phase == "Comparing"


def test_pods_that_do_not_get_ready_are_seen() -> None:
    trace = run(site=Site(ready_s=3600.0))
    assert trace.state.phase == "Failed"
    assert trace.state.message == "0 of 1 pods were ready within 10m"


def test_a_run_that_does_not_end_is_given_up() -> None:
    trace = run(site=Site(longest_s=600.0))
    assert trace.state.phase == "Progressing"
    assert trace.points[-1].time < 600


# Traffic


def cdf(load: SyntheticLoad, rng: int = 1) -> Behaviour:
    return Synthetic(load, np.random.default_rng(rng)).at(0.0, 0.0).stable


def test_latencies_are_lognormal() -> None:
    load = SyntheticLoad(SECONDS, median_s=0.01, spread=0.5)
    shares = cdf(load).cdf
    assert shares[SECONDS.index(0.01)] == pytest.approx(0.5, abs=1e-6)
    assert shares[SECONDS.index(0.03)] == pytest.approx(0.985993, abs=1e-4)
    drawn = np.random.default_rng(2).lognormal(np.log(0.01), 0.5, 400_000)
    empirical = [(drawn <= bound).mean() for bound in SECONDS]
    np.testing.assert_allclose(shares[:-1], empirical, atol=0.003)


def test_half_as_slow_again_is_another_median() -> None:
    load = SyntheticLoad(SECONDS, median_s=0.01, fault=Fault(latency=1.5))
    moment = Synthetic(load, np.random.default_rng(1)).at(0.0, 0.0)
    assert moment.canary.cdf[SECONDS.index(0.015)] == pytest.approx(0.5, abs=1e-6)
    assert moment.stable.cdf[SECONDS.index(0.01)] == pytest.approx(0.5, abs=1e-6)


def test_a_slower_histogram() -> None:
    """Made of the shares at the bounds alone, as of a recording."""
    expected = cdf(SyntheticLoad(SECONDS, median_s=0.02)).cdf
    slowed = slower(np.array(SECONDS), cdf(SyntheticLoad(SECONDS, median_s=0.01)).cdf, 2.0)
    np.testing.assert_allclose(slowed, expected, atol=0.03)
    assert (np.diff(slowed) >= 0).all()


def test_a_slower_tail_leaves_the_others_alone() -> None:
    shares = cdf(SyntheticLoad(SECONDS)).cdf
    slowed = slower_tail(np.array(SECONDS), shares, 2.0, 0.05)
    faster = shares <= 0.95
    np.testing.assert_array_equal(slowed[faster], shares[faster])
    assert slowed[SECONDS.index(0.03)] < shares[SECONDS.index(0.03)]
    assert (np.diff(slowed) >= 0).all()


def test_a_cold_cache_fills_evenly() -> None:
    load = SyntheticLoad(SECONDS, hits=0.8, fault=Fault(cold_s=300.0))
    source = Synthetic(load, np.random.default_rng(1))
    fast = SECONDS.index(0.003)
    shares = [source.at(warm_s, warm_s).canary.cdf[fast] for warm_s in (0.0, 150.0, 300.0, 900.0)]
    stable = source.at(1000.0, 1000.0).stable.cdf[fast]
    assert shares == pytest.approx([0.008, stable / 2, stable, stable], abs=0.02)


def test_bursts_strike_both_versions_alike() -> None:
    load = SyntheticLoad(SECONDS, errors=0.01, bursts=0.5, fault=Fault(refused=0.1))
    source = Synthetic(load, np.random.default_rng(3))
    moments = [source.at(now, now) for now in np.arange(0.0, 40_000.0, 5.0)]
    logs = np.log([moment.stable.errors / 0.01 for moment in moments])
    assert all(moment.stable.errors == moment.canary.errors for moment in moments)
    assert logs.std() == pytest.approx(0.5, rel=0.15)
    assert np.corrcoef(logs[:-12], logs[12:])[0, 1] == pytest.approx(np.exp(-1), abs=0.15)


# Prometheus


def behaviour(errors: float = 0.0) -> Behaviour:
    return Behaviour(errors, 0.0, np.array([0.5, 1.0]))


def test_counters_are_as_old_as_the_last_scrape_and_lose_the_first() -> None:
    counters, rng = Counters((0.1,), 15.0, 15.0), np.random.default_rng(1)
    for now in range(1, 65):
        counters.count(rng, 10, behaviour())
        counters.scrape(float(now))
    # Scrapes at 15, 30, 45, 60: 450 seen in 45 s, stretched over 10 s before and 4 s after them.
    increase = counters.increase(5.0, 64.0)
    assert increase.answers == pytest.approx(450 * 59 / 45)
    assert increase.is_whole
    assert increase.buckets[inf] == pytest.approx(increase.answers)
    assert increase.buckets[0.1] == pytest.approx(increase.answers / 2, rel=0.15)
    # Nothing is stretched by more than half a scrape where the window begins long before them.
    assert counters.increase(-100.0, 64.0).answers == pytest.approx(450 * (45 + 7.5 + 4) / 45)
    assert counters.increase(61.0, 64.0).answers == 0
    assert counters.answers == 640


def test_computed_answers_are_counted_apart() -> None:
    counters, rng = Counters((0.1,), 10.0, 0.0), np.random.default_rng(1)
    some = Behaviour(0.0, 0.0, np.array([0.9, 1.0]), np.array([0.1, 0.2]))
    for now in range(0, 70, 10):
        counters.count(rng, 1000, some)
        counters.scrape(float(now))
    increase = counters.increase(0.0, 60.0)
    assert increase.is_whole
    assert increase.buckets[inf] == 6000
    assert increase.computed[inf] == pytest.approx(1200, rel=0.1)
    assert increase.computed[0.1] == pytest.approx(600, rel=0.1)
    unknown = Counters((0.1,), 10.0, 0.0)
    unknown.count(rng, 1000, behaviour())
    assert unknown.increase(0.0, 60.0).computed == {}


def test_a_version_of_hits_and_computed_answers() -> None:
    source = Synthetic(SyntheticLoad(SECONDS, hits=0.75), np.random.default_rng(1))
    stable = source.at(0.0, 0.0).stable
    assert stable.computed is not None
    assert (stable.cdf[-1], stable.computed[-1]) == (1.0, 0.25)
    assert (np.diff(stable.cdf - stable.computed) >= 0).all()
    whole = Synthetic(SyntheticLoad(SECONDS), np.random.default_rng(1)).at(0.0, 0.0).stable
    assert whole.computed is not None
    assert (whole.computed == whole.cdf).all()


def test_a_series_that_is_new_loses_what_it_had_counted() -> None:
    counters, rng = Counters((0.1,), 10.0, 10.0), np.random.default_rng(1)
    for now in range(10, 70, 10):
        counters.count(rng, 100, behaviour(1.0 if now >= 40 else 0.0))
        counters.scrape(float(now))
    increase = counters.increase(10.0, 60.0)
    assert increase.errors == 200, "300, but for the first scrape that had any"
    assert increase.answers == 200 + 200


# Windows


def at(weight: int, weight_applied_at: float | None = 1000.0) -> State:
    return State(phase="Progressing", weight=weight, weight_applied_at=weight_applied_at)


def test_both_windows_begin_when_the_weight_was_applied() -> None:
    pair = windows(at(10), 1300.0)
    assert pair is not None
    assert pair.canary == pair.stable == (1000.0, 1300.0)
    short = windows(at(10), 1010.0)
    assert short is not None
    assert short.canary == (1010.0 - SHORTEST_S, 1010.0)
    long = windows(at(10), 1e6)
    assert long is not None
    assert long.stable == (1e6 - LONGEST_S, 1e6)


def test_all_of_the_traffic_is_compared_with_the_time_before() -> None:
    pair = windows(at(100), 1300.0)
    assert pair is not None
    assert pair.canary == (1000.0, 1300.0)
    assert pair.stable == (1000.0 - BEFORE_S, 1000.0)
    assert pair.apart


def test_without_traffic_there_is_nothing_to_compare() -> None:
    assert windows(at(0), 1300.0) is None
    assert windows(at(10, None), 1300.0) is None
