"""`helm upgrade` of a service that a controller moves: nothing is moved back.

With both of hack/tools.sh: Helm 4, which applies on the server, and Helm 3, which compares the
manifests itself.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from predictor.controller import autoscaler, field_ownership, standard
from predictor.controller.knative import KnativeDriver
from predictor.controller.knative_service import KnativeService
from predictor.rollout.intents import SetCanary
from predictor.rollout.spec import Target, read_spec
from tests.charts import helm
from tests.charts.api_server import ApiServer
from tests.deadlines import DEADLINE_S
from tests.unit.controller.world import World

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

V1, V2, V3 = (f"pvc://models/minilm/{n}" for n in (1, 2, 3))
CONTROLLER = "rollout.mode=controller"
SCALED = ("autoscaling.mode=cpu", "autoscaling.maxReplicas=4")
CRD = "embeddingrollouts.predictor.dev"
# As the controller's client is called in `managedFields`.
MANAGER = f"--field-manager={field_ownership.MANAGER}"


@dataclass(frozen=True)
class Release:
    """Of the chart embedding-model, called emb, by one Helm."""

    program: Path
    server: ApiServer

    def ask(self, *arguments: str) -> str:
        """Raises helm.Refused."""
        done = subprocess.run(
            [str(self.program), *arguments, "-n", helm.NAMESPACE], capture_output=True, text=True,
            timeout=DEADLINE_S, check=False, env={**os.environ, **self.server.environment},
        )  # fmt: skip
        if done.returncode:
            raise helm.Refused(done.stderr)
        return done.stdout

    def install(self, *sets: str) -> None:
        flags = helm.flags((*helm.NEEDED[helm.MODEL], *sets), ())
        self.ask("install", "emb", str(helm.CHARTS / helm.MODEL), *flags)

    def upgrade(self, *sets: str) -> str:
        chart = str(helm.CHARTS / helm.MODEL)
        return self.ask("upgrade", "emb", chart, "--reset-then-reuse-values", *helm.flags(sets, ()))

    def service(self) -> helm.Object:
        isvc: helm.Object = self.server.get("inferenceservice", "emb")
        return isvc

    def target(self) -> Target:
        return read_spec(self.server.get(CRD, "emb")).target

    def patch(self, kind: str, name: str, patch: Any) -> None:
        """As the controller does it."""
        self.server.kubectl(
            "patch", kind, name, "-n", helm.NAMESPACE, "--type=merge", MANAGER,
            "-p", json.dumps(patch),
        )  # fmt: skip

    def unmoved(self, *sets: str) -> helm.Object:
        """Upgrade, and see that the specification is not even written."""
        before = self.service()
        self.upgrade(*sets)
        after = self.service()
        assert after["spec"] == before["spec"]
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        return after


@pytest.fixture(params=["helm", "helm3"])
def release(api_server: ApiServer, request: pytest.FixtureRequest) -> Iterator[Release]:
    program = helm.TOOLS / request.param
    if not program.is_file():
        pytest.skip(f"no {program.name}: hack/tools.sh fetches it")
    installed = Release(program, api_server)
    yield installed
    installed.ask("uninstall", "emb", "--ignore-not-found")


def test_a_new_model_is_a_target_and_the_service_stays(release: Release) -> None:
    release.install(CONTROLLER)
    first = release.target()
    assert release.service()["spec"]["predictor"]["model"]["storageUri"] == V1
    assert (first.storage_uri, first.image) == (V1, "registry.example.com/predictor:0.1.0")
    release.unmoved(f"model.storageUri={V2}", "image.tag=0.2.0")
    second = release.target()
    assert (second.storage_uri, second.image) == (V2, "registry.example.com/predictor:0.2.0")
    assert second.name != first.name


def test_an_upgrade_after_a_promotion_changes_nothing(release: Release) -> None:
    release.install(CONTROLLER, "predictor.name=v1", *SCALED)
    release.upgrade(f"model.storageUri={V2}", "image.tag=0.2.0")
    target = release.target()
    for weight in (0, 50, 100):
        patch = standard.set_canary(release.service(), target, SetCanary(weight, 1))
        release.patch("inferenceservice", "emb", patch)
        canary = release.unmoved()["spec"]["canary"][0]
        assert canary["trafficPercent"] == weight
    release.patch("inferenceservice", "emb", standard.promote(release.service()))
    old = release.server.get("hpa", "emb-autoscale")
    stable = f"emb-{target.name}-predictor"
    release.patch("hpa", "emb-autoscale", {"spec": autoscaler.redirected(old, stable)})
    scaler = release.server.get("hpa", "emb-autoscale")["spec"]

    after = release.unmoved()["spec"]
    assert after["predictor"]["name"] == target.name
    assert after["predictor"]["model"]["storageUri"] == V2
    assert after["predictor"]["model"]["image"] == "registry.example.com/predictor:0.2.0"
    assert "canary" not in after
    assert release.server.get("hpa", "emb-autoscale")["spec"] == scaler
    assert scaler["scaleTargetRef"]["name"] == stable
    assert release.target() == target
    assert f"service/{stable} 8080:80" in release.ask("get", "notes", "emb")
    release.unmoved(f"model.storageUri={V3}")


def test_other_values_still_reach_a_promoted_service(release: Release) -> None:
    release.install(CONTROLLER)
    release.upgrade(f"model.storageUri={V2}")
    release.patch(
        "inferenceservice",
        "emb",
        standard.set_canary(release.service(), release.target(), SetCanary(100, 1)),
    )
    release.patch("inferenceservice", "emb", standard.promote(release.service()))
    release.upgrade("extraArgs={--max-queue-tokens=65536}", "resources.limits.cpu=3")
    predictor = release.service()["spec"]["predictor"]
    assert "--max-queue-tokens=65536" in predictor["model"]["args"]
    assert predictor["model"]["storageUri"] == V2
    assert predictor["name"] == release.target().name


def test_an_autoscaler_that_nobody_moved_follows_at_the_upgrade(release: Release) -> None:
    release.install(CONTROLLER, *SCALED)
    name = {"spec": {"predictor": {"name": "v2", "model": {"storageUri": V2}}}}
    release.patch("inferenceservice", "emb", name)
    release.upgrade(f"model.storageUri={V2}")
    scaler = release.server.get("hpa", "emb-autoscale")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "emb-v2-predictor"


def test_a_person_may_pause_and_helm_leaves_it(release: Release) -> None:
    release.install(CONTROLLER)
    release.patch("er", "emb", {"spec": {"paused": True}})
    release.upgrade(f"model.storageUri={V2}")
    assert release.server.get("er", "emb")["spec"]["paused"] is True


def reconciled(service: helm.Object) -> tuple[helm.Object, KnativeDriver]:
    """As KServe and Knative, which are not here, leave it."""
    world = World()
    living = world.put(service)
    for _ in range(3):
        world.pass_time(2.0)
    knative_service = world.get("KnativeService", helm.NAMESPACE, "emb-predictor")
    return living, KnativeDriver(KnativeService(knative_service or {}))


def test_knative_is_left_alone_too(release: Release) -> None:
    release.install(CONTROLLER, "deploymentMode=Knative")
    release.unmoved(f"model.storageUri={V2}")
    for weight in (10, 100):
        service, driver = reconciled(release.service())
        patch = driver.set_canary(service, release.target(), SetCanary(weight, 1))
        release.patch("inferenceservice", "emb", patch)
        predictor = release.unmoved()["spec"]["predictor"]
        assert (predictor["canaryTrafficPercent"], predictor["model"]["storageUri"]) == (
            weight, V2,
        )  # fmt: skip
    release.patch("inferenceservice", "emb", KnativeDriver().promote(release.service()))
    predictor = release.unmoved()["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == V2
    assert "canaryTrafficPercent" not in predictor


def refusal(upgrade: Callable[[], object]) -> str:
    with pytest.raises(helm.Refused) as refused:
        upgrade()
    return str(refused.value)


@pytest.mark.parametrize(
    "sets",
    [("canary.name=v2",), ("deploymentMode=Knative",)],
    ids=["standard", "knative"],
)
def test_a_canary_of_helm_is_not_handed_over(release: Release, sets: tuple[str, ...]) -> None:
    release.install(*sets, f"canary.storageUri={V2}", "canary.trafficPercent=0")
    empty = ("canary.name=", "canary.storageUri=")
    assert "a canary that no controller created" in refusal(
        lambda: release.upgrade(CONTROLLER, *empty)
    )


def test_a_canary_that_is_the_target_is_handed_over(release: Release) -> None:
    release.install("canary.name=v2", f"canary.storageUri={V2}", "canary.trafficPercent=10")
    canary = release.service()["spec"]["canary"]
    empty = ("canary.name=", "canary.storageUri=", "canary.trafficPercent=0")
    target = ("rollout.target.name=v2", f"model.storageUri={V2}")
    release.upgrade(CONTROLLER, *empty, *target)
    assert release.target().name == "v2"
    assert canary_of(release) == shares_of(canary)
    assert release.service()["spec"]["predictor"]["model"]["storageUri"] == V1
    # The controller goes on, and no later upgrade removes the canary that Helm has made.
    patch = standard.set_canary(release.service(), release.target(), SetCanary(50, 1))
    release.patch("inferenceservice", "emb", patch)
    release.unmoved()
    assert canary_of(release) == [("v2", 50)]
    promotion = standard.promote(release.service())
    assert promotion is not None
    # The pods of the canary, which Helm had added, are taken off again.
    promotion["spec"]["predictor"] |= {"minReplicas": 1, "maxReplicas": 1}
    release.patch("inferenceservice", "emb", promotion)
    assert canary_of(release) == []
    release.unmoved()


def shares_of(canary: Any) -> list[tuple[str, int]]:
    return [(entry["predictor"]["name"], entry["trafficPercent"]) for entry in canary]


def canary_of(release: Release) -> list[tuple[str, int]]:
    return shares_of(release.service()["spec"].get("canary", []))


def test_the_refusal_of_helms_mode_names_the_living_canary(release: Release) -> None:
    release.install(CONTROLLER)
    release.upgrade(f"model.storageUri={V2}", "rollout.target.name=v2")
    patch = standard.set_canary(release.service(), release.target(), SetCanary(10, 1))
    release.patch("inferenceservice", "emb", patch)
    text = refusal(lambda: release.upgrade("rollout.mode=helm"))
    values = f"--set canary.name=v2 --set canary.storageUri={V2} --set canary.trafficPercent=10"
    assert values in text
    assert "--set canary.replicas=1" in text


def test_a_service_without_canary_is_handed_over_and_back(release: Release) -> None:
    release.install()
    release.unmoved(CONTROLLER)
    assert release.target().storage_uri == V1
    release.unmoved("rollout.mode=helm")
    assert release.server.kubectl("get", "er", "-n", helm.NAMESPACE) == ""


def test_a_promoted_version_stays_after_the_handover_to_helm(release: Release) -> None:
    release.install(CONTROLLER)
    name = {"spec": {"predictor": {"name": "v2", "model": {"storageUri": V2}}}}
    release.patch("inferenceservice", "emb", name)
    text = refusal(lambda: release.upgrade("rollout.mode=helm"))
    assert f"--set rollout.mode=helm --set predictor.name=v2 --set model.storageUri={V2}" in text
    release.unmoved("rollout.mode=helm", "predictor.name=v2", f"model.storageUri={V2}")


def test_a_stable_name_is_not_the_targets(release: Release) -> None:
    release.install(CONTROLLER, "predictor.name=v1", "rollout.target.name=v1")
    text = refusal(lambda: release.upgrade(f"model.storageUri={V2}"))
    assert "rollout.target.name v1 is the name of the stable predictor, which serves" in text
    release.unmoved(f"model.storageUri={V2}", "rollout.target.name=v2")


def test_a_mode_does_not_change(release: Release) -> None:
    release.install(CONTROLLER)
    text = refusal(lambda: release.upgrade("deploymentMode=Knative"))
    assert "deploymentMode cannot be changed from Standard to Knative" in text
