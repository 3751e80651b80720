"""What `helm install` prints: commands that can be pasted, with the release's own names."""

import re
import shlex

import pytest

from tests.charts import helm

UPGRADE = "helm upgrade emb charts/embedding-model -n search --reset-then-reuse-values"
KNATIVE = "deploymentMode=Knative"


def upgrades(text: str) -> list[tuple[str, ...]]:
    """The values of every `helm upgrade` of the notes, in order."""
    text = text.replace("NEW_URI", "pvc://models/minilm/2")
    commands = re.findall(rf"{re.escape(UPGRADE)}((?: --set [^ \n]+)+)", text)
    return [tuple(part for part in shlex.split(line) if part != "--set") for line in commands]


@pytest.mark.parametrize("sets", [(), ("autoscaling.minReplicas=4",), (KNATIVE,)])
def test_the_commands_of_the_notes_are_taken_by_the_chart(sets: tuple[str, ...]) -> None:
    """Each step upon those before it, whose values the command keeps: to the end, or back."""
    forward, _, back = helm.notes(helm.MODEL, *sets).partition("\nOr back")
    *steps, promotion = upgrades(forward)
    assert len(steps) >= 3
    values = sets
    for step in steps:
        values = (*values, *step)
        helm.template(helm.MODEL, *values)
    promoted = helm.only(helm.template(helm.MODEL, *values, *promotion), "InferenceService")
    assert "canary" not in promoted["spec"]
    assert promoted["spec"]["predictor"]["model"]["storageUri"] == "pvc://models/minilm/2"
    for step in upgrades(back):
        values = (*values, *step)
        helm.template(helm.MODEL, *values)
    at_start = helm.only(helm.template(helm.MODEL, *sets), "InferenceService")
    assert helm.only(helm.template(helm.MODEL, *values), "InferenceService") == at_start


def test_weights_go_through_100_and_0() -> None:
    text = helm.notes(helm.MODEL)
    weights = re.findall(r"canary\.trafficPercent=(\d+)", text)
    assert weights == ["10", "50", "100", "0", "0"]


def test_pods_come_before_the_weight_that_wants_them() -> None:
    steps = upgrades(helm.notes(helm.MODEL, "autoscaling.minReplicas=4"))
    flat = [value for step in steps for value in step]
    order = ["canary.trafficPercent=10", "canary.replicas=2", "canary.trafficPercent=50"]
    order += ["canary.replicas=4", "canary.trafficPercent=100"]
    assert [value for value in flat if value in order] == order


def test_names_are_the_releases() -> None:
    text = helm.notes(helm.MODEL, "predictor.name=v2", "model.servedName=minilm")
    assert "service/emb-v2-predictor 8080:80" in text
    assert '"model": "minilm"' in text
    assert "helm test emb -n search" in text
    assert "WARNING" not in text


def test_a_gpu_comes_with_what_it_needs() -> None:
    text = helm.notes(helm.RUNTIME, "runtimes.gpu.enabled=true")
    assert "Insufficient nvidia.com/gpu" in text
    assert "Insufficient" not in helm.notes(helm.RUNTIME)


def test_queue_without_a_monitor_is_mentioned() -> None:
    sets = ("autoscaling.mode=queue", "autoscaling.queue.serverAddress=http://prometheus:9090")
    assert "serviceMonitor.enabled is false" in helm.notes(helm.MODEL, *sets)
    with_monitor = helm.notes(helm.MODEL, *sets, "serviceMonitor.enabled=true")
    assert "serviceMonitor.enabled is false" not in with_monitor


@pytest.mark.parametrize("sets", [(), ("rollout.mode=controller",), (KNATIVE,)])
def test_nothing_waits_for_a_generation_that_kserve_does_not_write(sets: tuple[str, ...]) -> None:
    """`kubectl wait --for=condition` of an InferenceService may never end.

    Its `status.observedGeneration` is that of the Deployment or of the Knative Service.
    """
    lines = [line for line in helm.notes(helm.MODEL, *sets).splitlines() if " wait " in line]
    assert lines
    assert not [line for line in lines if "condition=" in line and "inferenceservice" in line]
