"""What the charts make in Knative mode: monitoring, network policy, threads, printed commands."""

import re
from typing import Any

import pytest

from tests.charts import helm

KNATIVE = "deploymentMode=Knative"
MONITOR = "serviceMonitor.enabled=true"
POLICY = "networkPolicy.enabled=true"
PROMETHEUS = "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus"
CONTROLLER = (
    "rollout.mode=controller",
    "networkPolicy.controllerFrom[0].podSelector.matchLabels.app=controller",
)


def template(*sets: str) -> list[helm.Object]:
    return helm.template(helm.MODEL, KNATIVE, *sets)


def test_pods_are_scraped_past_the_queue_proxy() -> None:
    """A request to the queue-proxy would count as traffic, and keep a pod from going to zero."""
    objects = template(MONITOR, "serviceMonitor.labels.release=prometheus")
    assert not [item for item in objects if item["kind"] == "ServiceMonitor"]
    monitor = helm.only(objects, "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    labels = {"serving.kserve.io/inferenceservice": "emb", "component": "predictor"}
    assert monitor["spec"]["selector"] == {"matchLabels": labels}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("user-port", "/metrics")
    by_target = {rule["targetLabel"]: rule for rule in endpoint["relabelings"]}
    assert by_target["job"]["replacement"] == "predictor"
    source = ["__meta_kubernetes_pod_label_serving_knative_dev_revision"]
    assert by_target["deployment"]["sourceLabels"] == source


def test_in_standard_mode_the_services_are_scraped() -> None:
    kinds = {item["kind"] for item in helm.template(helm.MODEL, MONITOR)}
    assert "ServiceMonitor" in kinds
    assert "PodMonitor" not in kinds


def ports_from(policy: helm.Object, app: str) -> list[int]:
    peer = {"podSelector": {"matchLabels": {"app": app}}}
    (rule,) = (rule for rule in policy["spec"]["ingress"] if peer in rule.get("from", []))
    return [port["port"] for port in rule["ports"]]


def test_a_policy_opens_the_ports_of_the_queue_proxy_and_the_servers_own() -> None:
    clients = "networkPolicy.ingressFrom[0].podSelector.matchLabels.app=activator"
    sets = (MONITOR, POLICY, clients, PROMETHEUS, *CONTROLLER)
    policy = helm.only(template(*sets), "NetworkPolicy")
    assert ports_from(policy, "activator") == [8012, 8013, 8112, 9090]
    assert ports_from(policy, "prometheus") == [8080, 9091]
    assert ports_from(policy, "controller") == [8080]


def test_copies_of_live_texts_leave_by_the_rule_for_the_gateway() -> None:
    gateway = "networkPolicy.extraEgress[0].to[0].namespaceSelector.matchLabels.app=gateway"
    shadow = ("rollout.shadow.enabled=true", "access.adminTokenSecret.name=token")
    policy = helm.only(template(POLICY, *CONTROLLER, *shadow, gateway), "NetworkPolicy")
    peers = [peer for rule in policy["spec"]["egress"] for peer in rule.get("to", [])]
    assert peers == [{"namespaceSelector": {"matchLabels": {"app": "gateway"}}}]


def threads(*sets: str) -> list[str]:
    service = helm.only(helm.template(helm.MODEL, *sets), "InferenceService")
    arguments: list[str] = service["spec"]["predictor"]["model"]["args"]
    return [item for item in arguments if item.startswith("--threads")]


@pytest.mark.parametrize(
    ("limit", "number"),
    [
        ("1", "1"), ("2", "1"), ("500m", "1"), ("1500m", "1"), ("2500m", "2"), ("8", "7"),
        ("0.5", "1"), ("4000m", "3"),
    ],
)  # fmt: skip
def test_the_queue_proxy_has_a_cpu_beside_the_threads(limit: str, number: str) -> None:
    assert threads(KNATIVE, f"resources.limits.cpu={limit}") == [f"--threads={number}"]


def test_threads_may_be_set_and_are_otherwise_the_servers_matter() -> None:
    assert threads() == []
    assert threads("server.threads=3") == ["--threads=3"]
    assert threads(KNATIVE, "server.threads=2") == ["--threads=2"]
    assert threads(KNATIVE, "resources.limits.cpu=null") == []


@pytest.mark.parametrize(
    "arguments", ["{--enable-grpc=false}", "{--enable-grpc-reflection}", "{--max-queue-tokens=9}"]
)
def test_other_flags_than_grpc_pass(arguments: str) -> None:
    assert template(f"extraArgs={arguments}")


def test_a_runtime_of_another_name_passes_where_no_cluster_is_asked() -> None:
    assert template("runtime.name=my-runtime")


def commands(*sets: str) -> list[Any]:
    lines = helm.notes(helm.MODEL, KNATIVE, *sets).splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def test_readiness_is_that_of_the_knative_service() -> None:
    """KServe writes its generation into the InferenceService's status."""
    waits = [line for line in commands() if " wait " in line]
    assert len(waits) >= 6
    assert all("ksvc/emb-predictor" in line for line in waits)
    assert waits[0].endswith("wait --for=create --timeout=1m ksvc/emb-predictor")


def test_a_rollback_waits_until_kserve_has_put_the_old_model_in() -> None:
    """Before, the Knative Service is ready, but with the bad model."""
    text = helm.notes(helm.MODEL, KNATIVE)
    back = text.partition("\nOr back")[2]
    model, ready = re.findall(r"kubectl -n search wait (.*)", back)
    assert model.endswith("storage-initializer-sourceuri}'=pvc://models/minilm/1")
    assert "--for=condition=Ready" in ready
    assert back.index(model) < back.index(ready) < back.index("canary.storageUri=\n")


def test_the_notes_warn_of_helm_rollback_and_say_that_grpc_needs_standard_mode() -> None:
    text = helm.notes(helm.MODEL, KNATIVE)
    assert "`helm rollback` checks none of this: over a canary that has traffic" in text
    assert "gRPC needs Standard mode" in text
