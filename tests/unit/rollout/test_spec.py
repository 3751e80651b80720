"""What an EmbeddingRollout may ask for: its defaults, durations, and what is refused in words."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.rollout.spec import (
    DEFAULT_STEPS,
    LONGEST_S,
    BadRollout,
    Limit,
    Spec,
    Step,
    Target,
    read_spec,
    seconds,
)


def resource(**spec: Any) -> dict[str, Any]:
    target = {"storageUri": "pvc://models/2", "name": "v2"}
    return {"spec": {"inferenceService": "emb", "target": target} | spec}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", 0), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h1m5s", 7265), ("720h", LONGEST_S)],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "90", "s", "1.5m", "-1m", "1m1h", "1d", " 1m", "1m ", "720h1s", "٣m", "9" * 5000 + "s"],
)
def test_a_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(BadRollout, match=r"^duration ") as caught:
        seconds(text)
    assert len(str(caught.value)) < 120


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with suppress(BadRollout):
        assert 0 <= seconds(text) <= LONGEST_S


def test_defaults() -> None:
    spec = read_spec(resource())
    assert spec == Spec(
        inference_service="emb", target=Target(storage_uri="pvc://models/2", name="v2")
    )
    assert spec.steps == DEFAULT_STEPS
    assert [step.weight for step in spec.steps] == [5, 10, 25, 50, 100]
    assert spec.limits.inconclusive == Limit(after="1h", then="Hold")
    assert (spec.vectors, spec.strategy, spec.paused) == ("Same", "Promote", False)


def test_names_are_camel_case_and_unknown_fields_are_ignored() -> None:
    spec = read_spec(
        resource(
            analysis={"minRequests": 7, "errors": {"maxIncrease": 0.2}, "futureField": 1},
            limits={"progressDeadline": "1m", "error": {"after": "1m", "then": "RollBack"}},
            shadow={"minTexts": 3},
        )
    )
    assert (spec.analysis.min_requests, spec.analysis.errors.max_increase) == (7, 0.2)
    assert spec.limits.error.then == "RollBack"
    assert spec.shadow is not None
    assert spec.shadow.min_texts == 3


def test_a_promotion_goes_through_all_of_the_traffic() -> None:
    spec = read_spec(resource(steps=[{"weight": 20, "pause": True}]))
    assert spec.steps == (
        Step(weight=20, hold="5m", pause=True),
        Step(weight=100, hold="0s"),
    )
    both = read_spec(resource(steps=[{"weight": 20}], strategy="Compare"))
    assert [step.weight for step in both.steps] == [20]


def test_every_field_of_a_target_is_in_its_key() -> None:
    target = Target(storage_uri="a", name="v2")
    others = [Target(storage_uri="b", name="v2"), Target(storage_uri="a", name="v3"),
              Target(storage_uri="a", name="v2", image="i")]  # fmt: skip
    assert len({target.key, *(changed.key for changed in others)}) == 4


BOTH = {"strategy": "Compare", "steps": [{"weight": 20}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": []}, "spec.steps is empty"),
        ({"steps": [{"weight": 101}]}, "must be 0 to 100"),
        ({"steps": [{"weight": -1}]}, "must be 0 to 100"),
        ({"steps": [{"weight": 20}, {"weight": 20}]}, "must rise"),
        ({"steps": [{"weight": 20}, {"weight": 10}]}, "must rise"),
        ({"steps": [{"weight": 2.5}]}, "Expected `int`"),
        ({"steps": [{"weight": 5, "hold": "soon"}]}, "duration 'soon'"),
        ({"strategy": "Compare"}, "must be below 100"),
        ({"compare": {"userHeader": "x-user"}}, "spec.compare: only with strategy Compare"),
        (BOTH | {"compare": {}}, "versionHeader, userHeader or both are required"),
        (BOTH | {"compare": {"userHeader": "x user"}}, "'x user' is not a valid header name"),
        (
            BOTH | {"compare": {"userHeader": "X-A", "versionHeader": "x-a"}},
            "versionHeader and userHeader must be two headers",
        ),
        ({"strategy": "Hope"}, "Invalid enum value 'Hope'"),
        ({"target": {"storageUri": "", "name": "v2"}}, "name and storageUri are required"),
        ({"target": {"storageUri": "a"}}, "missing required field `name`"),
        ({"analysis": {"interval": "0s"}}, "interval must be at least 1s"),
        ({"analysis": {"interval": "1x"}}, "duration '1x'"),
        ({"analysis": {"minRequests": 0}}, "must be at least 1"),
        ({"analysis": {"failures": 0}}, "must be at least 1"),
        ({"analysis": {"errors": {"maxIncrease": -0.1}}}, "errors.maxIncrease is -0.1"),
        ({"analysis": {"slow": {"maxIncrease": 1.1}}}, "slow.maxIncrease is 1.1"),
        ({"analysis": {"vectors": {"tolerance": 1.5}}}, "tolerance must be -1 to 1"),
        ({"analysis": {"vectors": {"minOverlap": 2}}}, "minOverlap is 2"),
        ({"limits": {"error": {"after": "1w", "then": "Hold"}}}, "duration '1w'"),
        ({"limits": {"progressDeadline": "1w"}}, "duration '1w'"),
        ({"shadow": {"hold": "1w"}}, "duration '1w'"),
        ({"shadow": {"share": 3}}, "spec.shadow.share is 3"),
        ({"inferenceService": None}, "Expected `str`"),
    ],
)
def test_an_impossible_specification_is_refused_with_a_sentence(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadRollout, match=words.replace(".", r"\.")):
        read_spec(resource(**changes))


@pytest.mark.parametrize("whole", [{}, {"spec": None}, {"spec": []}, {"spec": {"target": 3}}])
def test_a_missing_specification_is_refused(whole: dict[str, Any]) -> None:
    with pytest.raises(BadRollout, match=r"^spec: "):
        read_spec(whole)
