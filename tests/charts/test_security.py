"""Every pod that a chart makes, itself or through KServe, is locked down."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts import helm
from tests.charts.conftest import Rendering

LOCKED = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_specs(objects: list[helm.Object]) -> Iterator[tuple[str, helm.Object]]:
    """Pods of ours, and runtimes, whose containers become pods."""
    for item in objects:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] in ("ServingRuntime", "ClusterServingRuntime", "Pod"):
            yield name, item["spec"]
        if item["kind"] == "Deployment":
            yield name, item["spec"]["template"]["spec"]


def test_containers_are_locked_down(chart: str, values: Path, rendered: Rendering) -> None:
    specs = list(pod_specs(rendered(chart, values)))
    assert specs
    for name, spec in specs:
        for container in spec["containers"]:
            assert container["securityContext"] == LOCKED, name


def test_writable_volumes_have_a_limit(chart: str, values: Path, rendered: Rendering) -> None:
    for name, spec in pod_specs(rendered(chart, values)):
        for volume in spec.get("volumes", []):
            assert "secret" in volume or volume["emptyDir"]["sizeLimit"], name


def test_nothing_is_shared_with_the_host(chart: str, values: Path, rendered: Rendering) -> None:
    text = str(rendered(chart, values))
    for word in ("hostPath", "hostNetwork", "hostPID", "hostIPC", "privileged", "PYTHONPATH"):
        assert word not in text


@pytest.mark.parametrize("values", helm.ci_files(helm.MODEL), ids=lambda path: path.name)
def test_no_token_is_mounted(values: Path) -> None:
    objects = helm.template(helm.MODEL, files=(values,))
    predictor = helm.only(objects, "InferenceService")["spec"]["predictor"]
    specs = [predictor, *(spec for _, spec in pod_specs(objects))]
    assert all(spec["automountServiceAccountToken"] is False for spec in specs)
    assert helm.only(objects, "ServiceAccount")["automountServiceAccountToken"] is False


def test_the_predictors_pod_is_no_root_either() -> None:
    predictor = helm.only(helm.template(helm.MODEL), "InferenceService")["spec"]["predictor"]
    assert predictor["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_secrets_are_mounted_as_directories() -> None:
    """What is mounted with subPath is never updated by the kubelet."""
    objects = helm.template(helm.MODEL, "access.apiKeysSecret.name=keys")
    predictor = helm.only(objects, "InferenceService")["spec"]["predictor"]
    assert predictor["volumes"] == [{"name": "api-keys", "secret": {"secretName": "keys"}}]
    assert predictor["model"]["volumeMounts"] == [
        {"name": "api-keys", "mountPath": "/etc/predictor/keys", "readOnly": True}
    ]
    assert "--api-keys-file=/etc/predictor/keys/keys.json" in predictor["model"]["args"]
