"""Canaries in Standard mode: `spec.canary[]`, split by the weights of an HTTPRoute. Pure.

Names and rules are KServe's; its source files are named beside them.
"""

from collections.abc import Mapping

from predictor.controller.objects import Object
from predictor.controller.replicas import is_scaled_by_kserve, number
from predictor.rollout.intents import SetCanary
from predictor.rollout.observation import Canary, Service
from predictor.rollout.spec import Spec, Target
from predictor.rollout.state import NO_NUMBER

MODE = "serving.kserve.io/deploymentMode"
ISVC_LABEL = "serving.kserve.io/inferenceservice"


def deployment_name(service: str, predictor: str) -> str:
    """Name of a predictor's Deployment and Service (kserve constants.go, PredictorServiceName)."""
    return f"{service}-{predictor}-predictor" if predictor else f"{service}-predictor"


def unsupported_reason(isvc: Object, spec: Spec) -> str:
    """Why this InferenceService cannot have a canary; empty if it can."""
    del spec
    predictor = isvc["spec"].get("predictor", {})
    if "model" not in predictor:
        return "its predictor has no `model`: KServe supports canaries of models only"
    if len(isvc["spec"].get("canary", [])) > 1:
        return "it has more than one canary"
    return ""


def read(isvc: Object, route: Object | None, deployments: Mapping[str, Object]) -> Service:
    """The versions, their weights and their ready pods.

    Args:
        route: the HTTPRoute that has the InferenceService's name.
        deployments: by name.
    """
    name = isvc["metadata"]["name"]
    predictor = isvc["spec"]["predictor"]
    stable_name = predictor.get("name", "")
    stable = deployment_name(name, stable_name)
    programmed = route is not None and is_programmed(route)
    shares = _shares(route) if route is not None else {}
    canaries = isvc["spec"].get("canary", [])
    canary = None
    if canaries:
        canary_predictor = canaries[0]["predictor"]
        deployment = deployment_name(name, canary_predictor["name"])
        canary = Canary(
            name=canary_predictor["name"],
            uri=canary_predictor.get("model", {}).get("storageUri", ""),
            weight=int(canaries[0].get("trafficPercent", 0)),
            routed=shares.get(deployment, 0) if programmed and shares else None,
            ready=_ready(deployments.get(deployment)),
            pods=int(canary_predictor.get("minReplicas", 1)),
        )
    is_scaled = is_scaled_by_kserve(isvc)
    return Service(
        stable_name=stable_name,
        stable_uri=predictor["model"].get("storageUri", ""),
        stable_image=predictor["model"].get("image", ""),
        ready=_ready(deployments.get(stable)),
        canary=canary,
        settled=programmed and (canary is not None or set(shares) == {stable}),
        min_replicas=number(predictor, "minReplicas") if is_scaled else NO_NUMBER,
        max_replicas=number(predictor, "maxReplicas") if is_scaled else NO_NUMBER,
    )


def is_programmed(route: Object) -> bool:
    """Whether every gateway has applied this generation of the route."""
    generation = route["metadata"].get("generation")
    parents = route.get("status", {}).get("parents", [])
    conditions = [entry for parent in parents for entry in parent.get("conditions", [])]
    return bool(conditions) and all(
        condition["status"] == "True" and condition.get("observedGeneration") == generation
        for condition in conditions
    )


def _shares(route: Object) -> dict[str, int]:
    """Percent by backend, of the rule for REST, which is the last one."""
    backends = route["spec"]["rules"][-1].get("backendRefs", [])
    if len(backends) == 1:
        return {backends[0]["name"]: 100}
    return {backend["name"]: int(backend.get("weight", 1)) for backend in backends}


def _ready(deployment: Object | None) -> int:
    return int((deployment or {}).get("status", {}).get("readyReplicas") or 0)


def set_canary(isvc: Object, target: Target, intent: SetCanary) -> Object | None:
    """The patch for the intended canary; None: the service has it already.

    The canary's list entry is sent whole: a merge patch replaces lists.
    """
    entries = isvc["spec"].get("canary", [])
    if entries:
        entry = _changed_entry(entries[0], isvc, intent)
    else:
        entry = _new_entry(isvc, target, intent)
    return None if entries == [entry] else {"spec": {"canary": [entry]}}


def _new_entry(isvc: Object, target: Target, intent: SetCanary) -> Object:
    """The stable predictor's model with another URI, so that the promotion restarts no pod."""
    model = dict(isvc["spec"]["predictor"]["model"])
    model["storageUri"] = target.storage_uri
    if target.image:
        model["image"] = target.image
    # The CRD of KServe 0.21 requires the field, and its webhook requires it to be empty.
    model.setdefault("name", "")
    predictor = {"name": target.name, "minReplicas": _replicas(isvc, intent), "model": model}
    return {"trafficPercent": intent.weight, "predictor": predictor}


def _changed_entry(entry: Object, isvc: Object, intent: SetCanary) -> Object:
    predictor = dict(entry["predictor"])
    living = int(predictor.get("minReplicas", 1))
    predictor["minReplicas"] = max(_replicas(isvc, intent), living)
    return entry | {"trafficPercent": intent.weight, "predictor": predictor}


def _replicas(isvc: Object, intent: SetCanary) -> int:
    """KServe's webhook refuses more pods of the canary than of the stable predictor.

    Where KServe scales, the same patch raises the stable predictor's number; where it does not, an
    autoscaler or the Deployment's scale brings the rest.
    """
    if is_scaled_by_kserve(isvc):
        return intent.replicas
    return min(intent.replicas, max(1, number(isvc["spec"]["predictor"], "minReplicas")))


def promote(isvc: Object) -> Object | None:
    """The canary's name and model become the stable predictor's; None: there is no canary."""
    entries = isvc["spec"].get("canary", [])
    if not entries:
        return None
    canary = entries[0]["predictor"]
    # `name: ""` of the entry is not the stable predictor's: KServe refuses a name there.
    model: Object = {key: value for key, value in canary["model"].items() if key != "name"}
    stable_model = isvc["spec"]["predictor"]["model"]
    removed = {key: None for key in stable_model if key not in canary["model"]}
    predictor = {"name": canary["name"], "model": removed | model}
    return {"spec": {"predictor": predictor, "canary": None}}


def remove(isvc: Object) -> Object | None:
    """The patch without a canary; None: there is none."""
    return {"spec": {"canary": None}} if isvc["spec"].get("canary") else None
