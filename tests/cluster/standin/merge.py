"""How KServe merges a runtime's container and pod with those of an InferenceService."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

CONTAINER = "kserve-container"
# Lists that a strategic merge patch merges by a key (k8s.io/api/core/v1, `patchMergeKey`); all
# others are replaced.
MERGE_KEYS = {
    "containers": "name", "env": "name", "hostAliases": "ip", "imagePullSecrets": "name",
    "initContainers": "name", "ports": "containerPort", "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath", "volumeMounts": "mountPath", "volumes": "name",
}  # fmt: skip
# Fields of a predictor that are not its pod's: apis/serving/v1beta1/component.go and predictor.go.
NOT_OF_THE_POD = {
    "annotations", "autoScaling", "batcher", "canaryTrafficPercent", "confidential",
    "containerConcurrency", "deploymentStrategy", "labels", "logger", "maxReplicas", "minReplicas",
    "model", "name", "scaleMetric", "scaleMetricType", "scaleTarget", "storageContainerName",
    "storageUris", "timeout", "workerSpec",
}  # fmt: skip
# Fields of a model that are not its container's: apis/serving/v1beta1/predictor_model.go.
NOT_OF_THE_CONTAINER = {
    "modelFormat", "protocolVersion", "runtime", "runtimeVersion", "storage", "storageUri",
}  # fmt: skip
# Fields of a runtime that its pods take over: MergePodSpec in inferenceservice/utils/utils.go.
RUNTIME_POD_FIELDS = (
    "nodeSelector", "affinity", "tolerations", "volumes", "imagePullSecrets", "schedulerName",
    "resourceClaims",
)  # fmt: skip
PLACEHOLDER = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")


class Invalid(Exception):
    """KServe would refuse this; `reason` is what it writes into the status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def strategic_merge(base: Any, patch: Any, key: str = "") -> Any:
    """Kubernetes' strategic merge: maps by name, the lists above by key, others replaced."""
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        merged = dict(base)
        for name, value in patch.items():
            merged[name] = strategic_merge(base[name], value, name) if name in base else value
        return {name: value for name, value in merged.items() if value is not None}
    if isinstance(base, list) and isinstance(patch, list) and key in MERGE_KEYS:
        return _merge_by_key(base, patch, MERGE_KEYS[key])
    return copy.deepcopy(patch)


def _merge_by_key(base: Sequence[Object], patch: Sequence[Object], key: str) -> list[Object]:
    merged = {item[key]: item for item in base}
    for item in patch:
        merged[item[key]] = strategic_merge(merged.get(item[key], {}), item)
    return list(merged.values())


def override(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Object:
    """mergo.WithOverride, by which a canary is made of the stable predictor.

    Maps merge; lists (args, env, containers) are replaced; what is empty overrides nothing
    (buildCanaryPredictor in inferenceservice/components/predictor.go).
    """
    merged = copy.deepcopy(dict(base))
    for name, value in patch.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = override(merged[name], value)
        elif value not in (None, "", 0, False, [], {}):
            merged[name] = copy.deepcopy(value)
    return merged


def fill_placeholders(container: Object, metadata: Mapping[str, Any]) -> Object:
    """`{{.Name}}` and the like, in every string of a container.

    KServe runs the container's JSON through Go's template engine with the InferenceService's
    ObjectMeta (ReplacePlaceholders in inferenceservice/utils/utils.go).

    Raises:
        Invalid: a placeholder that ObjectMeta does not have.
    """
    known = {".Name": str(metadata["name"]), ".Namespace": str(metadata["namespace"])}
    for field in ("Labels", "Annotations"):
        values = metadata.get(field.lower(), {})
        known |= {f".{field}.{key}": str(value) for key, value in values.items()}

    def fill(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise Invalid("InvalidPredictorSpec", f"unknown placeholder {match[0]}")
        return known[match[1]]

    filled: Object = json.loads(PLACEHOLDER.sub(fill, json.dumps(container)))
    return filled


def merged_pod(isvc: Object, predictor: Object, runtime: Object | None) -> Object:
    """The pod of a predictor, before storage is mounted.

    Raises:
        Invalid: no runtime of that name, or one that does not fit.
    """
    pod = {k: copy.deepcopy(v) for k, v in predictor.items() if k not in NOT_OF_THE_POD}
    others = pod.pop("containers", [])
    if "model" in predictor:
        spec = _checked_runtime(predictor["model"], runtime)
        ours = {k: v for k, v in predictor["model"].items() if k not in NOT_OF_THE_CONTAINER}
        container = merged_container(spec["containers"], ours)
        container = fill_placeholders(container, isvc["metadata"])
        pod = strategic_merge({k: spec[k] for k in RUNTIME_POD_FIELDS if k in spec}, pod)
        rest = [c for c in spec["containers"] if c["name"] != CONTAINER]
        pod["containers"] = [container, *rest, *others]
    else:
        pod["containers"] = others
    for container in pod["containers"]:
        named = [e for e in container.get("env", []) if e["name"] != "INFERENCE_SERVICE_NAME"]
        service_name = {"name": "INFERENCE_SERVICE_NAME", "value": isvc["metadata"]["name"]}
        container["env"] = [*named, service_name]
    return pod


def merged_container(containers: Sequence[Object], ours: Object) -> Object:
    """The runtime's container with the model's fields; args are concatenated, runtime's first.

    MergeRuntimeContainers in inferenceservice/utils/utils.go.
    """
    of_runtime = [c for c in containers if c["name"] == CONTAINER]
    if not of_runtime:
        raise Invalid("InvalidPredictorSpec", f"failed to find {CONTAINER} in ServingRuntime")
    merged: Object = strategic_merge(of_runtime[0], {k: v for k, v in ours.items() if k != "name"})
    merged["args"] = [*of_runtime[0].get("args", []), *ours.get("args", [])]
    return merged


def _checked_runtime(model: Object, runtime: Object | None) -> Object:
    """reconcileModel in inferenceservice/components/predictor.go."""
    if runtime is None:
        raise Invalid("RuntimeNotRecognized", "Waiting for runtime to become available")
    spec: Object = runtime["spec"]
    if spec.get("disabled"):
        raise Invalid("RuntimeDisabled", "Specified runtime is disabled")
    if model.get("protocolVersion", "v2") not in spec.get("protocolVersions", []):
        raise Invalid(
            "NoSupportingRuntime", "Specified runtime does not support specified protocol version"
        )
    names = [f["name"] for f in spec.get("supportedModelFormats", [])]
    if model["modelFormat"]["name"] not in names:
        raise Invalid(
            "NoSupportingRuntime",
            "Specified runtime does not support specified framework/version",
        )
    return spec
