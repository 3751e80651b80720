"""Copies of live texts: counts of many pods together, and when they speak against a canary."""

from typing import Any

import msgspec
import pytest

from predictor.rollout.shadowed import (
    BOUNDS,
    MOST_WIDTHS,
    Report,
    Totals,
    judge_shadow,
    summed,
)
from predictor.rollout.spec import Shadow, Spec, read_spec
from predictor.rollout.state import Measure

HOLD_S = 120.0


def spec(vectors: str = "Same", **of_vectors: float) -> Spec:
    target = {"name": "v2", "storageUri": "pvc://models/v2"}
    asked = {"inferenceService": "m", "target": target, "vectors": vectors, "shadow": {}}
    return read_spec({"spec": asked | {"analysis": {"vectors": of_vectors}}})


def totals(count: int, cosine: float = 1.0, width: int = 4, **given: Any) -> Totals:
    made = Totals(own=4, **given)
    made.take(width, count, [cosine] * count if width == 4 else [])
    return made


def judged(found: Totals, age_s: float = HOLD_S, of: Spec | None = None) -> Measure:
    of = of or spec()
    assert of.shadow is not None
    return judge_shadow(of, of.shadow, found, age_s)


# Counting


def test_cosines_go_into_their_buckets() -> None:
    made = Totals(own=4)
    cosines = [1.0, 1.0 - 5e-6, 0.9995, 0.995, 0.95, 0.5, -1.0]
    made.take(4, len(cosines), cosines)
    assert made.histogram == [1, 1, 0, 1, 1, 1, 2]
    assert len(made.histogram) == len(BOUNDS) + 1
    assert (made.compared, made.cosines, made.smallest) == (7, 7, -1.0)
    assert made.mean == pytest.approx(sum(cosines) / 7)


def test_a_cosine_above_1_by_rounding_is_the_best() -> None:
    made = totals(1, 1.0 + 2e-16)
    assert made.histogram[0] == 1


def test_the_mean_is_of_all_answers() -> None:
    made = totals(1, 1.0)
    made.take(4, 3, [0.6, 0.6, 0.6])
    assert made.mean == pytest.approx(0.7)
    assert made.smallest == 0.6


def test_widths_are_bounded() -> None:
    made = Totals(own=4)
    for width in range(100):
        made.take(width, 1, [])
    made.take(0, 1, [])
    assert len(made.widths) == MOST_WIDTHS
    assert made.widths[0] == 2
    assert made.compared == 101


def test_pods_add_up() -> None:
    one = Report(active=True, age_s=30.0, totals=totals(10, 1.0, failed=1, dropped=5))
    other = Report(active=True, age_s=90.0, totals=totals(30, 0.9, failed=2, void=2))
    nothing = Report(active=True, age_s=1.0, totals=Totals(own=4))
    whole, age_s = summed([nothing, one, other, nothing])
    assert age_s == 90.0
    assert (whole.own, whole.compared, whole.cosines) == (4, 40, 40)
    assert (whole.failed, whole.dropped, whole.void) == (3, 5, 2)
    assert whole.smallest == 0.9
    assert whole.mean == pytest.approx(0.925)
    assert (sum(whole.histogram), whole.widths) == (40, {4: 40})
    assert summed([]) == (Totals(), 0.0)


def test_a_report_goes_through_json() -> None:
    report = Report(active=True, url="http://c", totals=totals(3, 0.5))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"active": true, "totals": {"histogram": [1]}}', type=Report)


# Judging


@pytest.mark.parametrize("vectors", ["Same", "Changed"])
def test_good_enough_and_long_enough(vectors: str) -> None:
    found = judged(totals(50), of=spec(vectors))
    assert (found.name, found.verdict) == ("shadow", "Successful")
    assert found.text == "50 live texts compared, smallest cosine 1.000000, mean 1.000000"


@pytest.mark.parametrize(
    ("count", "age_s"), [(0, 0.0), (0, HOLD_S * 10), (49, HOLD_S), (50, HOLD_S - 1), (9999, 1.0)]
)
@pytest.mark.parametrize("vectors", ["Same", "Changed"])
def test_it_waits_for_time_and_texts(vectors: str, count: int, age_s: float) -> None:
    found = judged(totals(count), age_s, spec(vectors))
    assert found.verdict == "Inconclusive"
    assert f"{count} live texts compared" in found.text


@pytest.mark.parametrize(
    ("cosine", "verdict"), [(1.0, "Successful"), (0.9991, "Successful"), (0.9989, "Failed")]
)
def test_one_text_of_the_same_model_decides(cosine: float, verdict: str) -> None:
    made = totals(99)
    made.take(4, 1, [cosine])
    assert judged(made).verdict == verdict
    assert judged(made, of=spec(tolerance=0.9)).verdict == "Successful"
    assert judged(made, of=spec("Changed")).verdict == "Successful"


def test_a_wrong_vector_is_no_matter_of_time() -> None:
    assert judged(totals(1, 0.5), age_s=0.0).verdict == "Failed"
    assert judged(totals(1, 0.5), age_s=0.0).text.startswith("smallest cosine 0.500000, least")


def test_other_dimensions() -> None:
    found = judged(totals(50, width=6))
    assert found.verdict == "Failed"
    assert found.text.startswith("6 dimensions, the stable version gives 4")
    assert judged(totals(50, width=6), of=spec("Changed")).verdict == "Successful"


@pytest.mark.parametrize("vectors", ["Same", "Changed"])
def test_vectors_that_are_none(vectors: str) -> None:
    found = judged(totals(50, failed=1, void=1), age_s=0.0, of=spec(vectors))
    assert (found.verdict, found.text.split(";")[0]) == ("Failed", "1 vectors are none")


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
    found = judged(totals(compared, failed=failed), of=spec(vectors))
    assert found.verdict == verdict
    assert f"{failed} failed" in found.text


def test_failures_are_judged_when_it_is_time() -> None:
    assert judged(totals(0, failed=400), age_s=HOLD_S - 1).verdict == "Inconclusive"


def test_dropped_copies_say_nothing() -> None:
    assert judged(totals(50, dropped=10_000)).verdict == "Successful"


def test_the_hold_is_the_rollouts() -> None:
    shadow = Shadow(hold="10m", min_texts=1)
    assert judge_shadow(spec(), shadow, totals(5), 599.0).verdict == "Inconclusive"
    assert judge_shadow(spec(), shadow, totals(5), 600.0).verdict == "Successful"
