"""The beginning of a rollout: why it cannot start, and the state that it starts from.

A canary of the target that is there already is adopted with the weight that it has, whoever created
it: a person, Helm, or a controller whose status cannot be read any more. Its traffic never falls.
"""

from msgspec.structs import replace

from predictor.rollout.observation import Canary, Observation, Service
from predictor.rollout.pods import with_numbers
from predictor.rollout.spec import Spec
from predictor.rollout.state import TERMINAL, State, TransitionReason
from predictor.rollout.transitions import fail, transition


def block(spec: Spec, state: State, observation: Observation, now: float) -> State:
    """The state of a rollout that cannot start, or cannot go on."""
    if state.phase in TERMINAL:
        return state
    reason, message = _obstacle(spec, observation)
    if observation.service is None and state.phase != "Pending":
        return fail(state, now, reason, message)
    waiting = replace(state, target="", weight=0, weight_applied_at=None)
    return transition(waiting, now, "Pending", reason, message)


def _obstacle(spec: Spec, observation: Observation) -> tuple[TransitionReason, str]:
    unsupported = observation.unsupported_reason
    if observation.service is None:
        if unsupported:
            return "InferenceServiceUnsupported", unsupported
        message = f"there is no InferenceService {spec.inference_service}"
        return "InferenceServiceNotFound", message
    if other := observation.conflicting_rollout:
        return "ConflictingRollout", f"rollout {other} manages this service"
    return "InferenceServiceUnsupported", unsupported


def begin(spec: Spec, state: State, service: Service, now: float) -> State:
    """The first state for a new target; the transitions of earlier ones stay."""
    target, canary = spec.target, service.canary
    fresh = State(
        # Of a rollout before this one that has not given them back yet.
        stable_pods=state.stable_pods,
        min_replicas=state.min_replicas,
        max_replicas=state.max_replicas,
        autoscaler_min=state.autoscaler_min,
        transitions=state.transitions,
        target=target.key,
        target_uri=target.storage_uri,
        stable_uri=service.stable_uri,
        stable_image=service.stable_image,
        stable_name=service.stable_name,
        stable_revision=service.stable_revision,
        canary=target.name,
        phase_since=now,
        undecided_since=now,
        no_success_since=now,
    )
    is_stable = service.stable_uri == target.storage_uri and canary is None
    if is_stable and target.image in ("", service.stable_image):
        message = f"{target.storage_uri} is stable"
        return transition(fresh, now, "Succeeded", "AlreadyStable", message)
    if canary is not None and (canary.name, canary.uri) != (target.name, target.storage_uri):
        message = f"the service already has another canary: {canary.name} {canary.uri}"
        return _wait(state, now, "ConflictingCanary", message)
    if target.name == service.stable_name:
        message = f"the stable predictor is already called {target.name}: rename the target"
        return _wait(state, now, "PredictorNameInUse", message)
    fresh = with_numbers(spec, fresh, service)
    if canary is not None and canary.weight:
        return _adopt(spec, fresh, canary, now)
    message = f"{target.storage_uri} starts as {target.name}"
    return transition(fresh, now, "Preparing", "CanaryStarting", message)


def _wait(state: State, now: float, reason: TransitionReason, message: str) -> State:
    """Pending; a state that was Pending before keeps its times."""
    waiting = State(transitions=state.transitions, phase_since=now)
    return transition(
        state if state.phase == "Pending" else waiting, now, "Pending", reason, message
    )


def _adopt(spec: Spec, fresh: State, canary: Canary, now: float) -> State:
    """Go on at the highest step that the canary's weight has reached.

    Below the first step the canary is prepared, and the first successful analysis starts that step.
    """
    adopted = replace(fresh, weight=canary.weight, previous_weight=canary.weight)
    message = f"{canary.uri} is the canary {canary.name} already, with weight {canary.weight}"
    reached = [n for n, step in enumerate(spec.steps) if step.weight <= canary.weight]
    if not reached:
        return transition(adopted, now, "Preparing", "CanaryAdopted", message)
    at_step = replace(adopted, step=reached[-1])
    return transition(at_step, now, "Progressing", "CanaryAdopted", message)
