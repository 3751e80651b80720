"""KServe's webhook for an InferenceService, one rule a function; rules of its CRD stand in the CRD.

A rule takes the object and gives what the webhook would say, nothing if it admits it. Words are the
webhook's own where they are known, measured on a live cluster; the rest are ours.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

Object = dict[str, Any]
Rule = Callable[[Object], Iterator[str]]

GROUP = "serving.kserve.io"
FRAMEWORKS = {
    "model", "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml",
    "lightgbm", "paddle",
}  # fmt: skip
CLASSES = ("hpa", "keda", "external", "none")
FIXED = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling")


def mode(service: Object) -> str:
    """The annotation; the chart always sets it, since the cluster's default differs."""
    return str(annotation(service, "deploymentMode"))


def annotation(service: Object, name: str) -> str:
    return str(service["metadata"].get("annotations", {}).get(f"{GROUP}/{name}", ""))


def predictor(service: Object) -> Object:
    section: Object = service["spec"]["predictor"]
    return section


def canaries(service: Object) -> list[Object]:
    entries: list[Object] = service["spec"].get("canary") or []
    return entries


def containers(service: Object) -> Iterator[Object]:
    """Every container that a user can write, of stable and canaries."""
    for part in (predictor(service), *(canary["predictor"] for canary in canaries(service))):
        yield from (part[name] for name in FRAMEWORKS if name in part)
        yield from part.get("containers", [])
        yield from part.get("initContainers", [])


def name_is_a_host(service: Object) -> Iterator[str]:
    name = service["metadata"]["name"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield f"the InferenceService {name!r} is invalid: a name must consist of a-z, 0-9 and '-'"


def one_implementation(service: Object) -> Iterator[str]:
    frameworks = FRAMEWORKS & set(predictor(service))
    if len(frameworks) + bool(predictor(service).get("containers")) != 1:
        yield "exactly one of the model, containers must be specified in predictor"


def known_mode(service: Object) -> Iterator[str]:
    if mode(service) not in ("Standard", "Knative"):
        yield f"[{mode(service)}] is not a deploymentMode"


def known_autoscaler(service: Object) -> Iterator[str]:
    autoscaler = annotation(service, "autoscalerClass")
    if autoscaler and autoscaler not in CLASSES:
        yield f"[{autoscaler}] is not a supported autoscaler class type"


def replicas_in_order(service: Object) -> Iterator[str]:
    least, most = predictor(service).get("minReplicas", 1), predictor(service).get("maxReplicas", 0)
    if least < 0:
        yield "'MinReplicas' cannot be less than 0"
    if most and least > most:
        yield "'MinReplicas' cannot be greater than MaxReplicas"


def target_in_percent(service: Object) -> Iterator[str]:
    """Of CPU and, by a slip of the webhook, of memory; Knative's metrics have their own units."""
    target = predictor(service).get("scaleTarget")
    percent = predictor(service).get("scaleMetric", "cpu") in ("cpu", "memory")
    if target is not None and percent and not 1 <= target <= 100:
        yield "scaleTarget must be between 1 and 100"


def metric_of_the_mode(service: Object) -> Iterator[str]:
    metric = predictor(service).get("scaleMetric")
    if metric in ("concurrency", "rps") and mode(service) == "Standard":
        yield f"[{metric}] is not a supported metric"
    if metric and annotation(service, "autoscalerClass") == "keda":
        yield "scaleMetric is not supported with autoscalerClass keda"


def no_pythonpath(service: Object) -> Iterator[str]:
    for container in containers(service):
        if any(variable["name"] == "PYTHONPATH" for variable in container.get("env", [])):
            yield "environment variable PYTHONPATH is not allowed"


def model_without_name(service: Object) -> Iterator[str]:
    parts = (predictor(service), *(canary["predictor"] for canary in canaries(service)))
    if any(part.get("model", {}).get("name") for part in parts):
        yield "predictor.model.name must be empty"


def transformer_without_model(service: Object) -> Iterator[str]:
    for container in predictor(service).get("containers", []):
        names = {variable["name"] for variable in container.get("env", [])}
        if container["name"] == "transformer-container" and "STORAGE_URI" in names:
            yield "transformer-container must not have the environment variable STORAGE_URI"


def strategy_only_in_standard(service: Object) -> Iterator[str]:
    if "deploymentStrategy" in predictor(service) and mode(service) != "Standard":
        yield "customizing deploymentStrategy is only supported for Standard deployment mode"


def known_logger(service: Object) -> Iterator[str]:
    logger = predictor(service).get("logger", {}).get("mode", "all")
    if logger not in ("all", "request", "response"):
        yield "Invalid logger type"


def storage_side_by_side(service: Object) -> Iterator[str]:
    paths = [uri["mountPath"] for uri in predictor(service).get("storageUris", [])]
    if any(not path.startswith("/") for path in paths):
        yield "storageUris: mountPath must be an absolute path"
    elif len({posixpath.dirname(path) for path in paths}) > 1:
        yield "storageUris: all paths must share a common parent"


def canary_in_standard_mode(service: Object) -> Iterator[str]:
    if canaries(service) and mode(service) != "Standard":
        yield "canary is only supported in Standard deployment mode"


def canary_of_a_model(service: Object) -> Iterator[str]:
    # The stable predictor's own, not the canary's: inference_service_validation.go:193.
    containers = predictor(service).get("containers", [])
    environment = chain.from_iterable(c.get("env", []) for c in containers)
    has_model = FRAMEWORKS & set(predictor(service)) or any(
        variable["name"] == "STORAGE_URI" for variable in environment
    )
    if canaries(service) and not has_model:
        yield "canary requires a model in the stable predictor"


def canary_named(service: Object) -> Iterator[str]:
    names = {predictor(service).get("name", "")}
    for index, canary in enumerate(canaries(service)):
        name = canary["predictor"].get("name", "")
        if not name:
            yield f"canary[{index}] predictor.name is required"
        elif name in names:
            yield f'canary[{index}] predictor.name "{name}" must be unique'
        names.add(name)


def canary_weights(service: Object) -> Iterator[str]:
    weights = [canary["trafficPercent"] for canary in canaries(service)]
    if any(not 0 <= weight <= 100 for weight in weights):
        yield "canary trafficPercent must be between 0 and 100"
    elif sum(weights) > 100:
        yield f"sum of canary trafficPercent values ({sum(weights)}) must be <= 100"


def canary_of_fixed_size(service: Object) -> Iterator[str]:
    for canary in canaries(service):
        part, name = canary["predictor"], canary["predictor"].get("name", "")
        for field in FIXED:
            if field in part:
                yield f'canary "{name}" must not set {field} (canary uses fixed replicas)'
        if "workerSpec" in part:
            yield f'canary "{name}" must not set workerSpec'
        stable, replicas = predictor(service).get("minReplicas", 1), part.get("minReplicas", 0)
        if replicas > stable:
            yield (
                f'canary "{name}" minReplicas ({replicas}) must not exceed stable predictor '
                f"minReplicas ({stable})"
            )


RULES: tuple[Rule, ...] = (
    name_is_a_host, one_implementation, known_mode, known_autoscaler, replicas_in_order,
    target_in_percent, metric_of_the_mode, no_pythonpath, model_without_name,
    transformer_without_model, strategy_only_in_standard, known_logger, storage_side_by_side,
    canary_in_standard_mode, canary_of_a_model, canary_named, canary_weights, canary_of_fixed_size,
)  # fmt: skip


def same_mode(old: Object, new: Object) -> Iterator[str]:
    if mode(old) != mode(new):
        yield (
            f"update rejected: deploymentMode cannot be changed from '{mode(old)}' to '{mode(new)}'"
        )


def new_name_new_model(old: Object, new: Object) -> Iterator[str]:
    before, after = predictor(old), predictor(new)
    if before.get("name") != after.get("name") and before.get("model") == after.get("model"):
        yield "predictor.name change requires a model change (e.g. storageUri)"


UPDATES: tuple[Callable[[Object, Object], Iterator[str]], ...] = (same_mode, new_name_new_model)


def complaints(service: Object, before: Object | None = None) -> list[str]:
    """All that the webhook says against an InferenceService, or its update; empty: admitted."""
    messages = [words for rule in RULES for words in rule(service)]
    if before is not None:
        messages += [words for update in UPDATES for words in update(before, service)]
    return messages
