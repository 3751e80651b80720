"""A pure function from the state and an observation to the next state and the intent.

These rules hold for every observation (tests/unit/rollout/test_decide.py):

* The weight rises only after a Successful analysis, or because of the command `promote`.
* It rises to the weight of the next step and never above 100.
* A canary that failed is rolled back and not tried again until the target changes or the command
  `retry` is given.
* A change of the InferenceService by another client is accepted and never reverted.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from predictor.rollout.admission import begin, block
from predictor.rollout.commands import apply_command
from predictor.rollout.external_changes import accept_external_changes
from predictor.rollout.intents import Intent, intent_of
from predictor.rollout.measurements import (
    clamp_future_times,
    record_measurements,
    record_served_weight,
    record_service,
)
from predictor.rollout.observation import Observation, Service
from predictor.rollout.pods import owes_numbers, pods_for, with_numbers, without_numbers
from predictor.rollout.spec import Spec, seconds
from predictor.rollout.state import ACTIVE, ENDING, TERMINAL, State
from predictor.rollout.transitions import fail, pause, roll_back, start_step, transition


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision after one observation."""

    # The controller writes it first.
    state: State
    # The controller carries it out after it has written the state.
    intent: Intent


def decide(spec: Spec, state: State, observation: Observation, now: float) -> Decision:
    """Decide one step of a rollout.

    Args:
        now: seconds since 1970.
    """
    after = advance(spec, state, observation, now)
    after = record_served_weight(after, observation.service)
    return Decision(after, intent_of(spec, after, observation, now))


def is_due(spec: Spec, state: State, service: Service, now: float) -> bool:
    """Whether an analysis is due: the canary gets its weight, and the interval has passed."""
    is_another_target = state.target != spec.target.key
    if state.phase not in ACTIVE or state.promote_requested or is_another_target:
        return False
    canary = service.canary
    if canary is None or not canary.ready or state.weight_applied_at is None:
        return False
    last = state.last_analysis_time
    return now - last >= seconds(spec.analysis.interval) or now < last


def advance(spec: Spec, state: State, observation: Observation, now: float) -> State:
    """Return the next state, at most one phase further."""
    service = observation.service
    state = clamp_future_times(state, now)
    is_busy = state.phase in ACTIVE or state.phase in ENDING
    has_conflict = observation.conflicting_rollout and state.phase not in ENDING
    is_unsupported = observation.unsupported_reason and not is_busy
    if service is None or has_conflict or is_unsupported:
        return block(spec, state, observation, now)
    if is_busy:
        state = with_numbers(spec, state, service)
    if state.target != spec.target.key:
        if state.phase in ACTIVE:
            return roll_back(state, now, "TargetChanged", "the target was changed")
        if state.phase not in ENDING:
            return begin(spec, state, service, now)
    commanded = apply_command(spec, state, observation, now)
    if commanded is not None:
        return commanded
    return _advance_phase(spec, state, observation, service, now)


def _advance_phase(
    spec: Spec, state: State, observation: Observation, service: Service, now: float
) -> State:
    if state.phase == "Promoting":
        return _advance_promotion(record_service(state, service, now), service, now)
    if state.phase == "RollingBack":
        return _advance_rollback(record_service(state, service, now), service, now)
    if state.phase in TERMINAL and state.stable_pods and not owes_numbers(state, service):
        return without_numbers(state)  # the autoscaler has its number back, too
    if state.phase not in ACTIVE:
        return state
    changed = accept_external_changes(state, service, now)
    if changed is not state:
        return changed
    return _advance_active(spec, state, observation, service, now)


def _advance_active(
    spec: Spec, state: State, observation: Observation, service: Service, now: float
) -> State:
    state = record_service(state, service, now)
    if (late := _check_deadline(spec, state, observation, service, now)) is not None:
        return late
    if state.promote_requested:
        has_all_traffic = state.weight_applied_at is not None and state.unready_since is None
        if not has_all_traffic:
            return state
        return transition(
            state, now, "Promoting", "AllTrafficMoved", "the canary has all of the traffic"
        )
    if not observation.measurements or state.last_analysis_time == now:  # each analysis counts once
        return state
    state = record_measurements(spec, state, observation.measurements, now)
    is_good = not state.consecutive_failures and not state.undecided_verdict
    is_ready = state.unready_since is None and not spec.paused
    if is_good and is_ready and state.phase in ("Preparing", "Progressing"):
        return _advance_step(spec, state, now)
    return state


def is_overdue(spec: Spec, state: State, now: float) -> bool:
    """Whether pods have been missing for longer than the deadline."""
    since = state.unready_since
    return since is not None and now - since > seconds(spec.limits.progress_deadline)


def _check_deadline(
    spec: Spec, state: State, observation: Observation, service: Service, now: float
) -> State | None:
    """Return a rolled-back state if the pods or the route took longer than the deadline."""
    deadline = spec.limits.progress_deadline
    if state.unready_since is not None:
        if not is_overdue(spec, state, now):
            return None
        ready = service.canary.ready if service.canary else 0
        required = pods_for(state, state.weight)
        message = f"{ready} of {required} pods were ready within {deadline}"
        if observation.canary_problem:
            message = f"{message}: {observation.canary_problem}"
        return roll_back(state, now, "ProgressDeadlineExceeded", message)
    unrouted = state.unrouted_since
    if unrouted is not None and now - unrouted > seconds(deadline):
        message = f"no gateway applied weight {state.weight} within {deadline}"
        return roll_back(state, now, "ProgressDeadlineExceeded", message)
    return None


def _advance_step(spec: Spec, state: State, now: float) -> State:
    """Start the next step if the gateway applies the weight and the step's hold has passed."""
    if state.weight_applied_at is None:
        return state
    if state.phase == "Preparing":
        higher = (n for n, step in enumerate(spec.steps) if step.weight >= state.weight)
        first = next(higher, spec.last)
        return start_step(state, now, first, spec.steps[first])
    index = min(state.step, spec.last)
    step = spec.steps[index]
    if now - state.weight_applied_at < seconds(step.hold):
        return state
    if step.pause and state.last_resumed_step < index:
        message = f"step {index + 1} waits for approval; {state.canary} was successful so far"
        return pause(state, now, "StepPause", message)
    return _finish_step(spec, state, now, index)


def _finish_step(spec: Spec, state: State, now: float, index: int) -> State:
    """Return the state after a successful step."""
    if index < spec.last:
        return start_step(state, now, index + 1, spec.steps[index + 1])
    if spec.strategy == "Compare":
        message = f"both versions stay; the canary has {state.weight} % of the traffic"
        return transition(state, now, "Comparing", "ComparisonStarted", message)
    if state.weight < 100:  # the weight was changed externally, or the steps have changed
        return start_step(state, now, index, replace(spec.steps[index], weight=100))
    return transition(state, now, "Promoting", "AllStepsSuccessful", "every step was successful")


def _advance_promotion(state: State, service: Service, now: float) -> State:
    """Advance a promotion; it is never reverted, because completing it repairs a partial one."""
    if service.canary is not None or not service.settled:
        return state
    if service.stable_uri != state.target_uri:
        message = "the service was changed externally during the promotion"
        return fail(state, now, "StableVersionChangedExternally", message)
    message = f"{state.canary} is stable"
    return transition(replace(state, weight=0), now, "Succeeded", "Promoted", message)


def _advance_rollback(state: State, service: Service, now: float) -> State:
    canary = service.canary
    if canary is not None and canary.name == state.canary:
        return state
    return fail(state, now, state.reason, state.message)
