"""From the state and what is seen to the next state, and what to do: a pure function.

Rules that hold whatever is seen (tests/unit/rollout/test_decide.py):

* a weight rises only after a look that was Successful, or because a person said promote;
* it rises to the next step's and never above 100;
* what failed is rolled back and not tried again until the target changes or a person says retry;
* what somebody else does to the InferenceService is accepted and never fought.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from predictor.rollout.intents import Intent, intent_of, wanted_pods
from predictor.rollout.moves import abandon, fail, move, pause, to_step
from predictor.rollout.seen import Seen, Service
from predictor.rollout.spec import Spec, seconds
from predictor.rollout.state import TERMINAL, Phase, State
from predictor.rollout.weighing import observe, until_now, weigh

ACTIVE: frozenset[Phase] = frozenset({"Preparing", "Progressing", "Paused", "Comparing"})
# What has begun to end is brought to its end, whatever else is wrong.
ENDING: frozenset[Phase] = frozenset({"Promoting", "RollingBack"})


@dataclass(frozen=True, slots=True)
class Decision:
    """state: to be written first; intent: to be done then."""

    state: State
    intent: Intent


def decide(spec: Spec, state: State, seen: Seen, now: float) -> Decision:
    """One step of one rollout.

    Args:
        now: seconds since 1970.
    """
    after = advance(spec, state, seen, now)
    return Decision(after, intent_of(spec, after, seen, now))


def is_due(spec: Spec, state: State, service: Service, now: float) -> bool:
    """Whether the versions should be looked at: the canary answers, and it is time again."""
    if state.phase not in ACTIVE or state.forced or state.target != spec.target.key:
        return False
    canary = service.canary
    if canary is None or not canary.ready or state.arrived is None:
        return False
    return now - state.looked >= seconds(spec.analysis.interval) or now < state.looked


def advance(spec: Spec, state: State, seen: Seen, now: float) -> State:
    """The next state, at most one phase further."""
    service = seen.service
    state = until_now(state, now)
    is_busy = state.phase in ACTIVE or state.phase in ENDING
    is_other = seen.rival and state.phase not in ENDING
    if service is None or is_other or (seen.trouble and not is_busy):
        return _blocked(spec, state, seen, now)
    if state.target != spec.target.key:
        if state.phase in ACTIVE:
            return abandon(state, now, "another target is wanted")
        if state.phase not in ENDING:
            return _begin(spec, state, service, now)
    acted = _act(spec, state, seen, now)
    return acted if acted is not None else _go_on(spec, state, seen, service, now)


def _go_on(spec: Spec, state: State, seen: Seen, service: Service, now: float) -> State:
    if state.phase == "Promoting":
        return _promoting(observe(state, service, now), service, now)
    if state.phase == "RollingBack":
        return _rolling_back(observe(state, service, now), service, now)
    if state.phase not in ACTIVE:
        return state
    moved = _moved_by_others(state, service, now)
    return moved if moved is not state else _active(spec, state, seen, service, now)


def _blocked(spec: Spec, state: State, seen: Seen, now: float) -> State:
    if state.phase in TERMINAL:
        return state
    if seen.service is None:
        why = seen.trouble or f"there is no InferenceService {spec.inference_service}"
        if state.phase != "Pending":
            return fail(state, now, why)
    else:
        why = f"rollout {seen.rival} has this service" if seen.rival else seen.trouble
    return move(replace(state, target="", weight=0, arrived=None), now, "Pending", why)


def _begin(spec: Spec, state: State, service: Service, now: float) -> State:
    """A new target; the history stays."""
    target, canary = spec.target, service.canary
    fresh = State(
        history=state.history,
        target=target.key,
        target_uri=target.storage_uri,
        stable_uri=service.stable_uri,
        stable_image=service.stable_image,
        stable_name=service.stable_name,
        canary=target.name,
        since=now,
        wrong_since=now,
        doubt_since=now,
    )
    is_stable = service.stable_uri == target.storage_uri and canary is None
    if is_stable and target.image in ("", service.stable_image):
        return move(fresh, now, "Succeeded", f"{target.storage_uri} is stable")
    waiting = State(history=state.history, since=now)
    if canary is not None and (canary.name, canary.uri) != (target.name, target.storage_uri):
        why = f"the service has a canary already: {canary.name} {canary.uri}"
        return move(_like(state, waiting), now, "Pending", why)
    if target.name == service.stable_name:
        why = f"the stable predictor is called {target.name} already: the target needs another name"
        return move(_like(state, waiting), now, "Pending", why)
    # One that is there already, of this target, is taken over with the weight that it has.
    weight = canary.weight if canary is not None else 0
    why = f"{target.storage_uri} comes in as {target.name}"
    return move(replace(fresh, weight=weight, before=weight), now, "Preparing", why)


def _like(state: State, waiting: State) -> State:
    """To say the same thing again is no news."""
    return state if state.phase == "Pending" else waiting


def _act(spec: Spec, state: State, seen: Seen, now: float) -> State | None:
    """What a person asked for once; every word may come twice without harm."""
    if seen.action == "retry" and state.phase == "Failed":
        return State(history=state.history, since=now)
    if state.phase not in ACTIVE:
        return None
    if seen.action == "abort":
        return abandon(state, now, "a person said abort")
    if seen.action == "promote" and not state.forced:
        canary = seen.service.canary if seen.service else None
        before = canary.weight if canary else 0
        forced = replace(state, forced=True, step=spec.last, weight=100, before=before)
        # A canary that is not there yet has not been removed by anybody.
        phase: Phase = "Progressing" if canary else "Preparing"
        unsent = replace(forced, arrived=None, unrouted_since=None)
        return move(unsent, now, phase, "a person said promote")
    if seen.action == "resume" and state.phase == "Paused":
        calm = replace(state, wrong="", wrong_since=now, doubt_since=now, failures=0)
        return move(replace(calm, answered=state.step), now, "Progressing", "a person said resume")
    return None


def _active(spec: Spec, state: State, seen: Seen, service: Service, now: float) -> State:
    state = observe(state, service, now)
    if (late := _late(spec, state, service, now)) is not None:
        return late
    if state.forced:
        promoting = state.arrived is not None and state.unready_since is None
        return move(state, now, "Promoting", "all traffic is there") if promoting else state
    if not seen.measures or state.looked == now:  # one look counts once
        return state
    state = weigh(spec, state, seen.measures, now)
    is_good = not state.failures and not state.wrong and state.unready_since is None
    if is_good and state.phase in ("Preparing", "Progressing") and not spec.paused:
        return _next(spec, state, now)
    return state


def _moved_by_others(state: State, service: Service, now: float) -> State:
    """What somebody else did to the service; the state itself if nobody did."""
    canary = service.canary
    if canary is None:
        return _without_canary(state, service, now)
    if (canary.name, canary.uri) != (state.canary, state.target_uri):
        return fail(state, now, f"somebody else put {canary.uri} in the canary's place")
    if service.stable_uri != state.stable_uri:
        return abandon(state, now, "somebody else changed the stable model")
    if canary.weight not in (state.weight, state.before):
        accepted = replace(state, weight=canary.weight, before=canary.weight, forced=False)
        unsent = replace(accepted, arrived=None, unrouted_since=None)
        return pause(unsent, now, f"somebody else set weight {canary.weight}")
    return state


def _without_canary(state: State, service: Service, now: float) -> State:
    if service.stable_uri == state.target_uri != state.stable_uri:
        return move(replace(state, weight=0), now, "Succeeded", "somebody else promoted it")
    if state.phase == "Preparing":
        return state
    return fail(state, now, "somebody else removed the canary")


def _late(spec: Spec, state: State, service: Service, now: float) -> State | None:
    """Rolled back, if pods or the gateway have been waited for long enough."""
    deadline = spec.limits.progress_deadline
    if state.unready_since is not None:
        if now - state.unready_since <= seconds(deadline):
            return None
        ready = service.canary.ready if service.canary else 0
        wanted = wanted_pods(service, state.weight)
        return abandon(state, now, f"{ready} of {wanted} pods were ready within {deadline}")
    unrouted = state.unrouted_since
    if unrouted is not None and now - unrouted > seconds(deadline):
        return abandon(state, now, f"no gateway took weight {state.weight} over within {deadline}")
    return None


def _next(spec: Spec, state: State, now: float) -> State:
    """One step on, if the weight has arrived and its hold is over."""
    if state.arrived is None:
        return state
    if state.phase == "Preparing":
        higher = (n for n, step in enumerate(spec.steps) if step.weight >= state.weight)
        first = next(higher, spec.last)
        return to_step(state, now, first, spec.steps[first])
    index = min(state.step, spec.last)
    step = spec.steps[index]
    if now - state.arrived < seconds(step.hold):
        return state
    if step.pause and state.answered < index:
        return pause(state, now, f"step {index + 1} asks a person; {state.canary} is good so far")
    return _after(spec, state, now, index)


def _after(spec: Spec, state: State, now: float, index: int) -> State:
    """What comes after a step that went well."""
    if index < spec.last:
        return to_step(state, now, index + 1, spec.steps[index + 1])
    if spec.strategy == "Compare":
        return move(state, now, "Comparing", f"both versions stay, {state.weight} % canary")
    if state.weight < 100:  # somebody else had set it, or the steps have changed
        return to_step(state, now, index, replace(spec.steps[index], weight=100))
    return move(state, now, "Promoting", "every step was good")


def _promoting(state: State, service: Service, now: float) -> State:
    """Never back from here: half a promotion is mended by its other half."""
    if service.canary is not None or not service.settled:
        return state
    if service.stable_uri != state.target_uri:
        return fail(state, now, "somebody else changed the service during the promotion")
    return move(replace(state, weight=0), now, "Succeeded", f"{state.canary} is stable")


def _rolling_back(state: State, service: Service, now: float) -> State:
    canary = service.canary
    if canary is not None and canary.name == state.canary:
        return state
    return fail(state, now, state.reason)
