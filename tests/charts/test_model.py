"""What embedding-model makes out of its values: canary, autoscalers, monitoring, policies."""

from typing import Any

import pytest

from tests.charts import helm

CANARY = ("canary.name=v2", "canary.storageUri=pvc://models/minilm/2", "canary.trafficPercent=10")


def service(*sets: str) -> helm.Object:
    return helm.only(helm.template(helm.MODEL, *sets), "InferenceService")


def scaled(*sets: str) -> dict[str, tuple[str, int, int]]:
    """Of autoscalers: name -> Deployment, least and most pods."""
    targets = {}
    for scaler in helm.template(helm.MODEL, *sets):
        spec: dict[str, Any] = scaler.get("spec", {})
        if scaler["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            least, most = (
                int(spec[field] if field in spec else spec[f"{field.removesuffix('s')}Count"])
                for field in ("minReplicas", "maxReplicas")
            )
            targets[scaler["metadata"]["name"]] = (spec["scaleTargetRef"]["name"], least, most)
    return targets


def test_the_least_is_a_complete_service() -> None:
    isvc = service()
    model = isvc["spec"]["predictor"]["model"]
    assert isvc["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none",
    }
    assert model["modelFormat"]["name"] == "embedding"
    assert model["runtime"] == "embedding-cpu"
    assert model["protocolVersion"] == "v2"
    assert model["image"] == "registry.example.com/predictor:0.1.0"
    assert model["resources"]["limits"] == model["resources"]["requests"]
    assert "canary" not in isvc["spec"]


def test_why_a_container_ended_is_kept_where_the_controller_may_read_it() -> None:
    spec = service(*CANARY)["spec"]
    for predictor in (spec["predictor"], spec["canary"][0]["predictor"]):
        assert predictor["model"]["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_promotion_changes_no_pod_template() -> None:
    """What the canary has is, word for word, what the stable predictor has afterwards."""
    before = service(*CANARY)["spec"]["canary"][0]["predictor"]
    after = service("predictor.name=v2", "model.storageUri=pvc://models/minilm/2")
    assert after["spec"]["predictor"]["name"] == before["name"] == "v2"
    assert before["model"].pop("name") == ""  # wanted by the CRD, empty for the webhook
    assert after["spec"]["predictor"]["model"] == before["model"]


def test_the_version_of_the_chart_is_not_put_on_pods() -> None:
    """KServe hands the service's labels down: every upgrade of the chart would restart all pods."""
    assert sorted(service()["metadata"]["labels"]) == [
        "app.kubernetes.io/instance", "app.kubernetes.io/name", "app.kubernetes.io/part-of",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("least", "percent", "replicas", "expected"),
    [(4, 10, 0, 1), (4, 50, 0, 2), (4, 51, 0, 3), (4, 100, 0, 4), (1, 0, 0, 1), (4, 10, 3, 3)],
)
def test_the_canary_has_pods_for_its_share(
    least: int, percent: int, replicas: int, expected: int
) -> None:
    sets = (*CANARY, f"canary.trafficPercent={percent}", f"canary.replicas={replicas}")
    spec = service(*sets, f"autoscaling.minReplicas={least}")["spec"]
    (canary,) = spec["canary"]
    assert canary["trafficPercent"] == percent
    assert canary["predictor"]["minReplicas"] == expected
    # KServe takes the canary's pods off these.
    stable = spec["predictor"]
    assert (stable["minReplicas"], stable["maxReplicas"]) == (least + expected, least + expected)


def test_without_a_canary_the_numbers_are_those_of_the_values() -> None:
    stable = service("autoscaling.minReplicas=4")["spec"]["predictor"]
    assert (stable["minReplicas"], stable["maxReplicas"]) == (4, 4)


def test_an_autoscaler_of_the_canary_may_have_more_than_kserve_takes() -> None:
    sets = (*CANARY, "canary.replicas=3", "autoscaling.mode=cpu", "autoscaling.maxReplicas=2")
    assert service(*sets)["spec"]["canary"][0]["predictor"]["minReplicas"] == 1
    assert scaled(*sets)["emb-v2-autoscale"] == ("emb-v2-predictor", 3, 3)


@pytest.mark.parametrize("mode", ["cpu", "queue", "external"])
def test_stable_and_canary_are_scaled_apart_and_followed_by_name(mode: str) -> None:
    sets = (
        f"autoscaling.mode={mode}", "autoscaling.maxReplicas=5",
        "autoscaling.queue.serverAddress=http://prometheus:9090",
    )  # fmt: skip
    assert scaled(*sets) == {"emb-autoscale": ("emb-predictor", 1, 5)}
    assert scaled(*sets, *CANARY) == {
        "emb-autoscale": ("emb-predictor", 1, 5),
        "emb-v2-autoscale": ("emb-v2-predictor", 1, 5),
    }
    assert scaled(*sets, "predictor.name=v2") == {"emb-autoscale": ("emb-v2-predictor", 1, 5)}
    annotations = service(*sets)["metadata"]["annotations"]
    assert annotations["serving.kserve.io/autoscalerClass"] == "external"


def test_only_one_kind_of_autoscaler_is_made() -> None:
    made = set()
    for mode in ("none", "cpu", "queue", "external"):
        address = "autoscaling.queue.serverAddress=http://prometheus:9090"
        objects = helm.template(helm.MODEL, f"autoscaling.mode={mode}", address)
        kinds = {item["kind"] for item in objects}
        made.add(frozenset(kinds & {"HorizontalPodAutoscaler", "ScaledObject"}))
    assert made == {
        frozenset(), frozenset({"HorizontalPodAutoscaler"}), frozenset({"ScaledObject"}),
    }  # fmt: skip


def test_the_query_asks_for_one_deployment() -> None:
    sets = ("autoscaling.mode=queue", "autoscaling.queue.serverAddress=http://prometheus:9090")
    scaler = helm.only(helm.template(helm.MODEL, *sets, "predictor.name=v2"), "ScaledObject")
    (trigger,) = scaler["spec"]["triggers"]
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["query"] == (
        'sum(predictor_queue_tokens{namespace="search", deployment="emb-v2-predictor"})'
    )


def test_the_monitor_tells_canary_and_stable_apart() -> None:
    monitor = helm.only(helm.template(helm.MODEL, "serviceMonitor.enabled=true"), "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == "http"
    assert endpoint["relabelings"][0] == {"targetLabel": "job", "replacement": "predictor"}
    assert endpoint["relabelings"][1] == {
        "sourceLabels": ["__meta_kubernetes_pod_label_app"],
        "regex": r"isvc\.(.+)",
        "targetLabel": "deployment",
    }


def test_the_grace_period_is_enough_for_the_drain() -> None:
    sets = ("server.gracePeriodSeconds=60", "server.preStopSleepSeconds=7")
    predictor = service(*sets)["spec"]["predictor"]
    assert predictor["terminationGracePeriodSeconds"] == 7 + 5 + 60 + 10
    assert predictor["model"]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert {"--drain-delay-s=5", "--grace-period-s=60"} <= set(predictor["model"]["args"])
    assert "lifecycle" not in service("server.preStopSleepSeconds=0")["spec"]["predictor"]["model"]


def test_a_knative_canary_is_the_new_model_and_a_percent() -> None:
    sets = ("deploymentMode=Knative", "canary.storageUri=pvc://models/minilm/2")
    isvc = service(*sets, "canary.trafficPercent=10")
    predictor = isvc["spec"]["predictor"]
    assert predictor["canaryTrafficPercent"] == 10
    assert predictor["model"]["storageUri"] == "pvc://models/minilm/2"
    assert predictor["model"]["runtime"] == "embedding-knative"
    assert "canary" not in isvc["spec"]
    assert service(*sets)["spec"]["predictor"]["canaryTrafficPercent"] == 0
    alone = service("deploymentMode=Knative")["spec"]["predictor"]
    assert "canaryTrafficPercent" not in alone


def test_what_knative_does_not_admit_is_left_out() -> None:
    predictor = service("deploymentMode=Knative")["spec"]["predictor"]
    unwanted = {"securityContext", "terminationGracePeriodSeconds", "deploymentStrategy"}
    assert not unwanted & set(predictor)
    assert "lifecycle" not in predictor["model"]
    runtimes = helm.template(helm.RUNTIME, "runtimes.knative.enabled=true")
    (runtime,) = (o for o in runtimes if o["metadata"]["name"] == "embedding-knative")
    (container,) = runtime["spec"]["containers"]
    assert [port["name"] for port in container["ports"]] == ["http1"]
    assert "--enable-grpc=false" in container["args"]


def test_policies_cover_both_of_kserves_routes() -> None:
    sets = ("gateway.enabled=true", "gateway.apiKeys.enabled=true", "gateway.apiKeys.secretName=k")
    objects = helm.template(helm.MODEL, *sets)
    for kind in ("BackendTrafficPolicy", "SecurityPolicy"):
        targets = helm.only(objects, kind)["spec"]["targetRefs"]
        assert [target["name"] for target in targets] == ["emb", "emb-predictor"]


@pytest.mark.parametrize("load_balancing", ["LeastRequest", "RoundRobin", "Random"])
def test_each_version_has_a_cluster_of_its_own_at_the_gateway(load_balancing: str) -> None:
    """With zoneAware.preferLocal Envoy Gateway never replaces the stable version's cluster."""
    sets = ("gateway.enabled=true", f"gateway.loadBalancing={load_balancing}")
    spec = helm.only(helm.template(helm.MODEL, *sets), "BackendTrafficPolicy")["spec"]
    balancer = spec["loadBalancer"]
    assert balancer["type"] == load_balancing
    # More pods than there ever are: no zone is preferred.
    assert balancer["zoneAware"] == {"preferLocal": {"minEndpointsThreshold": 1_000_000}}
    assert {"healthCheck", "retry"} <= set(spec)


def test_a_spread_without_selector_gets_the_models() -> None:
    spread = "topologySpreadConstraints[0]"
    sets = (f"{spread}.maxSkew=1", f"{spread}.topologyKey=zone")
    (spread,) = service(*sets)["spec"]["predictor"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == {
        "serving.kserve.io/inferenceservice": "emb",
        "component": "predictor",
    }


def test_the_image_of_a_canary_may_differ() -> None:
    sets = (*CANARY, "canary.image.tag=0.2.0")
    spec = service(*sets)["spec"]
    assert spec["predictor"]["model"]["image"] == "registry.example.com/predictor:0.1.0"
    assert spec["canary"][0]["predictor"]["model"]["image"].endswith("/predictor:0.2.0")


def test_http_comes_first_and_grpc_is_h2c() -> None:
    """KServe makes the first port port 80 of the Service, and HTTP/2 of what is called h2c."""
    runtime = helm.only(helm.template(helm.RUNTIME), "ClusterServingRuntime")
    (container,) = runtime["spec"]["containers"]
    ports = [(port["name"], port["containerPort"]) for port in container["ports"]]
    assert ports == [("http", 8080), ("h2c-grpc", 8081)]
    assert container["name"] == "kserve-container"
    assert "--model_name={{.Name}}" in container["args"]


def test_the_smoke_test_asks_the_stable_predictor() -> None:
    sets = ("predictor.name=v2", "model.servedName=minilm", "smokeTest.vector={0.5,-0.25}")
    pod = helm.only(helm.template(helm.MODEL, *sets), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["args"] == [
        "ask", "http://emb-v2-predictor.search", "--model=minilm",
        "--text=A man is playing a guitar.", "--expect=0.5,-0.25", "--tolerance=0.001",
        "--timeout=60",
    ]  # fmt: skip
    assert not helm.of_kind(helm.template(helm.MODEL, "smokeTest.enabled=false"), "Pod")


def test_prompts_and_normalisation_are_flags_and_nothing_by_default() -> None:
    def flags(*sets: str) -> list[str]:
        args = service(*sets)["spec"]["predictor"]["model"]["args"]
        known = ("--normalize", "--prompt", "--no-default-prompt")
        return [arg for arg in args if arg.startswith(known)]

    assert flags() == []
    sets = (
        "model.normalize=model",
        r"model.prompts.query=find \"this\"\, please: ",
        "model.prompts.passage=",
        "model.defaultPrompt=false",
    )
    assert flags(*sets) == [
        "--normalize=model",
        "--prompt=passage=",
        '--prompt=query=find "this", please: ',
        "--no-default-prompt",
    ]


@pytest.mark.parametrize("wrong", ["model.normalize=always", "model.prompts.a\\=b=c"])
def test_prompts_and_normalisation_that_no_server_takes_are_refused(wrong: str) -> None:
    with pytest.raises(helm.Refused, match="values don't meet the specifications"):
        helm.template(helm.MODEL, wrong)


def test_aliases_are_flags() -> None:
    args = service("model.aliases={text-embedding-3-small,a/b}")["spec"]["predictor"]["model"][
        "args"
    ]
    aliases = [arg for arg in args if arg.startswith("--model-alias")]
    assert aliases == ["--model-alias=text-embedding-3-small", "--model-alias=a/b"]
