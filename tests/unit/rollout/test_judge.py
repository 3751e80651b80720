"""From figures to a verdict: known cases, and that worse figures never give a better verdict."""

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from predictor.rollout.judge import Traffic, combined, judge_traffic, slow_limit
from predictor.rollout.spec import Analysis, Rates
from predictor.rollout.state import Measurement, Verdict
from tests.unit.rollout.world import measured

ANALYSIS = Analysis()
BOUNDS = (0.01, 0.02, 0.05, 0.1)
RANK: dict[Verdict, int] = {"Successful": 0, "Inconclusive": 1, "Error": 1, "Failed": 2}


def traffic(
    answers: float = 5000,
    *,
    errors: float = 0.0,
    refused: float = 0.0,
    cdf: tuple[float, ...] = (0.5, 0.9, 0.993, 1.0),
) -> Traffic:
    """errors, refused, upto: shares."""
    counts = (*(answers * share for share in cdf), answers)
    buckets = dict(zip((*BOUNDS, inf), counts, strict=True))
    return Traffic(answers, answers * errors, answers * refused, buckets)


def verdicts(canary: Traffic, stable: Traffic, analysis: Analysis = ANALYSIS) -> dict[str, Verdict]:
    return {
        measurement.name: measurement.verdict
        for measurement in judge_traffic(analysis, canary, stable)
    }


def test_equal_sides_are_good() -> None:
    measurements = judge_traffic(ANALYSIS, traffic(errors=0.01), traffic(95_000, errors=0.01))
    assert combined(measurements) == "Successful"
    assert [measurement.name for measurement in measurements] == ["errors", "refused", "slow"]
    assert measurements[0].message == "1.00% of 5000, stable 1.00%"


@pytest.mark.parametrize(
    ("canary", "stable", "name"),
    [
        (traffic(errors=0.02), traffic(), "errors"),
        (traffic(errors=0.04), traffic(errors=0.02), "errors"),
        (traffic(refused=0.05), traffic(), "refused"),
        (traffic(cdf=(0.3, 0.6, 0.9, 0.99)), traffic(), "slow"),
        # Half as slow again, where the bound above the 99th percentile is out of reach.
        (traffic(cdf=(0.1, 0.6, 0.993, 1.0)), traffic(), "slow"),
    ],
)
def test_a_canary_that_is_certainly_worse_fails(
    canary: Traffic, stable: Traffic, name: str
) -> None:
    by_name = verdicts(canary, stable)
    assert by_name.pop(name) == "Failed"
    assert set(by_name.values()) == {"Successful"}


@pytest.mark.parametrize(
    ("canary", "verdict"),
    [
        (traffic(120, errors=0.0), "Inconclusive"),  # none of 120 may be one of fifty
        (traffic(1000, errors=0.0075), "Inconclusive"),  # between the limit and its double
        (traffic(50_000, errors=0.004), "Successful"),
        (traffic(500, errors=0.01), "Inconclusive"),
        (traffic(50_000, errors=0.01), "Failed"),
    ],
)
def test_doubt_waits_for_traffic(canary: Traffic, verdict: Verdict) -> None:
    assert verdicts(canary, traffic(1_000_000))["errors"] == verdict


# Of answers out of the cache, and of computed ones: shares up to each of BOUNDS.
HITS, COMPUTED = (0.98, 0.999, 1.0, 1.0), (0.01, 0.3, 0.985, 0.998)
SLOWER = (0.0, 0.05, 0.6, 0.9)


def mixed(
    answers: float, hits: float, computed: tuple[float, ...] = COMPUTED, cached: Any = HITS
) -> Traffic:
    """hits: share of the answers out of the cache."""
    ours = [answers * (1 - hits) * share for share in (*computed, 1.0)]
    theirs = [answers * hits * share for share in (*cached, 1.0)]
    whole = [first + second for first, second in zip(ours, theirs, strict=True)]
    places = (*BOUNDS, inf)
    return Traffic(
        answers,
        0.0,
        0.0,
        dict(zip(places, whole, strict=True)),
        dict(zip(places, ours, strict=True)),
    )


@pytest.mark.parametrize("hits", [0.0, 0.3, 0.85, 0.9])
def test_a_cold_cache_is_not_slow(hits: float) -> None:
    stable = mixed(95_000, 0.9)
    assert verdicts(mixed(5000, hits), stable)["slow"] == "Successful"
    unknown = replace(mixed(5000, hits), computed={})
    assert hits > 0.8 or verdicts(unknown, stable)["slow"] == "Failed"  # what it is good for


@pytest.mark.parametrize("hits", [0.0, 0.5, 0.9])
def test_slower_is_slow_whatever_comes_out_of_the_cache(hits: float) -> None:
    stable = mixed(95_000, 0.9)
    assert verdicts(mixed(5000, hits, SLOWER), stable)["slow"] == "Failed"
    lagging = mixed(5000, hits, COMPUTED, (0.5, 0.9, 1.0, 1.0))
    assert verdicts(lagging, stable)["slow"] == ("Failed" if hits else "Successful")


def test_what_the_stable_version_never_computes_cannot_be_compared() -> None:
    by_name = verdicts(mixed(5000, 0.5), mixed(95_000, 1.0))
    assert by_name["slow"] == "Inconclusive"
    assert verdicts(mixed(5000, 0.9999), mixed(95_000, 1.0))["slow"] == "Successful"


def test_half_as_slow_again_fails_where_latencies_lie_far_apart() -> None:
    """Lognormal, spread 1: of the stable version 1.06 % over 0.1 s, of the canary 2.9 %."""
    stable = traffic(57_000, cdf=(0.5, 0.756, 0.9462, 0.9894))
    canary = traffic(3000, cdf=(0.34, 0.61, 0.884, 0.976))
    assert verdicts(canary, stable)["slow"] == "Failed"
    assert verdicts(traffic(9000, cdf=(0.34, 0.61, 0.884, 0.971)), stable)["slow"] == "Failed"


@pytest.mark.parametrize(
    ("canary", "verdict"),
    [
        (traffic(errors=0.04, cdf=(0.4, 0.8, 0.96, 0.99)), "Successful"),
        (traffic(errors=0.15), "Failed"),
        (traffic(cdf=(0.1, 0.2, 0.5, 0.6)), "Failed"),
    ],
)
def test_different_windows_need_a_large_difference(canary: Traffic, verdict: Verdict) -> None:
    assert combined(judge_traffic(ANALYSIS, canary, traffic(), apart=True)) == verdict
    assert combined(judge_traffic(ANALYSIS, canary, traffic())) == "Failed"


def test_too_few_requests_say_nothing() -> None:
    measurements = judge_traffic(ANALYSIS, traffic(99, errors=1.0), traffic())
    assert measurements == (
        Measurement("traffic", "Inconclusive", "99 requests of the canary, 100 are needed"),
    )
    assert combined(judge_traffic(ANALYSIS, traffic(), traffic(0))) == "Inconclusive"


def broken(place: str, value: float) -> Traffic:
    good = traffic()
    if place == "bucket":
        return replace(good, buckets={**good.buckets, 0.02: value})
    if place == "computed":
        return replace(good, computed={**good.buckets, 0.02: value})
    figures = {"answers": good.answers, "errors": 0.0, "refused": 0.0} | {place: value}
    return Traffic(figures["answers"], figures["errors"], figures["refused"], good.buckets)


@pytest.mark.parametrize("value", [nan, inf, -1.0])
@pytest.mark.parametrize("place", ["answers", "errors", "refused", "bucket", "computed"])
def test_figures_that_cannot_be_are_an_error(place: str, value: float) -> None:
    for sides in ((broken(place, value), traffic()), (traffic(), broken(place, value))):
        assert verdicts(*sides) == {"traffic": "Error"}


def test_halves_of_series_are_an_error() -> None:
    assert verdicts(broken("errors", 6000.0), traffic()) == {"traffic": "Error"}
    assert verdicts(broken("bucket", 4990.0), traffic()) == {"traffic": "Error"}
    assert verdicts(replace(traffic(), buckets={}), traffic())["slow"] == "Error"
    other = replace(traffic(), buckets={0.3: 4000.0, inf: 5000.0})
    assert verdicts(other, traffic())["slow"] == "Error"


def test_the_last_digits_of_sums_are_no_error() -> None:
    good = traffic(cdf=(0.5, 0.9, 1.0, 1.0))
    above = good.buckets[0.1] * (1 + 1e-15)
    rounded = replace(good, buckets={**good.buckets, 0.05: above})
    assert rounded.buckets[0.05] > rounded.buckets[0.1]
    assert verdicts(rounded, traffic())["slow"] == "Successful"


def test_slower_than_any_bound() -> None:
    slow = replace(traffic(), buckets={inf: 5000.0})
    assert verdicts(slow, slow)["slow"] == "Inconclusive"
    half = traffic(cdf=(0.0, 0.0, 0.1, 0.5))
    assert verdicts(half, half)["slow"] == "Successful"


def test_the_worst_measure_speaks_for_all() -> None:
    order: list[Verdict] = ["Successful", "Inconclusive", "Error", "Failed"]
    measurements: tuple[Measurement, ...] = ()
    for verdict in order:
        measurements += measured(verdict)
        assert combined(measurements) == verdict
        assert combined(measurements[::-1]) == verdict
    assert combined(()) == "Inconclusive"


shares = st.floats(0, 1)
histograms = st.lists(st.integers(0, 3000), min_size=5, max_size=5)


def counted(counts: list[int], errors: float, refused: float) -> Traffic:
    total, cumulative = 0, {}
    for bound, count in zip((*BOUNDS, inf), counts, strict=True):
        total += count
        cumulative[bound] = float(total)
    return Traffic(total, int(total * errors / 2), int(total * refused / 2), cumulative)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Analysis, Traffic, Traffic, Traffic]:
    """An analysis, a canary, the same canary in one way worse, and the stable version."""
    rates = Rates(max_increase=draw(st.sampled_from((0.0, 0.005, 0.05, 0.5))))
    counts, errors, refused = draw(histograms), draw(shares), draw(shares)
    canary = counted(counts, errors, refused)
    stable = counted(draw(histograms), refused, errors)
    assume(canary.answers >= 100 and stable.answers > 0)
    if draw(st.booleans()):
        most = canary.answers - canary.refused
        worse = replace(canary, errors=min(canary.errors + draw(st.integers(1, 500)), most))
    else:
        place = draw(st.integers(0, 3))
        moved = min(draw(st.integers(1, 3000)), counts[place])
        counts[place] -= moved
        counts[place + 1] += moved
        worse = counted(counts, errors, refused)
    return Analysis(errors=rates, refused=rates, slow=rates), canary, worse, stable


@settings(max_examples=400)
@given(pairs())
def test_worse_figures_never_give_a_better_verdict(
    figures: tuple[Analysis, Traffic, Traffic, Traffic],
) -> None:
    analysis, canary, worse, stable = figures
    before, after = verdicts(canary, stable, analysis), verdicts(worse, stable, analysis)
    assert before.keys() == after.keys()
    assert all(RANK[after[name]] >= RANK[before[name]] for name in before)


@settings(max_examples=100)
@given(histograms, shares, st.integers(2, 50))
def test_the_same_shares_never_fail(counts: list[int], errors: float, times: int) -> None:
    canary = counted(counts, errors, 0.0)
    assume(canary.answers >= 100)
    stable = Traffic(
        canary.answers * times,
        canary.errors * times,
        0.0,
        {bound: count * times for bound, count in canary.buckets.items()},
    )
    assert "Failed" not in verdicts(canary, stable).values()


@pytest.mark.parametrize("most", [0.0075, 0.01, 0.2])
def test_a_heavy_tail_of_the_stable_version_does_not_hide_a_slow_canary(most: float) -> None:
    """2 % of its answers take longer than 0.1 s; all of the canary's take 50 ms more."""
    stable = traffic(20_000, cdf=(0.6, 0.88, 0.95, 0.98))
    canary = traffic(500, cdf=(0.0, 0.0, 0.0, 0.95))
    analysis = Analysis(slow=Rates(max_increase=most))
    assert verdicts(canary, stable, analysis)["slow"] == "Failed"
    assert verdicts(traffic(5000, cdf=(0.6, 0.88, 0.95, 0.98)), stable, analysis)["slow"] in (
        "Successful",
        "Inconclusive",
    )


@given(st.floats(1e-4, 0.3), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_limit_of_a_share_stays_below_one_and_grows_with_the_limit(
    limit: float, first: float, second: float
) -> None:
    for base in (first, second):
        assert -1e-12 <= slow_limit(limit, base) <= 1 - base + limit
        assert slow_limit(limit, base) <= slow_limit(limit * 1.5, base) + 1e-12
    assert slow_limit(limit, 0.005) == limit
    assert slow_limit(limit, 0.01 + 1e-12) == pytest.approx(limit)
