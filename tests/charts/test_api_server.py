"""What the charts make is strictly valid for a real API server with the real CRDs, and created."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer, Rejected
from tests.charts.conftest import Rendering

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

CRD = "inferenceservices.serving.kserve.io"


def test_a_ci_file_is_admitted_and_created(
    api_server: ApiServer, chart: str, values: Path, rendered: Rendering
) -> None:
    objects = rendered(chart, values)
    api_server.apply(objects, "--dry-run=server")
    api_server.apply(objects)
    try:
        for made in objects:
            meta = made["metadata"]
            kind, namespace = made["kind"], meta.get("namespace", helm.NAMESPACE)
            stored = api_server.get(kind, meta["name"], namespace)
            assert contains(stored["spec"], made["spec"]) if "spec" in made else stored
    finally:
        # The CRD is there for all tests, and would take every EmbeddingRollout with it.
        api_server.delete([o for o in objects if o["kind"] != "CustomResourceDefinition"])


def contains(whole: object, part: object) -> bool:
    """Whether all of the part came through; the server adds defaults and changes quantities."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part)
    return True


@pytest.mark.parametrize("name", [helm.RUNTIME, helm.MODEL])
def test_helm_installs_and_removes_it(api_server: ApiServer, name: str) -> None:
    values = helm.CHARTS / name / "ci/everything-values.yaml"
    release = ("emb", "--namespace", helm.NAMESPACE)
    environment = api_server.environment
    chart = str(helm.CHARTS / name)
    keeping = "--reset-then-reuse-values"
    helm.run("install", *release, chart, "-f", str(values), environment=environment)
    helm.run("upgrade", *release, chart, keeping, environment=environment)
    helm.run("uninstall", *release, environment=environment)


def test_what_is_absent_is_said(api_server: ApiServer) -> None:
    """Not refused, since it may come later: the notes name it."""
    sets = ("access.apiKeysSecret.name=keys", *helm.NEEDED[helm.MODEL])
    text = helm.run(
        "install", "emb", str(helm.CHARTS / helm.MODEL), "--dry-run=server", "-n", helm.NAMESPACE,
        *helm.flags(sets, ()), environment=api_server.environment,
    )  # fmt: skip
    assert "WARNING: there is no PersistentVolumeClaim models in namespace search" in text
    assert "there is no Secret keys in namespace search" in text


@pytest.fixture
def old_kserve(api_server: ApiServer) -> Iterator[ApiServer]:
    """A CRD from before spec.canary."""
    now = api_server.get("crd", CRD)
    for key in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
        now["metadata"].pop(key, None)
    before = copy.deepcopy(now)
    for version in before["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].pop("canary")
    try:
        api_server.kubectl("replace", "-f", "-", stdin=json.dumps(before))
        yield api_server
    finally:
        api_server.kubectl("replace", "-f", "-", stdin=json.dumps(now))
        api_server.settle("the CRD is not back", lambda: not canary_is_refused(api_server))


def canary_is_refused(server: ApiServer) -> bool:
    sets = ("canary.name=v2", "canary.storageUri=pvc://models/minilm/2")
    service = helm.only(helm.template(helm.MODEL, *sets), "InferenceService")
    try:
        server.apply([service], "--dry-run=server", "--server-side")
    except Rejected:
        return True
    return False


def test_a_kserve_without_canary_refuses_it_at_install(old_kserve: ApiServer) -> None:
    """No capability is asked: the server itself says which field it does not know."""
    old_kserve.settle("the CRD is not taken over", lambda: canary_is_refused(old_kserve))
    sets = (*helm.NEEDED[helm.MODEL], "canary.name=v2", "canary.storageUri=pvc://models/minilm/2")
    command = ("emb", str(helm.CHARTS / helm.MODEL), "-n", helm.NAMESPACE, *helm.flags(sets, ()))
    with pytest.raises(helm.Refused) as refused:
        helm.run("install", *command, environment=old_kserve.environment)
    helm.run("uninstall", "emb", "-n", helm.NAMESPACE, environment=old_kserve.environment)
    assert ".spec.canary: field not declared in schema" in str(refused.value)
