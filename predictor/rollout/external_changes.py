"""What others change in the InferenceService while a rollout is active: accepted, never fought."""

from msgspec.structs import replace

from predictor.rollout.observation import Service
from predictor.rollout.state import State
from predictor.rollout.transitions import fail, pause, roll_back, transition


def accept_external_changes(state: State, service: Service, now: float) -> State:
    """The state after an external change; the state itself if there was none."""
    canary = service.canary
    if canary is None:
        return _without_canary(state, service, now)
    if (canary.name, canary.uri) != (state.canary, state.target_uri):
        message = f"the canary was replaced externally by {canary.uri}"
        return fail(state, now, "CanaryReplacedExternally", message)
    if service.stable_uri != state.stable_uri:
        message = "the stable model was changed externally"
        return roll_back(state, now, "StableVersionChangedExternally", message)
    if canary.weight not in (state.weight, state.previous_weight):
        accepted = replace(
            state,
            weight=canary.weight,
            previous_weight=canary.weight,
            promote_requested=False,
            weight_applied_at=None,
            unrouted_since=None,
        )
        message = f"weight changed externally to {canary.weight}"
        return pause(accepted, now, "WeightChangedExternally", message)
    return state


def _without_canary(state: State, service: Service, now: float) -> State:
    if service.stable_uri == state.target_uri != state.stable_uri:
        promoted = replace(state, weight=0)
        message = "the target was promoted externally"
        return transition(promoted, now, "Succeeded", "PromotedExternally", message)
    if state.phase == "Preparing":
        return state
    return fail(state, now, "CanaryRemovedExternally", "the canary was removed externally")
