"""Writes that the API server refuses or fails: a condition of the status, and a backoff.

The state is written before anything is done, so that it says what is wanted. What a refused write
leaves in the cluster is another thing, and the status has to say that, too.
"""

from msgspec.structs import replace

from predictor.rollout.state import State

FIRST_WAIT_S = 4.0
LONGEST_WAIT_S = 64.0
# Characters of the API server's sentence.
MOST_ERROR = 600


def record_refusal(state: State, error: str, now: float) -> State:
    """The state after a write that was refused or failed."""
    return replace(
        state,
        write_error=error[:MOST_ERROR],
        write_failures=state.write_failures + 1,
        write_failed_at=now,
    )


def record_success(state: State) -> State:
    """The state after a write, or after none was needed."""
    return replace(state, write_error="", write_failures=0, write_failed_at=None)


def is_waiting(before: State, after: State, now: float) -> bool:
    """Whether the next attempt has to wait. What is wanted anew is attempted at once."""
    if after.write_failed_at is None:
        return False
    if (before.phase, before.weight) != (after.phase, after.weight):
        return False
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(after.write_failures - 1, 10))
    return now - after.write_failed_at < wait_s
