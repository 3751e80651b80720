"""The EmbeddingRollout that embedding-model makes, and what it leaves to the controller."""

from typing import Any

import pytest

from predictor.controller.header_routes import route_name
from tests.charts import helm

CONTROLLER = "rollout.mode=controller"
MODES = pytest.mark.parametrize("mode", ["Standard", "Knative"])


def rollout(*sets: str) -> Any:
    objects = helm.template(helm.MODEL, CONTROLLER, *sets)
    return helm.only(objects, "EmbeddingRollout")["spec"]


@MODES
def test_a_target_is_the_model_and_the_image_of_the_values(mode: str) -> None:
    spec = rollout(f"deploymentMode={mode}", "model.storageUri=s3://m/7", "image.tag=0.2.0")
    assert spec["inferenceService"] == "emb"
    assert spec["target"]["storageUri"] == "s3://m/7"
    assert spec["target"]["image"] == "registry.example.com/predictor:0.2.0"


def test_a_name_is_made_of_model_and_image() -> None:
    """Nobody has to think of one, and the same version has the same one for ever."""
    names = [
        rollout(*sets)["target"]["name"]
        for sets in ((), ("model.storageUri=pvc://m/2",), ("image.tag=0.2.0",))
    ]
    assert len(set(names)) == 3
    assert names[0] == rollout()["target"]["name"]
    assert rollout("rollout.target.name=v2")["target"]["name"] == "v2"


@MODES
def test_without_a_cluster_the_service_comes_from_the_values(mode: str) -> None:
    sets = [f"deploymentMode={mode}"] + ["predictor.name=v1"] * (mode == "Standard")
    by_helm, by_controller = (
        helm.only(helm.template(helm.MODEL, *sets, f"rollout.mode={who}"), "InferenceService")
        for who in ("helm", "controller")
    )
    assert by_helm == by_controller


def test_commands_given_with_kubectl_are_not_rendered() -> None:
    assert "paused" not in rollout()
    assert "shadow" not in rollout()
    spec = rollout("rollout.shadow.enabled=true", "access.adminTokenSecret.name=admin")
    assert spec["shadow"] == {"share": 0.05, "hold": "2m", "minTexts": 50}


def test_headers_choose_a_version_only_if_wished() -> None:
    assert "compare" not in rollout("rollout.strategy=Compare", "rollout.steps[0].weight=9")
    sets = ("rollout.strategy=Compare", "rollout.steps[0].weight=9")
    spec = rollout(*sets, "rollout.compare.userHeader=X-User-Id")
    assert spec["compare"] == {"versionHeader": "", "userHeader": "X-User-Id"}


@pytest.mark.parametrize("kind", ["BackendTrafficPolicy", "SecurityPolicy"])
def test_no_header_leads_round_the_gateways_policies(kind: str) -> None:
    sets = (
        *(CONTROLLER, "rollout.strategy=Compare", "rollout.steps[0].weight=9"),
        *("gateway.enabled=true", "gateway.apiKeys.enabled=true"),
        *("gateway.apiKeys.secretName=keys", "rollout.compare.userHeader=X-User-Id"),
    )
    policy = helm.only(helm.template(helm.MODEL, *sets), kind)
    service = helm.only(helm.template(helm.MODEL, *sets), "InferenceService")["metadata"]["name"]
    names = [target["name"] for target in policy["spec"]["targetRefs"]]
    assert route_name(service) in names


def test_large_numbers_stay_whole() -> None:
    assert rollout("rollout.analysis.minRequests=1000000")["analysis"]["minRequests"] == 1000000


def test_only_the_stable_predictor_has_an_autoscaler_of_the_chart() -> None:
    objects = helm.template(helm.MODEL, CONTROLLER, "autoscaling.mode=cpu", "predictor.name=v1")
    scaler = helm.only(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "emb-v1-predictor"


def test_the_policy_lets_the_controller_in() -> None:
    sets = (
        "networkPolicy.enabled=true",
        "networkPolicy.ingressFrom[0].podSelector.matchLabels.a=b",
        "networkPolicy.controllerFrom[0].podSelector.matchLabels.c=d",
    )
    policy = helm.only(helm.template(helm.MODEL, CONTROLLER, *sets), "NetworkPolicy")
    peer = {"podSelector": {"matchLabels": {"c": "d"}}}
    (controller_rule,) = (rule for rule in policy["spec"]["ingress"] if peer in rule["from"])
    assert controller_rule["ports"] == [{"port": 8080, "protocol": "TCP"}]


@MODES
def test_the_notes_have_the_commands_of_the_release(mode: str) -> None:
    text = helm.notes(helm.MODEL, CONTROLLER, f"deploymentMode={mode}")
    for command in (
        "kubectl -n search get er emb -w",
        "kubectl -n search annotate er emb --overwrite predictor.dev/action=promote",
        "kubectl -n search annotate er emb --overwrite predictor.dev/action=abort",
        "kubectl -n search annotate er emb --overwrite predictor.dev/action=resume",
        "kubectl -n search annotate er emb --overwrite predictor.dev/action=retry",
        """kubectl -n search patch er emb --type=merge -p '{"spec":{"paused":true}}'""",
        "helm upgrade emb charts/embedding-model -n search --reset-then-reuse-values "
        "--set model.storageUri=",
        "describe inferenceservice emb",
    ):
        assert command in text, command
    assert "canary.trafficPercent" not in text
    assert "rollout.target.name" not in text
    assert "serviceMonitor.enabled is false" in text


def test_the_notes_ask_for_a_name_where_one_was_given() -> None:
    sets = (CONTROLLER, "rollout.target.name=v1", "serviceMonitor.enabled=true")
    text = helm.notes(helm.MODEL, *sets)
    assert "--set model.storageUri=NEW_URI --set rollout.target.name=NEW_NAME" in text
    assert "serviceMonitor.enabled is false" not in text
