"""The state as a resource's status: to JSON and back, conditions, and statuses of other forms."""

import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from predictor.rollout.state import (
    TIMES,
    Measurement,
    Phase,
    State,
    Transition,
    TransitionReason,
)
from predictor.rollout.status import read_state, status_of
from predictor.rollout.transitions import transition
from tests.unit.rollout.world import measured

NOW = 1_764_000_000.25
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
WHOLE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
# What a controller of before the conditions wrote, in the middle of a rollout.
OLD_FORM = {
    "observedGeneration": 1,
    "phase": "Progressing",
    "target": "v2 pvc://models/2",
    "targetUri": "pvc://models/2",
    "stableUri": "pvc://models/1",
    "canary": "v2",
    "step": 1,
    "weight": 10,
    "before": 5,
    "arrived": 1764000000.25,
    "since": 1763990000.5,
    "looked": 1764000010,
    "wrong": "",
    "wrongSince": 1763990000.5,
    "doubtSince": 1763990000.5,
    "forced": False,
    "answered": -1,
    "reason": "step 2: weight 10",
    "measures": [{"name": "errors", "verdict": "Successful", "text": "0.00% of 500"}],
    "history": [
        {"at": 1763990000.5, "phase": "Progressing", "weight": 10, "reason": "step 2: weight 10"}
    ],
}

# The controller rounds its clock to microseconds.
seconds = st.integers(0, 4 * 10**15).map(lambda micros: micros / 1e6)
times = st.one_of(st.none(), seconds)
reasons = st.sampled_from(get_args(TransitionReason))
transitions = st.builds(
    Transition,
    time=seconds,
    phase=st.sampled_from(("Preparing", "Progressing", "Failed")),
    weight=st.integers(0, 100),
    reason=reasons,
    message=st.text(max_size=20),
    measurements=st.just(measured("Failed")),
)
states = st.builds(
    State,
    phase=st.sampled_from(get_args(Phase)),
    reason=reasons,
    message=st.text(max_size=20),
    target=st.text(max_size=20),
    weight=st.integers(0, 100),
    previous_weight=st.integers(0, 100),
    step=st.integers(0, 20),
    phase_since=seconds,
    weight_applied_at=times,
    last_analysis_time=seconds,
    undecided_verdict=st.sampled_from(("", "Error", "Inconclusive")),
    undecided_since=seconds,
    no_success_since=seconds,
    unready_since=times,
    unrouted_since=times,
    last_resumed_step=st.integers(-1, 20),
    promote_requested=st.booleans(),
    stable_pods=st.integers(0, 9),
    min_replicas=st.integers(-1, 9),
    served_weight=st.integers(0, 100),
    write_error=st.text(max_size=20),
    write_failed_at=times,
    measurements=st.lists(
        st.builds(Measurement, name=st.text(max_size=9), verdict=st.just("Error")), max_size=3
    ).map(tuple),
    transitions=st.lists(transitions, max_size=3).map(tuple),
)


def stored(status: dict[str, Any]) -> Any:
    """As the API server stores it."""
    return json.loads(json.dumps(status))


def conditions_of(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


@given(states)
def test_a_state_comes_back_from_kubernetes(state: State) -> None:
    status = stored(status_of(state, 7, {}, NOW))
    assert status["observedGeneration"] == 7
    assert read_state({"status": status}) == state


@given(states)
def test_every_time_is_rfc_3339_and_nothing_is_null(state: State) -> None:
    status = status_of(state, 7, {}, NOW)
    camel = [re.sub(r"_(.)", lambda match: match[1].upper(), name) for name in TIMES]
    times = [status[name] for name in camel if name in status]
    times += [entry["time"] for entry in status["transitions"]]
    assert all(MICRO_TIME.fullmatch(entry_time) for entry_time in times)
    assert all(WHOLE_TIME.fullmatch(c["lastTransitionTime"]) for c in status["conditions"])
    assert None not in status.values()


def test_names_are_written_as_kubernetes_does() -> None:
    state = State(phase="Paused", target_uri="pvc://m/2", undecided_since=5.25)
    status = status_of(state, 1, {}, NOW)
    assert status["targetUri"] == "pvc://m/2"
    assert status["undecidedSince"] == "1970-01-01T00:00:05.250000Z"
    assert "weightAppliedAt" not in status, "it has not been applied"


@pytest.mark.parametrize(
    ("phase", "reason", "expected"),
    [
        ("Pending", "NotStarted", {"Promoted": "Unknown"}),
        ("Pending", "InvalidSpec", {"Promoted": "Unknown", "Degraded": "True"}),
        ("Preparing", "CanaryStarting", {"Promoted": "Unknown", "Progressing": "True"}),
        ("Progressing", "StepStarted", {"Promoted": "Unknown", "Progressing": "True"}),
        ("Paused", "StepPause", {"Promoted": "Unknown", "Paused": "True"}),
        (
            "Paused",
            "AnalysisError",
            {"Promoted": "Unknown", "Paused": "True", "Degraded": "True"},
        ),
        ("Comparing", "ComparisonStarted", {"Promoted": "Unknown"}),
        ("Promoting", "AllStepsSuccessful", {"Promoted": "Unknown", "Progressing": "True"}),
        (
            "RollingBack",
            "AnalysisFailed",
            {"Promoted": "Unknown", "Progressing": "True", "Degraded": "True"},
        ),
        ("Succeeded", "Promoted", {"Promoted": "True"}),
        ("Failed", "AnalysisFailed", {"Degraded": "True"}),
    ],
)
def test_conditions_follow_from_phase_and_reason(
    phase: Phase, reason: TransitionReason, expected: dict[str, str]
) -> None:
    status = status_of(State(phase=phase, reason=reason, message="why"), 3, {}, NOW)
    every = dict.fromkeys(("Promoted", "Progressing", "Paused", "Degraded"), "False")
    every["Applied"] = "True"
    assert conditions_of(status) == every | expected
    for condition in status["conditions"]:
        assert (condition["reason"], condition["message"]) == (reason, "why")
        assert condition["observedGeneration"] == 3


def test_last_transition_time_changes_only_with_the_status_of_a_condition() -> None:
    started = transition(State(), NOW, "Progressing", "StepStarted", "step 1: weight 5")
    first = status_of(started, 1, {}, NOW)
    stepped = transition(started, NOW + 60, "Progressing", "StepStarted", "step 2: weight 10")
    second = status_of(stepped, 2, first, NOW + 60)
    for before, after in zip(first["conditions"], second["conditions"], strict=True):
        assert before["lastTransitionTime"] == after["lastTransitionTime"]
        assert (after["message"], after["observedGeneration"]) == ("step 2: weight 10", 2)
    failed = transition(stepped, NOW + 90, "RollingBack", "AnalysisFailed", "errors: 3 %")
    third = status_of(failed, 2, second, NOW + 90)
    changed = {
        after["type"]
        for before, after in zip(second["conditions"], third["conditions"], strict=True)
        if before["lastTransitionTime"] != after["lastTransitionTime"]
    }
    assert changed == {"Degraded"}


def test_a_reason_is_one_word_in_camel_case() -> None:
    for reason in get_args(TransitionReason):
        assert re.fullmatch(r"([A-Z][a-z]+)+", reason)


@pytest.mark.parametrize(
    "damage",
    [
        {"phase": "Flying"},
        {"reason": "step 2: weight 10"},
        {"weight": "much"},
        {"weight": 500},
        {"previousWeight": -1},
        {"step": -3},
        {"phaseSince": 1764000000.25},
        {"phaseSince": "yesterday"},
        {"phaseSince": "2026-11-30T18:04:08"},
        {"transitions": 3},
        {"transitions": ["first"]},
        {"transitions": [{"time": 5, "phase": "Failed", "weight": 0, "reason": "Aborted"}]},
        {"measurements": [{"name": "errors"}]},
        {"conditions": []},
        {"conditions": None},
    ],
)
def test_a_damaged_status_is_as_good_as_none(damage: dict[str, Any]) -> None:
    status = status_of(State(phase="Progressing", weight=10, message="why"), 1, {}, NOW)
    assert read_state({"status": status}).weight == 10
    assert read_state({"status": status | damage}) == State()


@pytest.mark.parametrize("status", ["text", None, [], {}, OLD_FORM])
def test_a_status_of_another_form_is_as_good_as_none(status: object) -> None:
    assert read_state({"status": status}) == State()
    written = status_of(State(), 1, status, NOW)
    assert {c["lastTransitionTime"] for c in written["conditions"]} == {"2025-11-24T16:00:00Z"}


def test_a_resource_without_a_status_has_not_started() -> None:
    assert read_state({}) == State()


def test_a_wait_of_seconds_survives_a_restart_of_the_controller() -> None:
    """A decision that depends on less than a second is the same after the status was read."""
    state = replace(State(), weight_applied_at=NOW, last_analysis_time=NOW + 0.000001)
    again = read_state({"status": stored(status_of(state, 1, {}, NOW))})
    assert again.weight_applied_at == NOW
    assert again.last_analysis_time == pytest.approx(NOW + 0.000001, abs=2e-7)
