"""`kubectl apply -k`: what the overlays make, held against the charts and a real API server."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import helm
from tests.charts.admission import complaints
from tests.charts.api_server import ApiServer
from tests.cluster.standin.plan import desired
from tests.cluster.standin.status import Living

Object = helm.Object

OVERLAYS = helm.ROOT / "manifests/overlays"
NAMES = sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))
CLUSTER_WIDE = {"ClusterServingRuntime", "ClusterRole", "Namespace"}


@cache
def built(name: str) -> tuple[Object, ...]:
    """The objects of an overlay; not to be changed by a test."""
    return kustomized(OVERLAYS / name)


def kustomized(folder: Path) -> tuple[Object, ...]:
    done = subprocess.run(
        [helm.TOOLS / "kubectl", "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(objects: tuple[Object, ...], kind: str) -> Object:
    (item,) = (item for item in objects if item["kind"] == kind)
    return item


def service(name: str) -> Object:
    """The InferenceService as it would be read back from the API server."""
    made = of_kind(built(name), "InferenceService")
    return made | {"metadata": made["metadata"] | {"namespace": "ns", "uid": "u"}}


def runtime(name: str) -> Object | None:
    kinds = ("ClusterServingRuntime", "ServingRuntime")
    return next((item for item in built(name) if item["kind"] in kinds), None)


def images(node: Any) -> Iterator[str]:
    """Every image in a tree of maps and lists."""
    if isinstance(node, dict):
        if isinstance(node.get("image"), str):
            yield node["image"]
        for value in node.values():
            yield from images(value)
    elif isinstance(node, list):
        for item in node:
            yield from images(item)


def test_the_overlays_that_the_readme_names_are_there() -> None:
    readme = (helm.ROOT / "manifests/README.md").read_text()
    assert [name for name in NAMES if f"| `{name}` |" not in readme] == []
    assert len(NAMES) == 7


def test_they_are_what_the_charts_render() -> None:
    """Files and patches: a change of a chart that is not carried over is an error."""
    done = subprocess.run(
        [helm.ROOT / "hack/manifests.sh", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_no_namespace_is_made_or_named(name: str) -> None:
    """So that `kubectl -n NAMESPACE apply -k` and kustomize's `namespace:` decide."""
    for item in built(name):
        assert item["kind"] != "Namespace"
        assert "namespace" not in item["metadata"]


@pytest.mark.parametrize("name", NAMES)
def test_kustomize_replaces_the_image(name: str, tmp_path: Path) -> None:
    """By `images:` alone, as the README shows it: an image in an InferenceService's model would
    have stayed as it is."""
    assert set(images(list(built(name)))) == {"predictor:latest"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "manifests").symlink_to(helm.ROOT / "manifests")
    (tmp_path / "mine/kustomization.yaml").write_text(
        f"resources: [../manifests/overlays/{name}]\n"
        "images: [{name: predictor, newName: registry.example.com/predictor, newTag: 1.2.3}]\n"
    )
    replaced = kustomized(tmp_path / "mine")
    assert set(images(list(replaced))) == {"registry.example.com/predictor:1.2.3"}


@pytest.mark.parametrize("name", NAMES)
def test_kserve_would_admit_it(name: str) -> None:
    assert complaints(service(name)) == []


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_a_real_api_server_admits_it(name: str, api_server: ApiServer) -> None:
    api_server.apply(list(built(name)), "--dry-run=server", "-n", helm.NAMESPACE)


def test_namespaced_wants_no_rights_on_the_cluster() -> None:
    assert not {item["kind"] for item in built("namespaced")} & CLUSTER_WIDE
    assert {item["kind"] for item in built("cpu")} & CLUSTER_WIDE


def test_a_runtime_of_the_namespace_makes_the_same_pods() -> None:
    cluster_wide = desired(service("cpu"), runtime("cpu"), Living())
    namespaced = desired(service("namespaced"), runtime("namespaced"), Living())
    assert cluster_wide.steps == namespaced.steps


def test_the_image_of_the_runtime_reaches_every_pod() -> None:
    plan = desired(service("canary"), runtime("canary"), Living())
    deployments = [step.target for step in plan.steps if step.target["kind"] == "Deployment"]
    assert [d["metadata"]["name"] for d in deployments] == [
        "embedding-v2-predictor", "embedding-predictor",
    ]  # fmt: skip
    for deployment in deployments:
        assert set(images(deployment)) == {"predictor:latest"}


def test_the_canary_differs_in_its_model_only() -> None:
    """The short patch says what the chart says at length: a promotion starts no pod anew."""
    plan = desired(service("canary"), runtime("canary"), Living())
    canary, stable = (
        step.target["spec"]["template"]["spec"]
        for step in plan.steps
        if step.target["kind"] == "Deployment"
    )

    def without_path(pod: Object) -> Object:
        (container,) = pod["containers"]
        mounts = [m | {"subPath": ""} for m in container["volumeMounts"]]
        return pod | {"containers": [container | {"volumeMounts": mounts}]}

    assert canary != stable
    assert without_path(canary) == without_path(stable)


def test_a_custom_container_is_the_runtimes() -> None:
    """Written out by hand, since no chart makes it: it must not fall behind."""
    of_runtime = desired(service("cpu"), runtime("cpu"), Living())
    of_container = desired(service("custom-container"), None, Living())

    def pod(plan: Any) -> Object:
        spec: Object = plan.steps[1].target["spec"]["template"]["spec"]
        return spec

    def meaning(container: Object) -> Object:
        """The last of two flags counts, and variables that KServe reads are not the server's."""
        flags = dict(argument.partition("=")[::2] for argument in container["args"])
        env = [e for e in container["env"] if e["name"] not in ("STORAGE_URI", "PROTOCOL")]
        return container | {"args": flags, "env": env}

    (expected,), (container,) = pod(of_runtime)["containers"], pod(of_container)["containers"]
    assert meaning(container) == meaning(expected)
    assert pod(of_container) | {"containers": []} == pod(of_runtime) | {"containers": []}


def test_a_canary_of_a_custom_container_would_replace_the_whole_container() -> None:
    """Why that overlay has none; without STORAGE_URI KServe would not even admit it."""
    isvc = service("custom-container")
    containers = [{"name": "kserve-container"}]
    canary = {"trafficPercent": 10, "predictor": {"name": "v2", "containers": containers}}
    isvc["spec"] = isvc["spec"] | {"canary": [canary]}
    deployment = desired(isvc, None, Living()).steps[1].target
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "args" not in container
    bare = isvc["spec"]["predictor"] | {"containers": containers}
    isvc["spec"] = isvc["spec"] | {"predictor": bare}
    assert "canary requires a model in the stable predictor" in complaints(isvc)
