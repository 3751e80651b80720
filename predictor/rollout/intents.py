"""What is to be done now: it follows from the written state and the observation, nothing else.

A controller that takes over from one that died therefore does the same.
"""

from dataclasses import dataclass, replace

from predictor.rollout.observation import Canary, Observation, Service
from predictor.rollout.pods import owes_numbers, pods_for
from predictor.rollout.spec import Compare, Spec
from predictor.rollout.state import TERMINAL, State

# Between the gateway's report that it has a route and the removal of what the old route names,
# seconds: its proxies apply the route a moment later.
APPLY_S = 3.0


@dataclass(frozen=True, slots=True)
class NoOp:
    """Nothing is to be done."""


@dataclass(frozen=True, slots=True)
class SetCanary:
    """There shall be a canary with this weight and at least so many pods."""

    # Percent of the traffic.
    weight: int
    # Least number of pods.
    replicas: int
    # Headers that choose a version beside the weight; no other intent has such a route.
    compare: Compare | None = None


@dataclass(frozen=True, slots=True)
class Promote:
    """The canary, which has all of the traffic, shall be the stable predictor."""


@dataclass(frozen=True, slots=True)
class Remove:
    """The canary, which has no traffic, shall be removed."""


@dataclass(frozen=True, slots=True)
class RestoreReplicas:
    """The service, which has no canary any more, shall have its own numbers of pods again."""


Intent = NoOp | SetCanary | Promote | Remove | RestoreReplicas


def intent_of(spec: Spec, state: State, observation: Observation, now: float) -> Intent:
    """What to do for a state that has been written."""
    service = observation.service
    if service is None:
        return NoOp()
    if state.phase in ("Preparing", "Progressing", "Paused", "Comparing"):
        set_canary = _set_weight(state, service)
        return replace(set_canary, compare=_compare_of(spec, state, service))
    if state.phase in TERMINAL and owes_numbers(state, service):
        return RestoreReplicas()
    canary = service.canary
    if canary is None or canary.name != state.canary:
        return NoOp()
    return _end(state, service, canary, now)


def _end(state: State, service: Service, canary: Canary, now: float) -> Intent:
    if state.phase == "Promoting":
        is_complete = _is_routed(state, service, canary, 100, now)
        return Promote() if is_complete else _set_weight(state, service)
    if state.phase == "RollingBack":
        return Remove() if _is_routed(state, service, canary, 0, now) else SetCanary(0, 1)
    return NoOp()


def _set_weight(state: State, service: Service) -> SetCanary:
    """Pods first: a weight never rises before there are ready pods for it."""
    canary = service.canary
    replicas = pods_for(state, state.weight)
    if canary is None:
        return SetCanary(0, replicas)
    if canary.ready < replicas and state.weight > canary.weight:
        return SetCanary(canary.weight, replicas)
    return SetCanary(state.weight, replicas)


def _compare_of(spec: Spec, state: State, service: Service) -> Compare | None:
    """No route is created to a canary without pods; one that exists stays while pods restart."""
    if state.phase == "Preparing" or state.promote_requested or service.canary is None:
        return None
    return spec.compare if service.canary.ready or service.by_header else None


def _is_routed(state: State, service: Service, canary: Canary, weight: int, now: float) -> bool:
    """Whether the gateway has sent exactly this share for `APPLY_S`, whatever the headers."""
    if service.by_header:
        return False
    if canary.routed != weight or state.weight != weight or state.weight_applied_at is None:
        return False
    return now - state.weight_applied_at >= APPLY_S
