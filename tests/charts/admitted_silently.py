"""What nobody refuses and what does not work: runtimes that quarrel, and traps of KServe.

Seen on a live cluster, each of them: the API server and KServe's webhooks take it without a word,
and something is ignored, overwritten or deleted afterwards. Hence ours to catch in the charts.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

from tests.charts.admission import GROUP, annotation, canaries, mode, predictor

Object = dict[str, Any]
Rule = Callable[[Sequence[Object]], Iterator[str]]

SERVICE = f"{GROUP}/inferenceservice"
SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


def services(objects: Sequence[Object]) -> list[Object]:
    return [item for item in objects if item["kind"] == "InferenceService"]


def runtimes(objects: Sequence[Object]) -> list[Object]:
    return [item for item in objects if item["kind"].endswith("ServingRuntime")]


def deployments(service: Object) -> list[str]:
    """KServe's names of the Deployments and Services."""
    names = [predictor(service).get("name", "")]
    names += [canary["predictor"].get("name", "") for canary in canaries(service)]
    isvc = service["metadata"]["name"]
    return ["-".join(filter(None, (isvc, name, "predictor"))) for name in names]


def container_of_kserve(objects: Sequence[Object]) -> Iterator[str]:
    """The webhook of runtimes and of custom predictors; it overwrites the first one's name."""
    for runtime in runtimes(objects):
        names = [container["name"] for container in runtime["spec"]["containers"]]
        if "kserve-container" not in names:
            yield f"runtime {runtime['metadata']['name']} has no container kserve-container"
    for service in services(objects):
        containers = predictor(service).get("containers", [])
        if containers and containers[0]["name"] != "kserve-container":
            yield "the first container of a custom predictor is not called kserve-container"


def runtimes_do_not_quarrel(objects: Sequence[Object]) -> Iterator[str]:
    """The webhook of runtimes: two that select themselves for the same thing."""
    claims = [
        (runtime["metadata"]["name"], claim["name"], claim.get("version"), claim.get("priority"),
         set(runtime["spec"].get("protocolVersions", [])))
        for runtime in runtimes(objects)
        for claim in runtime["spec"]["supportedModelFormats"]
        if claim.get("autoSelect")
    ]  # fmt: skip
    for claim, other in combinations(claims, 2):
        if claim[1:4] == other[1:4] and claim[4] & other[4]:
            yield f"runtimes {claim[0]} and {other[0]} select themselves for the same model"


def namespace_with_pod_webhook(objects: Sequence[Object]) -> Iterator[str]:
    """The label turns KServe's pod webhook off: no model is fetched."""
    for item in objects:
        if item["kind"] == "Namespace" and "control-plane" in item["metadata"].get("labels", {}):
            yield f"namespace {item['metadata']['name']} has the label control-plane"


def percent_only_in_knative(objects: Sequence[Object]) -> Iterator[str]:
    for service in services(objects):
        if "canaryTrafficPercent" in predictor(service) and mode(service) == "Standard":
            yield "canaryTrafficPercent is ignored in Standard mode"


def labels_fit(objects: Sequence[Object]) -> Iterator[str]:
    for service in services(objects):
        for label in (f"isvc.{name}" for name in deployments(service)):
            if len(label) > 63:
                yield f"label {label} has {len(label)} characters"


def hosts_fit(objects: Sequence[Object]) -> Iterator[str]:
    for service in services(objects):
        name, namespace = service["metadata"]["name"], service["metadata"].get("namespace", "")
        if len(f"{name}-predictor-{namespace}") > 63:
            yield f"host {name}-predictor-{namespace} is over 63 characters"


def no_keda_class_with_canary(objects: Sequence[Object]) -> Iterator[str]:
    for service in services(objects):
        if annotation(service, "autoscalerClass") == "keda" and canaries(service):
            yield "class keda and a canary: a ScaledObject without triggers stops the reconcile"


def model_has_a_uri(objects: Sequence[Object]) -> Iterator[str]:
    for service in services(objects):
        if "model" in predictor(service) and not predictor(service)["model"].get("storageUri"):
            yield "model without storageUri: KServe adds its agent as a sidecar"


def knative_takes_one_port(objects: Sequence[Object]) -> Iterator[str]:
    for runtime in runtimes(objects):
        for container in runtime["spec"]["containers"]:
            names = [port.get("name") for port in container.get("ports", [])]
            if {"http1", "user-port"} & set(names) and len(names) > 1:
                yield f"runtime {runtime['metadata']['name']}: Knative takes one port"


def scalers_are_ours(objects: Sequence[Object]) -> Iterator[str]:
    """An autoscaler of ours wants class external, another name than KServe's, and a target."""
    named = {name: service for service in services(objects) for name in deployments(service)}
    for scaler in (item for item in objects if item["kind"] in SCALERS):
        name, target = scaler["metadata"]["name"], scaler["spec"]["scaleTargetRef"]["name"]
        if name in named or name.endswith("-predictor"):
            yield f"{name}: KServe overwrites and deletes an autoscaler of that name"
        if target not in named:
            yield f"{name}: there is no Deployment {target}"
        elif annotation(named[target], "autoscalerClass") != "external":
            yield f"{name}: KServe has an autoscaler of its own, unless its class is external"


def nothing_looks_like_an_orphan(objects: Sequence[Object]) -> Iterator[str]:
    """KServe deletes Deployments and Services with its labels that it has not made."""
    for item in objects:
        labels = item["metadata"].get("labels", {})
        if item["kind"] in ("Deployment", "Service") and SERVICE in labels:
            yield f"{item['kind']} {item['metadata']['name']}: KServe deletes it as an orphan"


RULES: tuple[Rule, ...] = (
    container_of_kserve, runtimes_do_not_quarrel, namespace_with_pod_webhook,
    percent_only_in_knative, labels_fit, hosts_fit, no_keda_class_with_canary, model_has_a_uri,
    knative_takes_one_port, scalers_are_ours, nothing_looks_like_an_orphan,
)  # fmt: skip


def traps(objects: Sequence[Object]) -> list[str]:
    """What would go wrong with objects that belong together; empty: nothing that is known."""
    return [words for rule in RULES for words in rule(objects)]
