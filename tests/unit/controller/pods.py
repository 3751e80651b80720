"""How many pods KServe and the autoscalers give the two versions in Standard mode."""

from collections.abc import Iterable
from math import ceil
from typing import Any

from predictor.controller.standard import deployment_name

Object = dict[str, Any]
LEAST = {"HorizontalPodAutoscaler": "minReplicas", "ScaledObject": "minReplicaCount"}
MOST = {"HorizontalPodAutoscaler": "maxReplicas", "ScaledObject": "maxReplicaCount"}


def class_of(isvc: Object) -> str:
    """KServe's default is `hpa`."""
    annotations = isvc["metadata"].get("annotations", {})
    return str(annotations.get("serving.kserve.io/autoscalerClass", "hpa"))


def pods_by_kserve(isvc: Object, available: Iterable[str]) -> dict[str, int]:
    """Pods by Deployment, which KServe writes there or into its own autoscaler.

    The canary's number, whole, is taken off the stable predictor's as soon as one of its pods is
    available (predictor.go, adjustStableMinReplicasForCanaries at aaac4e294d).
    """
    name, spec = isvc["metadata"]["name"], isvc["spec"]
    stable = deployment_name(name, spec["predictor"].get("name", ""))
    least = int(spec["predictor"].get("minReplicas", 1))
    pods = {stable: least}
    for canary in spec.get("canary", []):
        predictor = canary["predictor"]
        deployment = deployment_name(name, predictor["name"])
        share = ceil(least * int(canary["trafficPercent"]) / 100)
        pods[deployment] = int(predictor.get("minReplicas", share))
        if deployment in available and pods[deployment]:
            pods[stable] = max(pods[stable] - pods[deployment], 1)
    return pods


def scaled(autoscaler: Object, load: float) -> int:
    """Pods that an autoscaler gives for a load, in pods."""
    kind, spec = autoscaler["kind"], autoscaler["spec"]
    least, most = spec.get(LEAST[kind], 1), spec.get(MOST[kind], 100)
    return int(min(max(ceil(load), least), most))
