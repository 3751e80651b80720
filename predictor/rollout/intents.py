"""What is to be done now: it follows from the written state and what is there, and nothing else.

Whoever takes over from a controller that died therefore does the same.
"""

from dataclasses import dataclass, replace
from math import ceil

from predictor.rollout.seen import Canary, Seen, Service
from predictor.rollout.spec import Compare, Spec
from predictor.rollout.state import State

# Seconds between the gateway's word that it has a route and the removal of what the old one names:
# its proxies take it over a moment later.
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Shape:
    """There shall be a canary with this weight, percent, and at least so many pods.

    compare: headers that choose a version, beside the weight; with any other intent none does.
    """

    weight: int
    replicas: int
    compare: Compare | None = None


@dataclass(frozen=True, slots=True)
class Promote:
    """The canary, which has all of the traffic, shall be the stable predictor."""


@dataclass(frozen=True, slots=True)
class Remove:
    """The canary, which has no traffic, shall go."""


Intent = Keep | Shape | Promote | Remove


def wanted_pods(service: Service, weight: int) -> int:
    """Pods that can carry a share of the traffic as well as the stable ones do; at least one."""
    return max(1, ceil(service.ready * weight / 100))


def intent_of(spec: Spec, state: State, seen: Seen, now: float) -> Intent:
    """What to do for a state that has been written."""
    service = seen.service
    if service is None:
        return Keep()
    if state.phase in ("Preparing", "Progressing", "Paused", "Comparing"):
        wanted = _towards(state, service)
        return replace(wanted, compare=_by_header(spec, state, service))
    canary = service.canary
    if canary is None or canary.name != state.canary:
        return Keep()
    if state.phase == "Promoting":
        is_over = _is_settled(state, service, canary, 100, now)
        return Promote() if is_over else _towards(state, service)
    if state.phase == "RollingBack":
        return Remove() if _is_settled(state, service, canary, 0, now) else Shape(0, 1)
    return Keep()


def _towards(state: State, service: Service) -> Shape:
    """Pods first: a weight never rises before there are ready pods for it."""
    canary = service.canary
    replicas = wanted_pods(service, state.weight)
    if canary is None:
        return Shape(0, replicas)
    if canary.ready < replicas and state.weight > canary.weight:
        return Shape(canary.weight, replicas)
    return Shape(state.weight, replicas)


def _by_header(spec: Spec, state: State, service: Service) -> Compare | None:
    """Nobody is sent to a canary without pods; who has it keeps it while they come back."""
    if state.phase == "Preparing" or state.forced or service.canary is None:
        return None
    return spec.compare if service.canary.ready or service.by_header else None


def _is_settled(state: State, service: Service, canary: Canary, weight: int, now: float) -> bool:
    """Whether the gateway sends just this share, for a while by now, whatever the headers."""
    if service.by_header:
        return False
    if canary.routed != weight or state.weight != weight or state.arrived is None:
        return False
    return now - state.arrived >= SETTLE_S
