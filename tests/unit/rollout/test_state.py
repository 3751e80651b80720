"""The list of transitions in the state."""

from predictor.rollout.state import MOST_TRANSITIONS, State
from predictor.rollout.transitions import transition


def test_the_transitions_are_bounded_and_nothing_is_repeated() -> None:
    state = State()
    for time in range(3 * MOST_TRANSITIONS):
        message = f"message {time}"
        state = transition(state, float(time), "Pending", "InvalidSpec", message)
        assert transition(state, time + 0.5, "Pending", "InvalidSpec", message) is state
    assert len(state.transitions) == MOST_TRANSITIONS
    assert state.transitions[-1].message == f"message {3 * MOST_TRANSITIONS - 1}"
    assert state.phase_since == 0.0, "the phase is the same"
