"""What people request by the annotation `predictor.dev/action`; each command may come twice."""

from msgspec.structs import replace

from predictor.rollout.observation import Observation
from predictor.rollout.spec import Spec
from predictor.rollout.state import ACTIVE, Phase, State
from predictor.rollout.transitions import roll_back, transition


def apply_command(spec: Spec, state: State, observation: Observation, now: float) -> State | None:
    """The state after the command; None if there is none, or it does not apply."""
    action = observation.action
    if action == "retry" and state.phase == "Failed":
        return State(transitions=state.transitions, phase_since=now)
    if state.phase not in ACTIVE:
        return None
    if action == "abort":
        return roll_back(state, now, "Aborted", "aborted manually")
    if action == "promote" and not state.promote_requested:
        return _promote(spec, state, observation, now)
    if action == "resume" and state.phase == "Paused":
        resumed = replace(
            state,
            undecided_verdict="",
            undecided_since=now,
            no_success_since=now,
            consecutive_failures=0,
            last_resumed_step=state.step,
        )
        return transition(resumed, now, "Progressing", "Resumed", "resumed manually")
    return None


def _promote(spec: Spec, state: State, observation: Observation, now: float) -> State:
    """All traffic for the canary; a canary that does not exist yet is still prepared."""
    canary = observation.service.canary if observation.service else None
    requested = replace(
        state,
        promote_requested=True,
        step=spec.last,
        weight=100,
        previous_weight=canary.weight if canary else 0,
        weight_applied_at=None,
        unrouted_since=None,
    )
    # In any other phase a missing canary would count as removed externally.
    phase: Phase = "Progressing" if canary else "Preparing"
    return transition(requested, now, phase, "PromoteRequested", "promoted manually")
