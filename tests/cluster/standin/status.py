"""The status that KServe writes: conditions, canaries, addresses.

Sources: apis/serving/v1beta1/inference_service_status.go (PropagateRawStatus),
inferenceservice/components/predictor.go (canary statuses), ingress/httproute_reconciler.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.cluster.standin.merge import Object
from tests.cluster.standin.routes import host, problem_of
from tests.cluster.standin.workload import predictor_name


@dataclass(frozen=True)
class Living:
    """What is there now, by name: objects of this InferenceService, status included."""

    deployments: Mapping[str, Object] = field(default_factory=dict)
    services: Mapping[str, Object] = field(default_factory=dict)
    routes: Mapping[str, Object] = field(default_factory=dict)


def ready_canaries(isvc: Object, living: Living) -> set[str]:
    """Those with an available pod."""
    names = set()
    for canary in isvc["spec"].get("canary", []):
        name = predictor_name(isvc["metadata"]["name"], canary["predictor"]["name"])
        if living.deployments.get(name, {}).get("status", {}).get("availableReplicas", 0) > 0:
            names.add(canary["predictor"]["name"])
    return names


def _condition(deployment: Object, kind: str) -> Object:
    conditions = deployment.get("status", {}).get("conditions", [])
    matching: Object = next((c for c in conditions if c["type"] == kind), {})
    return matching


def predictor_condition(deployment: Object) -> Object:
    """PredictorReady out of the stable Deployment (PropagateRawStatus, 360-456)."""
    available, progressing = (
        _condition(deployment, "Available"),
        _condition(deployment, "Progressing"),
    )
    source, status = {}, "False"
    if available.get("status") == "True":
        source, status = available, "True"
    if progressing.get("status") == "False" and progressing.get("message"):
        source, status = progressing, "False"
    elif progressing.get("status") == "True":
        if progressing.get("reason") == "NewReplicaSetAvailable":
            source, status = progressing, "True"
        elif available.get("status") != "True":
            source, status = progressing, "Unknown"
    if available.get("status") == "False":
        source, status = available, "False"
    failure = _condition(deployment, "ReplicaFailure")
    if failure.get("status") == "True":
        source, status = failure, "False"
    return _new_condition(
        "PredictorReady", status, source.get("reason", ""), source.get("message", "")
    )


def _new_condition(
    kind: str, status: str, reason: str = "", message: str = "", **more: str
) -> Object:
    condition = {"type": kind, "status": status, "reason": reason, "message": message, **more}
    return {k: v for k, v in condition.items() if v}


def _ingress_condition(isvc: Object, living: Living) -> Object:
    """reconcileHTTPRouteStatus: the routes as the gateway reports them."""
    name = isvc["metadata"]["name"]
    checks = ((predictor_name(name), "Predictor"), (name, "InferenceService"))
    for route, component in checks:
        if problem := problem_of(living.routes.get(route), component):
            return _new_condition("IngressReady", "False", *problem)
    return _new_condition("IngressReady", "True")


def status_of(
    isvc: Object, runtime: Object | None, living: Living, predictor_ready: Object, ready: set[str]
) -> Object:
    """`observedGeneration` is the stable Deployment's, not the InferenceService's (line 456)."""
    metadata, stable = isvc["metadata"], isvc["spec"]["predictor"]
    canaries = isvc["spec"].get("canary", [])
    deployment_name = predictor_name(metadata["name"], stable.get("name", ""))
    deployment = living.deployments.get(deployment_name, {})
    ingress = _ingress_condition(isvc, living)
    conditions = [ingress, predictor_ready, _ready_of(predictor_ready, ingress)]
    conditions.append(_new_condition("Stopped", "False", severity="Info"))
    if canaries:
        all_ready = len(ready) == len(canaries)
        reason = "AllCanariesReady" if all_ready else "CanariesNotReady"
        conditions.append(
            _new_condition("CanaryPredictorReady", str(all_ready), reason, severity="Info")
        )
    status: Object = {
        "deploymentMode": "Standard",
        "conditions": sorted(conditions, key=lambda c: str(c["type"])),
        "components": {"predictor": {}},
        "modelStatus": _model_status(conditions),
    }
    if canaries:
        status["canaryStatuses"] = [
            {
                "name": c["predictor"]["name"],
                "ready": c["predictor"]["name"] in ready,
                "trafficPercent": c["trafficPercent"],
            }
            for c in canaries
        ]
    if (observed := deployment.get("status", {}).get("observedGeneration")) is not None:
        status["observedGeneration"] = observed
    if "model" in stable and runtime is not None:
        cluster = runtime["kind"] == "ClusterServingRuntime"
        key = "clusterServingRuntimeName" if cluster else "servingRuntimeName"
        status[key] = runtime["metadata"]["name"]
    if predictor_ready["status"] == "True":
        url = f"http://{host(deployment_name, metadata['namespace'])}"
        status["components"]["predictor"]["url"] = url
    if ingress["status"] == "True":
        status["url"] = f"http://{host(metadata['name'], metadata['namespace'])}"
        address = f"http://{deployment_name}.{metadata['namespace']}.svc.cluster.local"
        status["address"] = {"url": address}
    return status


def _ready_of(*dependents: Object) -> Object:
    """Ready is the worst of the two it depends on; the canary is not among them."""
    for status in ("False", "Unknown"):
        for condition in dependents:
            if condition["status"] == status:
                return condition | {"type": "Ready"}
    return _new_condition("Ready", "True")


def _model_status(conditions: list[Object]) -> Object:
    loaded = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    if loaded:
        return {
            "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
            "transitionStatus": "UpToDate",
        }
    return {
        "states": {"activeModelState": "", "targetModelState": "Pending"},
        "transitionStatus": "InProgress",
    }
