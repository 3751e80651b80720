"""Deployment and Service of one predictor, as KServe names, labels and fills them."""

import copy
from typing import Any

from tests.cluster.standin.merge import CONTAINER, Invalid, Object, merged_pod

# Not copied from the InferenceService to what is made of it: constants/constants.go:537.
NOT_COPIED = {
    "autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale",
    "internal.serving.kserve.io/storage-initializer-sourceuri",
    "kubectl.kubernetes.io/last-applied-configuration", "internal.serving.kserve.io/modelformat",
}  # fmt: skip
SOURCE_URI = "internal.serving.kserve.io/storage-initializer-sourceuri"
AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
MODEL_PATH = "/mnt/models"


def predictor_name(isvc: str, name: str = "") -> str:
    """PredictorServiceName, constants/constants.go:802."""
    return f"{isvc}-{name}-predictor" if name else f"{isvc}-predictor"


def workload(
    isvc: Object, predictor: Object, runtime: Object | None, replicas: int
) -> list[Object]:
    """Service and Deployment, in the order in which KServe writes them (raw_kube_reconciler.go).

    Raises:
        Invalid: as KServe would.
    """
    pod = merged_pod(isvc, predictor, runtime)
    uri = storage_uri(predictor)
    if uri is not None:
        mount_claim(pod, uri)
    set_defaults(pod)
    metadata = meta(isvc, predictor, runtime, uri)
    return [
        _service(metadata, pod["containers"][0]),
        _deployment(metadata, predictor, pod, replicas),
    ]


def meta(isvc: Object, predictor: Object, runtime: Object | None, uri: str | None) -> Object:
    """buildObjectMeta in components/predictor.go: runtime < InferenceService < predictor.

    One map for Deployment, pods and Service: a label or annotation of the InferenceService that
    changes restarts every pod.
    """
    metadata = isvc["metadata"]
    spec = (runtime or {}).get("spec", {}) if "model" in predictor else {}
    name = predictor_name(metadata["name"], predictor.get("name", ""))
    labels = {
        **spec.get("labels", {}),
        **metadata.get("labels", {}),
        **predictor.get("labels", {}),
        "serving.kserve.io/inferenceservice": metadata["name"],
        "component": "predictor",
        "app": f"isvc.{name}",
    }
    annotations = {
        **_copied(spec.get("annotations", {})),
        **_copied(metadata.get("annotations", {})),
        **({} if uri is None else {SOURCE_URI: uri}),
        **_copied(predictor.get("annotations", {})),
    }
    return {
        "name": name,
        "namespace": metadata["namespace"],
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [owner(isvc)],
    }


def owner(isvc: Object) -> Object:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": isvc["metadata"]["name"],
        "uid": isvc["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _copied(annotations: Object) -> Object:
    return {k: v for k, v in annotations.items() if k not in NOT_COPIED}


def storage_uri(predictor: Object) -> str | None:
    """From the model; of a custom predictor from the variable STORAGE_URI."""
    if "model" in predictor:
        uri: str | None = predictor["model"].get("storageUri")
        return uri
    variables = predictor.get("containers", [{}])[0].get("env", [])
    return next((str(e["value"]) for e in variables if e["name"] == "STORAGE_URI"), None)


def mount_claim(pod: Object, uri: str) -> None:
    """`pvc://claim/path` at /mnt/models, read-only.

    KServe's webhook does it when the pod is made (storage_initializer_injector.go:541,
    utils/storage.go); here it stands in the template, which makes no other pod.

    Raises:
        Invalid: another scheme: that needs KServe's storage initializer.
    """
    if not uri.startswith("pvc://"):
        raise Invalid("ModelLoadFailed", f"{uri}: this stand-in mounts pvc:// only")
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    volume = {"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": claim}}
    pod["volumes"] = [*pod.get("volumes", []), volume]
    mount: dict[str, Any] = {"name": volume["name"], "mountPath": MODEL_PATH, "readOnly": True}
    if path:
        mount["subPath"] = path
    for container in pod["containers"]:
        if container["name"] == CONTAINER:
            container["volumeMounts"] = [*container.get("volumeMounts", []), mount]


def set_defaults(pod: Object) -> None:
    """setDefaultPodSpec in reconcilers/deployment: 30 s of grace, a TCP probe if there is none."""
    pod.setdefault("terminationGracePeriodSeconds", 30)
    for container in pod["containers"]:
        container.setdefault("imagePullPolicy", "IfNotPresent")
        if container["name"] == CONTAINER and "readinessProbe" not in container:
            ports = container.get("ports") or [{"containerPort": 8080}]
            container["readinessProbe"] = {
                "tcpSocket": {"port": ports[0]["containerPort"]}, "timeoutSeconds": 1,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            }  # fmt: skip


def _service(metadata: Object, container: Object) -> Object:
    """The first port becomes 80, the others keep their number: service_reconciler.go:104-192."""
    ports = container.get("ports") or [{"name": metadata["name"], "containerPort": 8080}]
    rendered = []
    for position, port in enumerate(ports):
        name = port.get("name", "")
        rendered.append(
            {
                "name": name,
                "port": 80 if position == 0 else port["containerPort"],
                "targetPort": port["containerPort"],
                "protocol": port.get("protocol", "TCP"),
                **({"appProtocol": "kubernetes.io/h2c"} if is_grpc(name) else {}),
            }
        )
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": copy.deepcopy(metadata),
        "spec": {"selector": {"app": metadata["labels"]["app"]}, "ports": rendered},
    }


def is_grpc(port_name: str) -> bool:
    return "grpc" in port_name.lower() or "h2c" in port_name.lower()


def _deployment(metadata: Object, predictor: Object, pod: Object, replicas: int) -> Object:
    """Replicas only for class none: else they are an autoscaler's (deployment_reconciler.go)."""
    rolling = {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    spec: Object = {
        "selector": {"matchLabels": {"app": metadata["labels"]["app"]}},
        "template": {
            "metadata": {k: dict(metadata[k]) for k in ("labels", "annotations")},
            "spec": pod,
        },
        "strategy": copy.deepcopy(predictor.get("deploymentStrategy", rolling)),
    }
    if metadata["annotations"].get(AUTOSCALER_CLASS) == "none":
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": copy.deepcopy(metadata),
        "spec": spec,
    }
