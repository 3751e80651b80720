"""From Helm to the controller and back, twice, with each Helm; what is promoted needs no force.

The controller's writes are its own: the same patches by the same client, with its manager's name.
"""

import json
from collections.abc import Iterator

import pytest
from kubernetes import config

from predictor.controller.apply import Applier
from predictor.controller.cluster import Cluster
from predictor.controller.field_ownership import MANAGER
from predictor.controller.standard import promote, set_canary
from predictor.rollout.intents import SetCanary
from predictor.rollout.spec import Target
from tests.charts import helm
from tests.charts.api_server import ApiServer
from tests.charts.test_rollout_upgrade import Release

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

URI = "pvc://models/minilm/{}"
NO_CANARY = (
    *("canary.name=", "canary.storageUri=", "canary.trafficPercent=0", "canary.replicas=0"),
    "canary.allowSkippedStep=false",
)


@pytest.fixture(params=["helm", "helm3"])
def release(api_server: ApiServer, request: pytest.FixtureRequest) -> Iterator[Release]:
    program = helm.TOOLS / request.param
    if not program.is_file():
        pytest.skip(f"no {program.name}: hack/tools.sh fetches it")
    installed = Release(program, api_server)
    yield installed
    installed.ask("uninstall", "emb", "--ignore-not-found")


@pytest.fixture
def applier(api_server: ApiServer) -> Applier:
    return Applier(Cluster(config.new_client_from_config(str(api_server.kubeconfig))))


def promote_by_controller(release: Release, applier: Applier, target: Target) -> None:
    """All of its writes on the way to a promotion, and the last one."""
    for weight in (0, 50, 100):
        patch = set_canary(release.service(), target, SetCanary(weight, 1))
        assert patch is not None
        applier.cluster.patch("InferenceService", helm.NAMESPACE, "emb", patch)
    patch = promote(release.service())
    assert patch is not None
    applier.cluster.patch("InferenceService", helm.NAMESPACE, "emb", patch)
    assert MANAGER in managers(release)
    isvc = applier.cluster.get("InferenceService", helm.NAMESPACE, "emb")
    assert isvc is not None
    applier.give_fields_back(isvc)
    assert MANAGER not in managers(release)


def managers(release: Release) -> set[str]:
    text = release.server.kubectl(
        "get", "inferenceservice", "emb", "-n", helm.NAMESPACE, "--show-managed-fields",
        "-o", "jsonpath={.metadata.managedFields[*].manager}",
    )  # fmt: skip
    return set(text.split())


def stable(release: Release) -> tuple[str, str]:
    predictor = release.service()["spec"]["predictor"]
    return predictor.get("name", ""), predictor["model"]["storageUri"]


def test_from_helm_to_the_controller_and_back_twice(release: Release, applier: Applier) -> None:
    release.install()
    release.upgrade("rollout.mode=controller", "rollout.target.name=v1")
    release.upgrade(f"model.storageUri={URI.format(2)}", "rollout.target.name=v2")
    promote_by_controller(release, applier, release.target())
    assert stable(release) == ("v2", URI.format(2))

    # Helm takes it as it is, and brings in the next version by itself.
    release.upgrade(
        "rollout.mode=helm",
        "rollout.target.name=",
        "predictor.name=v2",
        f"model.storageUri={URI.format(2)}",
    )
    canary = ("canary.name=v3", f"canary.storageUri={URI.format(3)}")
    release.upgrade(*canary, "canary.trafficPercent=0")
    for weight in (50, 100):
        release.upgrade(f"canary.trafficPercent={weight}", "canary.allowSkippedStep=true")
    release.upgrade("predictor.name=v3", f"model.storageUri={URI.format(3)}", *NO_CANARY)
    assert stable(release) == ("v3", URI.format(3))

    release.upgrade("rollout.mode=controller", "rollout.target.name=v3")
    release.upgrade(f"model.storageUri={URI.format(4)}", "rollout.target.name=v4")
    promote_by_controller(release, applier, release.target())
    release.unmoved()
    assert stable(release) == ("v4", URI.format(4))
    release.ask("uninstall", "emb")
    assert "emb" not in release.server.kubectl("get", "inferenceservice", "-n", helm.NAMESPACE)


def test_a_weight_of_kubectl_needs_the_documented_flag(release: Release) -> None:
    """Only Helm 4 asks whose a field is."""
    canary = ("canary.name=v2", f"canary.storageUri={URI.format(2)}", "canary.trafficPercent=0")
    release.install(*canary)
    entry = release.service()["spec"]["canary"][0] | {"trafficPercent": 5}
    patch = json.dumps({"spec": {"canary": [entry]}})
    release.server.kubectl(
        "patch", "inferenceservice", "emb", "-n", helm.NAMESPACE, "--type=merge", "-p", patch
    )
    step = ("canary.trafficPercent=10", "canary.allowSkippedStep=true")
    if release.program.name == "helm":
        with pytest.raises(helm.Refused, match=r"conflict"):
            release.upgrade(*step)
        flags = ("--reset-then-reuse-values", "--force-conflicts", *helm.flags(step, ()))
        chart = str(helm.CHARTS / helm.MODEL)
        release.ask("upgrade", "emb", chart, *flags)
    else:
        release.upgrade(*step)
    assert release.service()["spec"]["canary"][0]["trafficPercent"] == 10
