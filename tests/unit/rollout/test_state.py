"""The state as a resource's status: through JSON and back, and after somebody has damaged it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.rollout.moves import move
from predictor.rollout.state import MOST_HISTORY, Measure, Move, State, read_state, status_of
from tests.unit.rollout.world import measured

times = st.one_of(st.none(), st.floats(0, 4e9))
moves = st.builds(
    Move,
    at=st.floats(0, 4e9),
    phase=st.sampled_from(("Preparing", "Progressing", "Failed")),
    weight=st.integers(0, 100),
    reason=st.text(max_size=20),
    measures=st.just(measured("Failed")),
)
states = st.builds(
    State,
    phase=st.sampled_from(("Pending", "Progressing", "Paused", "RollingBack", "Succeeded")),
    target=st.text(max_size=20),
    weight=st.integers(0, 100),
    before=st.integers(0, 100),
    step=st.integers(0, 20),
    arrived=times,
    unready_since=times,
    wrong=st.sampled_from(("", "Error", "Inconclusive")),
    answered=st.integers(-1, 20),
    forced=st.booleans(),
    measures=st.lists(
        st.builds(Measure, name=st.text(max_size=9), verdict=st.just("Error")), max_size=3
    ).map(tuple),
    history=st.lists(moves, max_size=3).map(tuple),
)


def kept(status: dict[str, Any]) -> Any:
    """As the API server keeps it: whole numbers for whole floats, nothing for null."""

    def cell(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cell(one) for key, one in value.items() if one is not None}
        if isinstance(value, list):
            return [cell(one) for one in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return cell(json.loads(json.dumps(status)))


@given(states)
def test_a_state_comes_back_from_kubernetes(state: State) -> None:
    status = kept(status_of(state, 7))
    assert status["observedGeneration"] == 7
    assert read_state({"status": status}) == state


def test_names_are_written_as_kubernetes_does() -> None:
    status = status_of(State(phase="Paused", target_uri="pvc://m/2", wrong_since=5.0), 1)
    assert (status["targetUri"], status["wrongSince"]) == ("pvc://m/2", 5.0)


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Flying"},
        {"phase": "Progressing", "weight": "much"},
        {"phase": "Progressing", "weight": 500, "before": 5},
        {"phase": "Progressing", "before": -1},
        {"phase": "Progressing", "step": -3},
        {"phase": "Progressing", "history": 3},
        {"phase": "Progressing", "measures": [{"name": "errors"}]},
        "gone",
        None,
        [],
    ],
)
def test_a_damaged_status_is_as_good_as_none(status: object) -> None:
    assert read_state({"status": status}) == State()


def test_none_yet() -> None:
    assert read_state({}) == State()


def test_the_history_is_bounded_and_says_nothing_twice() -> None:
    state = State()
    for at in range(3 * MOST_HISTORY):
        state = move(state, float(at), "Pending", f"reason {at}")
        assert move(state, at + 0.5, "Pending", f"reason {at}") is state
    assert len(state.history) == MOST_HISTORY
    assert state.history[-1].reason == f"reason {3 * MOST_HISTORY - 1}"
    assert state.since == 0.0, "the phase is the same"
