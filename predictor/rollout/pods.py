"""How many pods each version has during a rollout, so that a version with all traffic has all pods.

The stable version keeps the pods that it had when the rollout began, until the canary is promoted:
a bad canary can be taken back at once. The canary has its share of that number, ready, before its
weight rises.

KServe takes the canary's pods off the stable predictor's `minReplicas` as soon as one of them is
available (predictor.go, adjustStableMinReplicasForCanaries), so that number is raised by them.
"""

from math import ceil

from msgspec.structs import replace

from predictor.rollout.observation import Service
from predictor.rollout.spec import Spec
from predictor.rollout.state import NO_NUMBER, State


def pods_for(state: State, weight: int) -> int:
    """Pods that can carry a share of the traffic as well as the stable ones do; at least one."""
    return max(1, ceil(state.stable_pods * weight / 100))


def raised_min(state: State, canary_pods: int) -> int:
    """`minReplicas` with which KServe leaves the stable version all of its pods."""
    return max(state.min_replicas, state.stable_pods) + canary_pods


def raised_max(state: State, canary_pods: int) -> int:
    """`maxReplicas` beside `raised_min`; `NO_NUMBER`: the service has none."""
    if state.max_replicas < 1:  # KServe takes 0 for no limit
        return NO_NUMBER
    return max(state.max_replicas + canary_pods, raised_min(state, canary_pods))


def record_numbers(spec: Spec, state: State, service: Service) -> State:
    """The pods of the stable version, and the numbers that the service gets back at the end.

    A canary that is there already may have taken pods of the stable version, or somebody may have
    raised the numbers for it: `spec.minReplicas` says which.
    """
    canary = service.canary
    least, most = service.min_replicas, service.max_replicas
    pods = max(service.ready, service.autoscaler_min, 1)
    if canary is not None and least != NO_NUMBER:
        plain = least if spec.min_replicas is None else min(least, spec.min_replicas)
        if least >= plain + canary.pods:
            most = _without(most, least - plain)
            least = plain
        else:
            pods = max(pods, service.ready + canary.ready)
    return replace(
        state,
        stable_pods=pods,
        min_replicas=least,
        max_replicas=most,
        autoscaler_min=service.autoscaler_min,
    )


def owes_numbers(state: State, service: Service) -> bool:
    """Whether a rollout that has ended without a canary left the service's numbers raised.

    That is so if the canary was removed by somebody else. Numbers that cannot be those of this
    rollout are left alone.
    """
    if not state.stable_pods or service.canary is not None or service.min_replicas == NO_NUMBER:
        return False
    raised_by = service.min_replicas - max(state.min_replicas, state.stable_pods)
    return 0 < raised_by <= state.stable_pods


def _without(most: int, raised_by: int) -> int:
    return most if most < 1 else max(most - raised_by, 1)


def with_numbers(spec: Spec, state: State, service: Service) -> State:
    """The state of a running rollout with its numbers; those of the spec go before the service's.

    A state that an earlier controller has written has none.
    """
    if not state.stable_pods:
        state = record_numbers(spec, state, service)
    return replace(
        state,
        min_replicas=_preferred(spec.min_replicas, state.min_replicas),
        max_replicas=_preferred(spec.max_replicas, state.max_replicas),
        autoscaler_min=_preferred(spec.min_replicas, state.autoscaler_min),
    )


def _preferred(of_spec: int | None, known: int) -> int:
    return known if of_spec is None or known == NO_NUMBER else of_spec


def without_numbers(state: State) -> State:
    """The state once everything was given back."""
    return replace(
        state,
        stable_pods=0,
        min_replicas=NO_NUMBER,
        max_replicas=NO_NUMBER,
        autoscaler_min=NO_NUMBER,
    )
