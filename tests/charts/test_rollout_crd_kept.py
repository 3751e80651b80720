"""The CRD comes with Helm, is upgraded with it, and stays when the release goes."""

from collections.abc import Iterator

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer
from tests.charts.test_rollout import ON

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

CRD = "embeddingrollouts.predictor.dev"


@pytest.fixture
def no_crd(api_server: ApiServer) -> Iterator[ApiServer]:
    crd = api_server.get("crd", CRD)
    for key in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
        crd["metadata"].pop(key, None)
    api_server.kubectl("delete", "crd", CRD, "--timeout=30s")
    yield api_server
    api_server.kubectl("delete", "crd", CRD, "--timeout=30s", "--ignore-not-found")
    crd.pop("status")
    api_server.apply([crd])
    api_server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", CRD)


def test_helm_upgrades_the_crd_and_keeps_it_at_the_end(no_crd: ApiServer) -> None:
    arguments = (str(helm.CHARTS / helm.RUNTIME), "-n", helm.NAMESPACE)
    sets = helm.flags((*helm.NEEDED[helm.RUNTIME], *ON), ())
    environment = no_crd.environment
    helm.run("install", "rt", *arguments, *sets, environment=environment)
    helm.run("upgrade", "rt", *arguments, *sets, environment=environment)
    text = helm.run("uninstall", "rt", "-n", helm.NAMESPACE, environment=environment)
    assert no_crd.get("crd", CRD)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "kept due to the resource policy" in text
    # The same release takes it up again.
    helm.run("install", "rt", *arguments, *sets, environment=environment)
    helm.run("uninstall", "rt", "-n", helm.NAMESPACE, environment=environment)


def test_a_model_without_crd_is_refused_with_its_name(no_crd: ApiServer) -> None:
    sets = helm.flags((*helm.NEEDED[helm.MODEL], "rollout.mode=controller"), ())
    arguments = (str(helm.CHARTS / helm.MODEL), "-n", helm.NAMESPACE, *sets)
    with pytest.raises(helm.Refused) as refused:
        helm.run("install", "emb", *arguments, environment=no_crd.environment)
    text = str(refused.value)
    assert 'no matches for kind "EmbeddingRollout"' in text
    assert "ensure CRDs are installed first" in text
