"""A refused write: what the state keeps of it, and when it is attempted again."""

from msgspec.structs import replace

from predictor.rollout.state import State
from predictor.rollout.writes import LONGEST_WAIT_S, is_waiting, record_refusal, record_success

NOW = 1_000_000.0


def waits(state: State) -> float:
    """Seconds until the next attempt of the same."""
    return next(s for s in range(200) if not is_waiting(state, state, NOW + s))


def test_each_refusal_in_a_row_doubles_the_wait_up_to_a_limit() -> None:
    state, seconds = State(phase="Progressing", weight=50), []
    for _ in range(7):
        state = record_refusal(state, "403", NOW)
        seconds.append(waits(state))
    assert seconds == [4, 8, 16, 32, 64, 64, 64]
    assert seconds[-1] == LONGEST_WAIT_S
    assert waits(record_success(state)) == 0


def test_something_else_is_attempted_at_once() -> None:
    state = record_refusal(State(phase="Progressing", weight=100), "403", NOW)
    assert is_waiting(state, state, NOW + 1)
    assert not is_waiting(state, replace(state, phase="RollingBack", weight=0), NOW + 1)


def test_a_long_sentence_is_cut() -> None:
    assert len(record_refusal(State(), "x" * 5000, NOW).write_error) == 600
