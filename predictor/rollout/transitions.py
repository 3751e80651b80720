"""Changes of phase and weight, each recorded in the state's list of transitions."""

from msgspec.structs import replace

from predictor.rollout.spec import Step
from predictor.rollout.state import MOST_TRANSITIONS, Phase, State, Transition, TransitionReason


def transition(
    state: State, now: float, phase: Phase, reason: TransitionReason, message: str
) -> State:
    """Enter a phase, or stay in it for another reason; the state itself if neither is new."""
    if (state.phase, state.message) == (phase, message):
        return state
    latest = Transition(now, phase, state.weight, reason, message, state.measurements)
    return replace(
        state,
        phase=phase,
        reason=reason,
        message=message,
        phase_since=state.phase_since if phase == state.phase else now,
        transitions=(*state.transitions, latest)[-MOST_TRANSITIONS:],
    )


def start_step(state: State, now: float, index: int, step: Step) -> State:
    """Give the canary the weight of a step; its analyses start over."""
    is_same_weight = step.weight == state.weight
    stepped = replace(
        state,
        step=index,
        previous_weight=state.weight,
        weight=step.weight,
        weight_applied_at=state.weight_applied_at if is_same_weight else None,
        consecutive_failures=0,
        undecided_verdict="",
        undecided_since=now,
        no_success_since=now,
    )
    message = f"step {index + 1}: weight {step.weight}"
    return transition(stepped, now, "Progressing", "StepStarted", message)


def pause(state: State, now: float, reason: TransitionReason, message: str) -> State:
    return transition(state, now, "Paused", reason, message)


def roll_back(state: State, now: float, reason: TransitionReason, message: str) -> State:
    """Begin to take the canary's traffic away."""
    without_traffic = replace(
        state,
        previous_weight=state.weight,
        weight=0,
        weight_applied_at=None,
        promote_requested=False,
    )
    return transition(without_traffic, now, "RollingBack", reason, message)


def fail(state: State, now: float, reason: TransitionReason, message: str) -> State:
    without_traffic = replace(state, weight=0, weight_applied_at=None)
    return transition(without_traffic, now, "Failed", reason, message)
