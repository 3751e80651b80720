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

from predictor.controller import knative, standard
from predictor.rollout.intents import Shape
from predictor.rollout.spec import Target, read_spec
from tests.charts import helm
from tests.charts.api_server import ApiServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ONE, TWO, THREE = (f"pvc://models/minilm/{n}" for n in (1, 2, 3))
CONTROLLER = "rollout.mode=controller"
SCALED = ("autoscaling.mode=cpu", "autoscaling.maxReplicas=4")
CRD = "embeddingrollouts.predictor.dev"
# As the controller's client is called in `managedFields`.
MANAGER = "--field-manager=OpenAPI-Generator"


@dataclass(frozen=True)
class Release:
    """Of the chart embedding-model, called emb, by one Helm."""

    program: Path
    server: ApiServer

    def ask(self, *arguments: str) -> str:
        """Raises helm.Refused."""
        done = subprocess.run(
            [str(self.program), *arguments, "-n", helm.NAMESPACE], capture_output=True, text=True,
            timeout=60, check=False, env={**os.environ, **self.server.environment},
        )  # fmt: skip
        if done.returncode:
            raise helm.Refused(done.stderr)
        return done.stdout

    def install(self, *sets: str) -> None:
        given = helm.flags((*helm.NEEDED[helm.MODEL], *sets), ())
        self.ask("install", "emb", str(helm.CHARTS / helm.MODEL), *given)

    def upgrade(self, *sets: str) -> str:
        chart = str(helm.CHARTS / helm.MODEL)
        return self.ask("upgrade", "emb", chart, "--reuse-values", *helm.flags(sets, ()))

    def service(self) -> helm.Object:
        found: helm.Object = self.server.get("inferenceservice", "emb")
        return found

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
    found = Release(program, api_server)
    yield found
    found.ask("uninstall", "emb", "--ignore-not-found")


def test_a_new_model_is_a_target_and_the_service_stays(release: Release) -> None:
    release.install(CONTROLLER)
    first = release.target()
    assert release.service()["spec"]["predictor"]["model"]["storageUri"] == ONE
    assert (first.storage_uri, first.image) == (ONE, "registry.example.com/predictor:0.1.0")
    release.unmoved(f"model.storageUri={TWO}", "image.tag=0.2.0")
    second = release.target()
    assert (second.storage_uri, second.image) == (TWO, "registry.example.com/predictor:0.2.0")
    assert second.name != first.name


def test_an_upgrade_after_a_promotion_changes_nothing(release: Release) -> None:
    release.install(CONTROLLER, "predictor.name=v1", *SCALED)
    release.upgrade(f"model.storageUri={TWO}", "image.tag=0.2.0")
    target = release.target()
    for weight in (0, 50, 100):
        patch = standard.shape(release.service(), target, Shape(weight, 1))
        release.patch("inferenceservice", "emb", patch)
        canary = release.unmoved()["spec"]["canary"][0]
        assert canary["trafficPercent"] == weight
    release.patch("inferenceservice", "emb", standard.promote(release.service()))
    old = release.server.get("hpa", "emb-autoscale")
    stable = f"emb-{target.name}-predictor"
    release.patch("hpa", "emb-autoscale", standard.follow(old, stable))
    scaler = release.server.get("hpa", "emb-autoscale")["spec"]

    after = release.unmoved()["spec"]
    assert after["predictor"]["name"] == target.name
    assert after["predictor"]["model"]["storageUri"] == TWO
    assert after["predictor"]["model"]["image"] == "registry.example.com/predictor:0.2.0"
    assert "canary" not in after
    assert release.server.get("hpa", "emb-autoscale")["spec"] == scaler
    assert scaler["scaleTargetRef"]["name"] == stable
    assert release.target() == target
    assert f"service/{stable} 8080:80" in release.ask("get", "notes", "emb")
    release.unmoved(f"model.storageUri={THREE}")


def test_other_values_still_reach_a_promoted_service(release: Release) -> None:
    release.install(CONTROLLER)
    release.upgrade(f"model.storageUri={TWO}")
    release.patch(
        "inferenceservice",
        "emb",
        standard.shape(release.service(), release.target(), Shape(100, 1)),
    )
    release.patch("inferenceservice", "emb", standard.promote(release.service()))
    release.upgrade("extraArgs={--max-queue-tokens=65536}", "resources.limits.cpu=3")
    predictor = release.service()["spec"]["predictor"]
    assert "--max-queue-tokens=65536" in predictor["model"]["args"]
    assert predictor["model"]["storageUri"] == TWO
    assert predictor["name"] == release.target().name


def test_an_autoscaler_that_nobody_moved_follows_at_the_upgrade(release: Release) -> None:
    release.install(CONTROLLER, *SCALED)
    name = {"spec": {"predictor": {"name": "v2", "model": {"storageUri": TWO}}}}
    release.patch("inferenceservice", "emb", name)
    release.upgrade(f"model.storageUri={TWO}")
    scaler = release.server.get("hpa", "emb-autoscale")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "emb-v2-predictor"


def test_a_person_may_pause_and_helm_leaves_it(release: Release) -> None:
    release.install(CONTROLLER)
    release.patch("er", "emb", {"spec": {"paused": True}})
    release.upgrade(f"model.storageUri={TWO}")
    assert release.server.get("er", "emb")["spec"]["paused"] is True


def test_knative_is_left_alone_too(release: Release) -> None:
    release.install(CONTROLLER, "deploymentMode=Knative")
    release.unmoved(f"model.storageUri={TWO}")
    for weight in (10, 100):
        patch = knative.shape(release.service(), release.target(), Shape(weight, 1))
        release.patch("inferenceservice", "emb", patch)
        predictor = release.unmoved()["spec"]["predictor"]
        assert (predictor["canaryTrafficPercent"], predictor["model"]["storageUri"]) == (
            weight, TWO,
        )  # fmt: skip
    release.patch("inferenceservice", "emb", knative.promote(release.service()))
    predictor = release.unmoved()["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == TWO
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
    release.install(*sets, f"canary.storageUri={TWO}", "canary.trafficPercent=0")
    empty = ("canary.name=", "canary.storageUri=")
    assert "a canary that no controller made" in refusal(
        lambda: release.upgrade(CONTROLLER, *empty)
    )


def test_a_service_without_canary_is_handed_over_and_back(release: Release) -> None:
    release.install()
    release.unmoved(CONTROLLER)
    assert release.target().storage_uri == ONE
    release.unmoved("rollout.mode=helm")
    assert release.server.kubectl("get", "er", "-n", helm.NAMESPACE) == ""


def test_what_was_promoted_is_not_moved_back_by_handing_it_back(release: Release) -> None:
    release.install(CONTROLLER)
    name = {"spec": {"predictor": {"name": "v2", "model": {"storageUri": TWO}}}}
    release.patch("inferenceservice", "emb", name)
    text = refusal(lambda: release.upgrade("rollout.mode=helm"))
    assert 'predictor.name would change from "v2" to ""' in text
    release.unmoved("rollout.mode=helm", "predictor.name=v2", f"model.storageUri={TWO}")


def test_a_stable_name_is_not_the_targets(release: Release) -> None:
    release.install(CONTROLLER, "predictor.name=v1", "rollout.target.name=v1")
    text = refusal(lambda: release.upgrade(f"model.storageUri={TWO}"))
    assert "rollout.target.name v1 is the name of the stable predictor, which serves" in text
    release.unmoved(f"model.storageUri={TWO}", "rollout.target.name=v2")


def test_a_mode_does_not_change(release: Release) -> None:
    release.install(CONTROLLER)
    text = refusal(lambda: release.upgrade("deploymentMode=Knative"))
    assert "deploymentMode cannot be changed from Standard to Knative" in text
