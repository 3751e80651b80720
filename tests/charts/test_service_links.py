"""No pod has variables that Kubernetes makes of the Services of its namespace.

A Service called predictor-admin would set PREDICTOR_ADMIN_PORT, which is a setting of the server.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.charts import helm
from tests.charts.conftest import Rendering
from tests.charts.test_manifests import NAMES, built
from tests.cluster.standin.plan import desired
from tests.cluster.standin.status import Living

# The pod is in the template of the spec.
TEMPLATED = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"}
RUNTIMES = {"ServingRuntime", "ClusterServingRuntime"}


def pod_specs(objects: Sequence[helm.Object]) -> Iterator[tuple[str, helm.Object]]:
    """The pod of each object that makes one; the canary inherits that of the stable predictor."""
    for item in objects:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            yield name, item["spec"]
        elif item["kind"] in TEMPLATED:
            yield name, item["spec"]["template"]["spec"]
        elif item["kind"] == "CronJob":
            yield name, item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif item["kind"] == "InferenceService":
            yield name, item["spec"]["predictor"]
        elif item["kind"] not in RUNTIMES:
            # A runtime has no such field; its containers get that of the InferenceService.
            assert "containers" not in item.get("spec", {}), f"the pods of {name} are not known"


def with_links(objects: Sequence[helm.Object]) -> list[str]:
    return [
        name for name, spec in pod_specs(objects) if spec.get("enableServiceLinks") is not False
    ]


def test_no_pod_of_a_chart_has_service_links(chart: str, values: Path, rendered: Rendering) -> None:
    assert with_links(rendered(chart, values)) == []


def test_the_ci_files_make_every_kind_of_pod(rendered: Rendering) -> None:
    names = {
        name.partition("/")[0] + name[name.rfind("-") :]
        for chart, path in helm.all_ci_files()
        for name, _ in pod_specs(rendered(chart, path))
    }
    assert {"Deployment-rollout", "Deployment-cache", "Pod-smoke"} <= names


@pytest.mark.parametrize("name", NAMES)
def test_no_pod_of_a_manifest_has_service_links(name: str) -> None:
    assert with_links(built(name)) == []


def test_kserve_makes_pods_without_service_links() -> None:
    """Also those of the canary, whose predictor KServe merges into the stable one's."""
    canary = ("canary.name=v2", "canary.storageUri=pvc://models/minilm/2")
    isvc = helm.only(helm.template(helm.MODEL, *canary), "InferenceService")
    runtime = helm.only(helm.template(helm.RUNTIME), "ClusterServingRuntime")
    plan = desired(isvc | {"metadata": isvc["metadata"] | {"uid": "u"}}, runtime, Living())
    deployments = [step.target for step in plan.steps if step.target["kind"] == "Deployment"]
    names = [deployment["metadata"]["name"] for deployment in deployments]
    assert names == ["emb-v2-predictor", "emb-predictor"]
    assert with_links(deployments) == []


def test_a_pod_with_links_is_noticed() -> None:
    pod = {"kind": "Pod", "metadata": {"name": "emb"}, "spec": {"containers": []}}
    assert with_links([pod]) == ["Pod/emb"]
