"""HTTPRoutes with weights, as KServe's Gateway API reconciler writes them.

Source: inferenceservice/reconcilers/ingress/httproute_reconciler.go.
"""

import copy
from typing import Any

from tests.cluster.standin.merge import Object
from tests.cluster.standin.workload import NOT_COPIED, is_grpc, owner, predictor_name

# The values that KServe's own configuration has for them.
DOMAIN = "example.com"
GATEWAY = {"namespace": "kserve", "name": "kserve-ingress-gateway"}
TIMEOUT_S = 60


def host(name: str, namespace: str) -> str:
    """`domainTemplate` of the ConfigMap inferenceservice-config."""
    return f"{name}-{namespace}.{DOMAIN}"


def routes(isvc: Object, service: Object, ready: set[str]) -> list[Object]:
    """The predictor's route, then the InferenceService's, in the order in which they are written.

    Their names do not change with `predictor.name`; their backends do.

    Args:
        service: the stable predictor's, whose ports decide about the rule for gRPC.
        ready: names of the canaries with an available pod; the others get no backend.
    """
    name = isvc["metadata"]["name"]
    rules = [_weighted(isvc, rule, ready) for rule in _rules(isvc, service)]
    return [_route(isvc, predictor_name(name), rules), _route(isvc, name, rules)]


def _rules(isvc: Object, service: Object) -> list[Object]:
    """gRPC by path and content type, then the rest; one rule for one kind of port (282-301)."""
    rest = [p["port"] for p in service["spec"]["ports"] if not _h2c(p)]
    grpc = [p["port"] for p in service["spec"]["ports"] if _h2c(p)]
    anything = [{"path": {"type": "RegularExpression", "value": "^/.*$"}}]
    if not (rest and grpc):
        return [_rule(isvc, service, anything, 80)]
    inference = {
        "path": {"type": "RegularExpression", "value": r"^/inference\.GRPCInferenceService/.*$"},
        "headers": [
            {"type": "RegularExpression", "name": "content-type", "value": "^application/grpc.*"}
        ],
    }
    return [
        _rule(isvc, service, [inference], grpc[0]),
        _rule(isvc, service, anything, rest[0]),
    ]


def _h2c(port: Object) -> bool:
    return port.get("appProtocol") == "kubernetes.io/h2c" or is_grpc(port["name"])


def _rule(isvc: Object, service: Object, matches: list[Object], port: int) -> Object:
    metadata = isvc["metadata"]
    headers = [
        {"name": "KServe-Isvc-Name", "value": metadata["name"]},
        {"name": "KServe-Isvc-Namespace", "value": metadata["namespace"]},
    ]
    timeout = isvc["spec"]["predictor"].get("timeout", TIMEOUT_S)
    return {
        "matches": matches,
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": headers}}],
        "backendRefs": [_backend(service["metadata"]["name"], metadata["namespace"], port)],
        "timeouts": {"request": f"{timeout}s"},
    }


def _backend(name: str, namespace: str, port: int) -> Object:
    return {"group": "", "kind": "Service", "name": name, "namespace": namespace, "port": port}


def _weighted(isvc: Object, rule: Object, ready: set[str]) -> Object:
    """applyCanaryWeights (684-743): a canary that is not ready is left out, not weighted 0."""
    canaries = isvc["spec"].get("canary", [])
    if not canaries:
        return rule
    weighted = copy.deepcopy(rule)
    stable = weighted["backendRefs"][0]
    counted = [c for c in canaries if c["predictor"]["name"] in ready]
    backends: list[dict[str, Any]] = [
        stable | {"weight": 100 - sum(c["trafficPercent"] for c in counted)}
    ]
    for canary in counted:
        name = predictor_name(isvc["metadata"]["name"], canary["predictor"]["name"])
        backends.append(stable | {"name": name, "weight": canary["trafficPercent"]})
    weighted["backendRefs"] = backends
    return weighted


def _route(isvc: Object, name: str, rules: list[Object]) -> Object:
    metadata = isvc["metadata"]
    annotations = metadata.get("annotations", {})
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": dict(metadata.get("labels", {})),
            "annotations": {k: v for k, v in annotations.items() if k not in NOT_COPIED},
            "ownerReferences": [owner(isvc)],
        },
        "spec": {
            "hostnames": [host(name, metadata["namespace"])],
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway"} | GATEWAY],
            "rules": copy.deepcopy(rules),
        },
    }


def problem_of(route: Object | None, component: str) -> tuple[str, str] | None:
    """Reason and message of IngressReady=False; None when the route is programmed."""
    if route is None:
        return f"{component} Deployment NotReady", f"{component} HTTPRoute not created"
    parents = route.get("status", {}).get("parents", [])
    if not parents:
        return "ParentStatusNotAvailable", f"{component} HTTPRoute not ready"
    for parent in parents:
        for condition in parent.get("conditions", []):
            if condition["status"] == "False":
                return condition["reason"], f"{component} {condition['message']}"
    return None
