"""Canaries in Standard mode: `spec.canary[]`, split by weights of an HTTPRoute. Pure.

Names and rules are KServe's; its source is named at each.
"""

from collections.abc import Mapping
from typing import Any

from predictor.rollout.intents import Shape
from predictor.rollout.seen import Canary, Service
from predictor.rollout.spec import Spec, Target

Object = dict[str, Any]

MODE = "serving.kserve.io/deploymentMode"
ISVC_LABEL = "serving.kserve.io/inferenceservice"


def deployment_name(service: str, predictor: str) -> str:
    """Of Deployment and Service of a predictor (kserve constants.go, PredictorServiceName)."""
    return f"{service}-{predictor}-predictor" if predictor else f"{service}-predictor"


def trouble(isvc: Object, spec: Spec) -> str:
    """Why this InferenceService can have no such canary; empty if it can."""
    del spec
    predictor = isvc["spec"].get("predictor", {})
    if "model" not in predictor:
        return "its predictor has no `model`: KServe makes canaries of models only"
    if len(isvc["spec"].get("canary", [])) > 1:
        return "it has more than one canary"
    return ""


def read(isvc: Object, route: Object | None, deployments: Mapping[str, Object]) -> Service:
    """What there is.

    Args:
        route: the HTTPRoute that has the InferenceService's name.
        deployments: by name.
    """
    name, predictor = isvc["metadata"]["name"], isvc["spec"]["predictor"]
    stable_name = predictor.get("name", "")
    stable = deployment_name(name, stable_name)
    programmed = route is not None and is_programmed(route)
    shares = _shares(route) if route is not None else {}
    canaries = isvc["spec"].get("canary", [])
    canary = None
    if canaries:
        own = canaries[0]["predictor"]
        wanted = deployment_name(name, own["name"])
        canary = Canary(
            name=own["name"],
            uri=own.get("model", {}).get("storageUri", ""),
            weight=int(canaries[0].get("trafficPercent", 0)),
            routed=shares.get(wanted, 0) if programmed and shares else None,
            ready=_ready(deployments.get(wanted)),
        )
    return Service(
        stable_name=stable_name,
        stable_uri=predictor["model"].get("storageUri", ""),
        stable_image=predictor["model"].get("image", ""),
        ready=_ready(deployments.get(stable)),
        canary=canary,
        settled=programmed and (canary is not None or set(shares) == {stable}),
    )


def is_programmed(route: Object) -> bool:
    """Whether every gateway has taken over this generation of the route."""
    generation = route["metadata"].get("generation")
    parents = route.get("status", {}).get("parents", [])
    conditions = [one for parent in parents for one in parent.get("conditions", [])]
    return bool(conditions) and all(
        one["status"] == "True" and one.get("observedGeneration") == generation
        for one in conditions
    )


def _shares(route: Object) -> dict[str, int]:
    """Percent by backend, of the rule for REST, which is the last."""
    backends = route["spec"]["rules"][-1].get("backendRefs", [])
    if len(backends) == 1:
        return {backends[0]["name"]: 100}
    return {backend["name"]: int(backend.get("weight", 1)) for backend in backends}


def _ready(deployment: Object | None) -> int:
    return int((deployment or {}).get("status", {}).get("readyReplicas") or 0)


def shape(isvc: Object, target: Target, wanted: Shape) -> Object | None:
    """The patch that makes it so; None: it is so.

    The canary's list entry is sent whole: a merge patch replaces lists.
    """
    found = isvc["spec"].get("canary", [])
    entry = _entry(isvc, target, wanted) if not found else _moved(found[0], isvc, wanted)
    return None if found == [entry] else {"spec": {"canary": [entry]}}


def _entry(isvc: Object, target: Target, wanted: Shape) -> Object:
    """The stable predictor's model with another URI, so that the promotion starts no pod anew."""
    model = dict(isvc["spec"]["predictor"]["model"])
    model["storageUri"] = target.storage_uri
    if target.image:
        model["image"] = target.image
    # The CRD of 0.21 wants it here, and the webhook wants it empty.
    model.setdefault("name", "")
    predictor = {"name": target.name, "minReplicas": _replicas(isvc, wanted), "model": model}
    return {"trafficPercent": wanted.weight, "predictor": predictor}


def _moved(entry: Object, isvc: Object, wanted: Shape) -> Object:
    predictor = dict(entry["predictor"])
    if wanted.weight:  # on the way back its pods are nobody's business
        least = max(_replicas(isvc, wanted), int(predictor.get("minReplicas", 1)))
        predictor["minReplicas"] = min(least, _most(isvc))
    return entry | {"trafficPercent": wanted.weight, "predictor": predictor}


def _replicas(isvc: Object, wanted: Shape) -> int:
    return min(wanted.replicas, _most(isvc))


def _most(isvc: Object) -> int:
    """KServe's webhook wants no more of the canary than of the stable predictor."""
    return max(1, int(isvc["spec"]["predictor"].get("minReplicas", 1)))


def promote(isvc: Object) -> Object | None:
    """The canary's name and model become the stable predictor's; None: there is no canary."""
    found = isvc["spec"].get("canary", [])
    if not found:
        return None
    own = found[0]["predictor"]
    # `name: ""` of the entry is not the stable predictor's: KServe wants no name there.
    model: Object = {key: value for key, value in own["model"].items() if key != "name"}
    gone = {key: None for key in isvc["spec"]["predictor"]["model"] if key not in own["model"]}
    return {
        "spec": {"predictor": {"name": own["name"], "model": gone | model}, "canary": None},
    }


def remove(isvc: Object) -> Object | None:
    return {"spec": {"canary": None}} if isvc["spec"].get("canary") else None


def is_kserves(scaler: Object) -> bool:
    """Whether KServe made it, of an InferenceService (classes `hpa` and `keda`)."""
    owners = scaler["metadata"].get("ownerReferences") or []
    return any(owner.get("kind") == "InferenceService" for owner in owners)


def follow(scaler: Object, deployment: str) -> Object:
    """The patch that has an autoscaler scale another Deployment, by that one's own figures.

    An external metric selects by the label `deployment`, a trigger of KEDA by its query: without
    them it would scale the new pods by what the old ones, which are gone, had to do.
    """
    spec = scaler["spec"]
    old = spec["scaleTargetRef"]["name"]
    changed: Object = {"scaleTargetRef": spec["scaleTargetRef"] | {"name": deployment}}
    for field in ("metrics", "triggers"):
        if field in spec and (renamed := _renamed(spec[field], old, deployment)) != spec[field]:
            changed[field] = renamed
    return {"spec": changed}


def _renamed(node: Any, old: str, new: str) -> Any:
    """The same tree with the name replaced where it stands alone, or in quotes in a query."""
    if isinstance(node, dict):
        return {key: _renamed(below, old, new) for key, below in node.items()}
    if isinstance(node, list):
        return [_renamed(below, old, new) for below in node]
    if isinstance(node, str):
        return new if node == old else node.replace(f'"{old}"', f'"{new}"')
    return node
