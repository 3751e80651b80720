"""The stand-in for KServe: what it makes of an InferenceService, and in which order."""

import copy
from typing import Any

import pytest

from tests.cluster.standin.controller import with_times
from tests.cluster.standin.merge import Invalid, override, strategic_merge
from tests.cluster.standin.plan import Plan, desired
from tests.cluster.standin.status import Living

Object = dict[str, Any]

RUNTIME: Object = {
    "kind": "ClusterServingRuntime",
    "metadata": {"name": "embedding-cpu"},
    "spec": {
        "supportedModelFormats": [{"name": "embedding", "version": "1"}],
        "protocolVersions": ["v2", "v1", "grpc-v2"],
        "labels": {"from": "runtime", "level": "runtime"},
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "tolerations": [{"key": "runtime"}],
        "containers": [
            {
                "name": "kserve-container",
                "image": "predictor:1",
                "args": ["serve", "--model_name={{.Name}}"],
                "env": [{"name": "A", "value": "runtime"}, {"name": "B", "value": "runtime"}],
                "ports": [
                    {"name": "http", "containerPort": 8080},
                    {"name": "h2c-grpc", "containerPort": 8081},
                ],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            }
        ],
    },
}


def service(**predictor: Any) -> Object:
    """An InferenceService `emb` in `ns`; keywords are fields of its predictor."""
    model = {
        "modelFormat": {"name": "embedding"},
        "runtime": "embedding-cpu",
        "protocolVersion": "v2",
        "storageUri": "pvc://models/v1",
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "emb",
            "namespace": "ns",
            "uid": "u",
            "labels": {"level": "service"},
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "external",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
        },
        "spec": {"predictor": {"minReplicas": 1, "model": model, **predictor}},
    }


def with_canary(percent: int, **canary: Any) -> Object:
    isvc = service()
    model = {**isvc["spec"]["predictor"]["model"], "storageUri": "pvc://models/v2"}
    entry = {"trafficPercent": percent, "predictor": {"name": "v2", "model": model, **canary}}
    isvc["spec"]["canary"] = [entry]
    return isvc


def deployment(name: str, available: int = 1) -> Object:
    status = "True" if available else "False"
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "ns"},
        "status": {
            "observedGeneration": 7,
            "availableReplicas": available,
            "conditions": [
                {"type": "Available", "status": status, "reason": "Minimum", "message": "m"},
                {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
            ],
        },
    }


def living(*names: str, ready: bool = True) -> Living:
    parents = [{"conditions": [{"type": "Accepted", "status": "True"}]}] if ready else []
    return Living(
        {name: deployment(name) for name in names},
        {
            name: {"kind": "Service", "metadata": {"name": name, "namespace": "ns"}}
            for name in names
        },
        {name: {"status": {"parents": parents}} for name in ("emb", "emb-predictor")},
    )


def made(plan: Plan, kind: str, name: str) -> Object:
    for step in plan.steps:
        if step.target["kind"] == kind and step.target["metadata"]["name"] == name:
            return step.target
    raise AssertionError(f"no {kind}/{name} in {[step.name for step in plan.steps]}")


def container_of(plan: Plan, name: str) -> Object:
    (container,) = made(plan, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return dict(container)


def condition(plan: Plan, kind: str) -> str:
    return next(str(c["status"]) for c in plan.status["conditions"] if c["type"] == kind)


def test_args_are_concatenated_and_env_is_merged() -> None:
    isvc = service()
    isvc["spec"]["predictor"]["model"] |= {
        "args": ["--variant=int8"],
        "env": [{"name": "B", "value": "model"}],
        "image": "predictor:2",
        "resources": {"limits": {"cpu": "2"}},
    }
    container = container_of(desired(isvc, RUNTIME, Living()), "emb-predictor")
    assert container["args"] == ["serve", "--model_name=emb", "--variant=int8"]
    assert {e["name"]: e["value"] for e in container["env"]} == {
        "A": "runtime", "B": "model", "INFERENCE_SERVICE_NAME": "emb",
    }  # fmt: skip
    assert container["image"] == "predictor:2"
    assert container["resources"] == {"limits": {"cpu": "2", "memory": "1Gi"}}


def test_the_pod_is_the_predictors_over_the_runtimes() -> None:
    isvc = service(
        serviceAccountName="emb", volumes=[{"name": "keys"}], tolerations=[{"key": "model"}]
    )
    plan = desired(isvc, RUNTIME, Living())
    pod = made(plan, "Deployment", "emb-predictor")["spec"]["template"]["spec"]
    assert [v["name"] for v in pod["volumes"]] == ["tmp", "keys", "kserve-pvc-source"]
    assert pod["tolerations"] == [{"key": "model"}]
    assert pod["serviceAccountName"] == "emb"
    assert "minReplicas" not in pod


def test_a_claim_is_mounted_read_only_at_the_models_path() -> None:
    container = container_of(desired(service(), RUNTIME, Living()), "emb-predictor")
    assert container["volumeMounts"] == [
        {"name": "kserve-pvc-source", "mountPath": "/mnt/models", "readOnly": True, "subPath": "v1"}
    ]


def test_other_storage_is_refused() -> None:
    isvc = service()
    isvc["spec"]["predictor"]["model"]["storageUri"] = "s3://bucket/model"
    with pytest.raises(Invalid, match="pvc:// only"):
        desired(isvc, RUNTIME, Living())


def test_labels_and_annotations_go_everywhere() -> None:
    """So a label that an upgrade of a chart changes restarts the pods."""
    plan = desired(service(labels={"track": "stable"}), RUNTIME, Living())
    expected = {
        "from": "runtime", "level": "service", "track": "stable", "component": "predictor",
        "serving.kserve.io/inferenceservice": "emb", "app": "isvc.emb-predictor",
    }  # fmt: skip
    for kind in ("Deployment", "Service"):
        metadata = made(plan, kind, "emb-predictor")["metadata"]
        assert metadata["labels"] == expected
        assert "kubectl.kubernetes.io/last-applied-configuration" not in metadata["annotations"]
    template = made(plan, "Deployment", "emb-predictor")["spec"]["template"]["metadata"]
    assert template["labels"] == expected


def test_the_first_port_becomes_80() -> None:
    ports = made(desired(service(), RUNTIME, Living()), "Service", "emb-predictor")["spec"]["ports"]
    assert [(p["name"], p["port"], p["targetPort"]) for p in ports] == [
        ("http", 80, 8080), ("h2c-grpc", 8081, 8081),
    ]  # fmt: skip
    assert [p.get("appProtocol") for p in ports] == [None, "kubernetes.io/h2c"]


def test_there_is_no_route_before_the_predictor_is_ready() -> None:
    plan = desired(service(), RUNTIME, Living())
    assert [step.name for step in plan.steps] == [
        "apply Service/emb-predictor", "apply Deployment/emb-predictor",
    ]  # fmt: skip
    assert condition(plan, "Ready") == "False"
    assert "url" not in plan.status


def test_a_ready_service_has_routes_and_addresses() -> None:
    plan = desired(service(), RUNTIME, living("emb-predictor"))
    assert [step.name for step in plan.steps][-2:] == [
        "apply HTTPRoute/emb-predictor", "apply HTTPRoute/emb",
    ]  # fmt: skip
    rules = made(plan, "HTTPRoute", "emb")["spec"]["rules"]
    assert [r["matches"][0]["path"]["value"] for r in rules] == [
        r"^/inference\.GRPCInferenceService/.*$", "^/.*$",
    ]  # fmt: skip
    assert [r["backendRefs"][0]["port"] for r in rules] == [8081, 80]
    assert "weight" not in rules[0]["backendRefs"][0]
    assert condition(plan, "Ready") == "True"
    assert plan.status["url"] == "http://emb-ns.example.com"
    assert plan.status["clusterServingRuntimeName"] == "embedding-cpu"
    assert plan.status["observedGeneration"] == 7  # the Deployment's


def test_a_route_that_no_gateway_took_is_not_ready() -> None:
    plan = desired(service(), RUNTIME, living("emb-predictor", ready=False))
    assert condition(plan, "IngressReady") == "False"
    assert condition(plan, "Ready") == "False"


def test_only_a_ready_canary_gets_weight() -> None:
    isvc = with_canary(10)
    before = desired(isvc, RUNTIME, living("emb-predictor"))
    after = desired(isvc, RUNTIME, living("emb-predictor", "emb-v2-predictor"))

    def weights(plan: Plan) -> dict[str, int]:
        (rule,) = made(plan, "HTTPRoute", "emb")["spec"]["rules"][1:]
        return {b["name"]: b["weight"] for b in rule["backendRefs"]}

    assert weights(before) == {"emb-predictor": 100}
    assert weights(after) == {"emb-predictor": 90, "emb-v2-predictor": 10}
    assert condition(before, "CanaryPredictorReady") == "False"
    assert after.status["canaryStatuses"] == [{"name": "v2", "ready": True, "trafficPercent": 10}]
    assert condition(before, "Ready") == "True"  # a canary is not among what it depends on


def test_a_canary_is_the_stable_predictor_overridden() -> None:
    isvc = with_canary(10, labels={"track": "canary"})
    isvc["spec"]["predictor"] |= {"serviceAccountName": "emb", "labels": {"team": "search"}}
    plan = desired(isvc, RUNTIME, living("emb-predictor"))
    canary = made(plan, "Deployment", "emb-v2-predictor")
    assert canary["spec"]["selector"] == {"matchLabels": {"app": "isvc.emb-v2-predictor"}}
    assert canary["spec"]["template"]["spec"]["serviceAccountName"] == "emb"
    labels = canary["spec"]["template"]["metadata"]["labels"]
    assert (labels["track"], labels["team"]) == ("canary", "search")
    (mount,) = container_of(plan, "emb-v2-predictor")["volumeMounts"]
    assert mount["subPath"] == "v2"


def test_a_promoted_canary_is_the_same_deployment() -> None:
    """So its pods stay: nothing of the template differs."""
    canary = desired(with_canary(100), RUNTIME, living("emb-predictor", "emb-v2-predictor"))
    promoted = service(name="v2")
    promoted["spec"]["predictor"]["model"]["storageUri"] = "pvc://models/v2"
    plan = desired(promoted, RUNTIME, living("emb-predictor", "emb-v2-predictor"))
    name = "emb-v2-predictor"
    assert made(plan, "Deployment", name) == made(canary, "Deployment", name)


def test_what_is_not_needed_goes_before_the_routes_follow() -> None:
    """The fault of a promotion in one step: the route names a Service that is gone."""
    promoted = service(name="v2")
    names = [
        s.name
        for s in desired(promoted, RUNTIME, living("emb-predictor", "emb-v2-predictor")).steps
    ]
    removal = names.index("delete Service/emb-predictor")
    assert names.index("delete Deployment/emb-predictor") < removal
    assert removal < names.index("apply HTTPRoute/emb")


def test_replicas_are_the_autoscalers() -> None:
    isvc = service(minReplicas=4)
    external = desired(isvc, RUNTIME, Living())
    assert "replicas" not in made(external, "Deployment", "emb-predictor")["spec"]


def test_without_autoscaler_the_stable_predictor_lends_its_replicas_to_a_ready_canary() -> None:
    isvc = with_canary(25)
    isvc["spec"]["predictor"]["minReplicas"] = 4
    isvc["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "none"

    def replicas(plan: Plan) -> tuple[int, int]:
        stable, canary = (
            made(plan, "Deployment", name) for name in ("emb-predictor", "emb-v2-predictor")
        )
        return int(stable["spec"]["replicas"]), int(canary["spec"]["replicas"])

    assert replicas(desired(isvc, RUNTIME, living("emb-predictor"))) == (4, 1)
    both = living("emb-predictor", "emb-v2-predictor")
    assert replicas(desired(isvc, RUNTIME, both)) == (3, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: None, "RuntimeNotRecognized"),
        (lambda r: r | {"spec": r["spec"] | {"disabled": True}}, "RuntimeDisabled"),
        (lambda r: r | {"spec": r["spec"] | {"protocolVersions": ["v1"]}}, "NoSupportingRuntime"),
        (lambda r: r | {"spec": r["spec"] | {"supportedModelFormats": []}}, "NoSupportingRuntime"),
        (lambda r: r | {"spec": r["spec"] | {"containers": []}}, "InvalidPredictorSpec"),
    ],
)
def test_a_runtime_that_does_not_fit_is_said_in_the_status(change: Any, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        desired(service(), change(copy.deepcopy(RUNTIME)), Living())
    assert refused.value.reason == reason


def test_a_placeholder_that_kserve_does_not_know_is_refused() -> None:
    runtime = copy.deepcopy(RUNTIME)
    runtime["spec"]["containers"][0]["args"].append("{{ .Values.x }}")
    with pytest.raises(Invalid, match="unknown placeholder"):
        desired(service(), runtime, Living())


@pytest.mark.parametrize("annotation", ["deploymentMode", "autoscalerClass"])
def test_what_it_does_not_have_it_refuses(annotation: str) -> None:
    isvc = service()
    isvc["metadata"]["annotations"][f"serving.kserve.io/{annotation}"] = "keda"
    with pytest.raises(Invalid):
        desired(isvc, RUNTIME, Living())


def test_a_custom_container_takes_its_model_from_a_variable() -> None:
    isvc = service()
    del isvc["spec"]["predictor"]["model"]
    isvc["spec"]["predictor"]["containers"] = [
        {"name": "kserve-container", "env": [{"name": "STORAGE_URI", "value": "pvc://models"}]}
    ]
    container = container_of(desired(isvc, None, Living()), "emb-predictor")
    assert container["volumeMounts"][0]["mountPath"] == "/mnt/models"
    assert container["readinessProbe"]["tcpSocket"] == {"port": 8080}


def test_lists_of_a_merge_patch_go_by_their_key() -> None:
    base = {"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "1"}], "args": ["x"]}
    patch = {"env": [{"name": "b", "value": "2"}, {"name": "c", "value": "3"}], "args": ["y"]}
    assert strategic_merge(base, patch) == {
        "env": [
            {"name": "a", "value": "1"}, {"name": "b", "value": "2"}, {"name": "c", "value": "3"},
        ],
        "args": ["y"],
    }  # fmt: skip


def test_an_override_replaces_lists_and_ignores_what_is_empty() -> None:
    base = {"args": ["a"], "labels": {"x": "1"}, "name": "stable"}
    assert override(base, {"args": ["b"], "labels": {"y": "2"}, "name": ""}) == {
        "args": ["b"], "labels": {"x": "1", "y": "2"}, "name": "stable",
    }  # fmt: skip


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    before = [{"type": "Ready", "status": "True", "lastTransitionTime": "then"}]
    same = with_times({"conditions": [{"type": "Ready", "status": "True"}]}, before)
    other = with_times({"conditions": [{"type": "Ready", "status": "False"}]}, before)
    assert same["conditions"][0]["lastTransitionTime"] == "then"
    assert other["conditions"][0]["lastTransitionTime"] != "then"
