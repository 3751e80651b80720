"""One autoscaler, a HorizontalPodAutoscaler or KEDA's ScaledObject: what it scales, and its limits.

Pure.
"""

from typing import Any

from predictor.controller.objects import Object
from predictor.rollout.state import NO_NUMBER, State

# Names of the fields with the least and the most pods, by kind.
LIMITS = {
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
    "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
}
# That the API server or KEDA takes where the object says nothing.
DEFAULT_MIN = {"HorizontalPodAutoscaler": 1, "ScaledObject": 0}

Autoscaler = tuple[str, Object]


def is_foreign(autoscaler: Autoscaler) -> bool:
    """Whether somebody else than KServe has created it."""
    return not is_of_kserve(autoscaler[1])


def is_of_kserve(autoscaler: Object) -> bool:
    """Whether KServe created it for an InferenceService (classes `hpa` and `keda`)."""
    owners = autoscaler["metadata"].get("ownerReferences") or []
    return any(owner.get("kind") == "InferenceService" for owner in owners)


def min_pods(autoscaler: Autoscaler) -> int:
    kind, target = autoscaler
    return int(target["spec"].get(LIMITS[kind][0], DEFAULT_MIN[kind]))


def with_min(autoscaler: Autoscaler, pods: int) -> Object:
    """The fields of its spec with which it never has fewer pods."""
    kind, target = autoscaler
    least, most = LIMITS[kind]
    changed = {least: pods}
    if most in target["spec"] and target["spec"][most] < pods:
        changed[most] = pods
    return changed


def released(autoscaler: Autoscaler, state: State) -> Object:
    """The fields with the least number of before, if the number of now is the one that was held."""
    is_held = min_pods(autoscaler) == state.stable_pods > state.autoscaler_min
    if state.autoscaler_min == NO_NUMBER or not is_held or not is_foreign(autoscaler):
        return {}
    kind = autoscaler[0]
    return {LIMITS[kind][0]: max(state.autoscaler_min, DEFAULT_MIN[kind])}


def redirected(autoscaler: Object, deployment: str) -> Object:
    """The fields of its spec that let an autoscaler scale another Deployment, by its metrics.

    An external metric selects by the label `deployment`, a trigger of KEDA by its query: without
    the new name there it would scale by the load of the pods that were removed.
    """
    spec = autoscaler["spec"]
    old = spec["scaleTargetRef"]["name"]
    changed: Object = {"scaleTargetRef": spec["scaleTargetRef"] | {"name": deployment}}
    for field in ("metrics", "triggers"):
        if field in spec and (renamed := _renamed(spec[field], old, deployment)) != spec[field]:
            changed[field] = renamed
    return changed


def _renamed(node: Any, old: str, new: str) -> Any:
    """The same tree with the name replaced where it is a whole value, or quoted in a query."""
    if isinstance(node, dict):
        return {key: _renamed(value, old, new) for key, value in node.items()}
    if isinstance(node, list):
        return [_renamed(value, old, new) for value in node]
    if isinstance(node, str):
        return new if node == old else node.replace(f'"{old}"', f'"{new}"')
    return node
