"""Copies of live texts: counts of many pods together, and when they speak against a canary."""

from typing import Any

import msgspec
import pytest

from predictor.rollout.shadow import (
    BOUNDS,
    MOST_DIMENSIONS,
    ShadowReport,
    ShadowTotals,
    judge_shadow,
    sum_reports,
)
from predictor.rollout.spec import ShadowSpec, Spec, read_spec
from predictor.rollout.state import Measurement

HOLD_S = 120.0


def spec(vectors: str = "Same", **of_vectors: float) -> Spec:
    target = {"name": "v2", "storageUri": "pvc://models/v2"}
    fields = {"inferenceService": "m", "target": target, "vectors": vectors, "shadow": {}}
    return read_spec({"spec": fields | {"analysis": {"vectors": of_vectors}}})


def totals(count: int, cosine: float = 1.0, width: int = 4, **counts: Any) -> ShadowTotals:
    made = ShadowTotals(stable_dimensions=4, **counts)
    made.record(width, count, [cosine] * count if width == 4 else [])
    return made


def judged(
    shadow_totals: ShadowTotals, age_s: float = HOLD_S, of: Spec | None = None
) -> Measurement:
    of = of or spec()
    assert of.shadow is not None
    return judge_shadow(of, of.shadow, shadow_totals, age_s)


# Counting


def test_cosines_go_into_their_buckets() -> None:
    made = ShadowTotals(stable_dimensions=4)
    cosines = [1.0, 1.0 - 5e-6, 0.9995, 0.995, 0.95, 0.5, -1.0]
    made.record(4, len(cosines), cosines)
    assert made.histogram == [1, 1, 0, 1, 1, 1, 2]
    assert len(made.histogram) == len(BOUNDS) + 1
    assert (made.compared, made.cosines, made.smallest) == (7, 7, -1.0)
    assert made.mean == pytest.approx(sum(cosines) / 7)


def test_a_cosine_above_1_by_rounding_is_the_best() -> None:
    made = totals(1, 1.0 + 2e-16)
    assert made.histogram[0] == 1


def test_the_mean_is_of_all_answers() -> None:
    made = totals(1, 1.0)
    made.record(4, 3, [0.6, 0.6, 0.6])
    assert made.mean == pytest.approx(0.7)
    assert made.smallest == 0.6


def test_widths_are_bounded() -> None:
    made = ShadowTotals(stable_dimensions=4)
    for width in range(100):
        made.record(width, 1, [])
    made.record(0, 1, [])
    assert len(made.dimensions) == MOST_DIMENSIONS
    assert made.dimensions[0] == 2
    assert made.compared == 101


def test_pods_add_up() -> None:
    first = ShadowReport(active=True, age_s=30.0, totals=totals(10, 1.0, failed=1, dropped=5))
    second = ShadowReport(active=True, age_s=90.0, totals=totals(30, 0.9, failed=2, invalid=2))
    nothing = ShadowReport(active=True, age_s=1.0, totals=ShadowTotals(stable_dimensions=4))
    whole, age_s = sum_reports([nothing, first, second, nothing])
    assert age_s == 90.0
    assert (whole.stable_dimensions, whole.compared, whole.cosines) == (4, 40, 40)
    assert (whole.failed, whole.dropped, whole.invalid) == (3, 5, 2)
    assert whole.smallest == 0.9
    assert whole.mean == pytest.approx(0.925)
    assert (sum(whole.histogram), whole.dimensions) == (40, {4: 40})
    assert sum_reports([]) == (ShadowTotals(), 0.0)


def test_a_report_goes_through_json() -> None:
    report = ShadowReport(active=True, url="http://c", totals=totals(3, 0.5))
    assert msgspec.json.decode(msgspec.json.encode(report), type=ShadowReport) == report
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"active": true, "totals": {"histogram": [1]}}', type=ShadowReport)


# Judging


@pytest.mark.parametrize("vectors", ["Same", "Changed"])
def test_good_enough_and_long_enough(vectors: str) -> None:
    measurement = judged(totals(50), of=spec(vectors))
    assert (measurement.name, measurement.verdict) == ("shadow", "Successful")
    assert measurement.message == "50 live texts compared, smallest cosine 1.000000, mean 1.000000"


@pytest.mark.parametrize(
    ("count", "age_s"), [(0, 0.0), (0, HOLD_S * 10), (49, HOLD_S), (50, HOLD_S - 1), (9999, 1.0)]
)
@pytest.mark.parametrize("vectors", ["Same", "Changed"])
def test_the_shadow_is_inconclusive_before_its_hold_and_least_texts(
    vectors: str, count: int, age_s: float
) -> None:
    measurement = judged(totals(count), age_s, spec(vectors))
    assert measurement.verdict == "Inconclusive"
    assert f"{count} live texts compared" in measurement.message


@pytest.mark.parametrize(
    ("cosine", "verdict"), [(1.0, "Successful"), (0.9991, "Successful"), (0.9989, "Failed")]
)
def test_one_text_of_the_same_model_decides(cosine: float, verdict: str) -> None:
    made = totals(99)
    made.record(4, 1, [cosine])
    assert judged(made).verdict == verdict
    assert judged(made, of=spec(tolerance=0.9)).verdict == "Successful"
    assert judged(made, of=spec("Changed")).verdict == "Successful"


def test_a_wrong_vector_is_no_matter_of_time() -> None:
    assert judged(totals(1, 0.5), age_s=0.0).verdict == "Failed"
    assert judged(totals(1, 0.5), age_s=0.0).message.startswith("smallest cosine 0.500000, least")


def test_other_dimensions() -> None:
    measurement = judged(totals(50, width=6))
    assert measurement.verdict == "Failed"
    assert measurement.message.startswith("6 dimensions, the stable version gives 4")
    assert judged(totals(50, width=6), of=spec("Changed")).verdict == "Successful"


@pytest.mark.parametrize("vectors", ["Same", "Changed"])
def test_vectors_that_are_none(vectors: str) -> None:
    measurement = judged(totals(50, failed=1, invalid=1), age_s=0.0, of=spec(vectors))
    assert (measurement.verdict, measurement.message.split(";")[0]) == (
        "Failed",
        "1 invalid vectors",
    )


@pytest.mark.parametrize(
    ("compared", "failed", "verdict"),
    [
        (1000, 8, "Successful"),
        (100, 5, "Successful"),
        (50, 8, "Inconclusive"),
        (1000, 80, "Inconclusive"),
        (50, 50, "Failed"),
        (1000, 200, "Failed"),
        (0, 400, "Failed"),
        (0, 49, "Inconclusive"),
        (49, 1, "Inconclusive"),
    ],
)
@pytest.mark.parametrize("vectors", ["Same", "Changed"])
def test_some_may_fail(vectors: str, compared: int, failed: int, verdict: str) -> None:
    measurement = judged(totals(compared, failed=failed), of=spec(vectors))
    assert measurement.verdict == verdict
    assert f"{failed} failed" in measurement.message


def test_failed_texts_are_judged_after_the_hold() -> None:
    assert judged(totals(0, failed=400), age_s=HOLD_S - 1).verdict == "Inconclusive"


def test_dropped_copies_say_nothing() -> None:
    assert judged(totals(50, dropped=10_000)).verdict == "Successful"


def test_the_hold_is_the_rollouts() -> None:
    shadow = ShadowSpec(hold="10m", min_texts=1)
    assert judge_shadow(spec(), shadow, totals(5), 599.0).verdict == "Inconclusive"
    assert judge_shadow(spec(), shadow, totals(5), 600.0).verdict == "Successful"
