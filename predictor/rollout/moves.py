"""Changes of phase and weight, each with its line in the history."""

from msgspec.structs import replace

from predictor.rollout.spec import Step
from predictor.rollout.state import MOST_HISTORY, Move, Phase, State


def move(state: State, now: float, phase: Phase, reason: str) -> State:
    """Another phase, or the same one for another reason; the state itself if neither is new."""
    if (state.phase, state.reason) == (phase, reason):
        return state
    line = Move(now, phase, state.weight, reason, state.measures)
    since = state.since if phase == state.phase else now
    return replace(
        state,
        phase=phase,
        reason=reason,
        since=since,
        history=(*state.history, line)[-MOST_HISTORY:],
    )


def to_step(state: State, now: float, index: int, step: Step) -> State:
    """Give the canary the weight of a step; its looks begin anew."""
    stepped = replace(
        state,
        step=index,
        before=state.weight,
        weight=step.weight,
        arrived=state.arrived if step.weight == state.weight else None,
        failures=0,
        wrong="",
        wrong_since=now,
        doubt_since=now,
    )
    return move(stepped, now, "Progressing", f"step {index + 1}: weight {step.weight}")


def pause(state: State, now: float, reason: str) -> State:
    return move(state, now, "Paused", reason)


def abandon(state: State, now: float, reason: str) -> State:
    """Begin to take the canary back."""
    back = replace(state, before=state.weight, weight=0, arrived=None, forced=False)
    return move(back, now, "RollingBack", reason)


def fail(state: State, now: float, reason: str) -> State:
    return move(replace(state, weight=0, arrived=None), now, "Failed", reason)
