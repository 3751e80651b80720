"""`helm upgrade` looks at the living InferenceService and refuses steps that lose requests."""

import re
import shlex
from collections.abc import Callable, Iterator

import pytest
import yaml

from predictor.controller.knative_service import CONTAINER, SOURCE_URI
from tests.charts import helm
from tests.charts.api_server import ApiServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

V1, V2 = "pvc://models/minilm/1", "pvc://models/minilm/2"
CANARY = ("canary.name=v2", f"canary.storageUri={V2}")
PROMOTED = ("predictor.name=v2", f"model.storageUri={V2}")
KNATIVE = "deploymentMode=Knative"
KSVC = "services.serving.knative.dev"

Living = Callable[..., helm.Object]


@pytest.fixture
def living(api_server: ApiServer) -> Iterator[Living]:
    """Puts an InferenceService into the cluster, as the chart would make it."""
    made: list[helm.Object] = []

    def put(*sets: str) -> helm.Object:
        service = helm.only(helm.template(helm.MODEL, *sets), "InferenceService")
        mark_installed(service["metadata"])
        api_server.apply([service])
        made.append(service)
        return service

    yield put
    api_server.delete(made)


def mark_installed(metadata: helm.Object) -> None:
    """As Helm marks what it has installed; what is not marked it will not upgrade."""
    release = {"release-name": metadata["name"], "release-namespace": helm.NAMESPACE}
    marks = {f"meta.helm.sh/{key}": value for key, value in release.items()}
    metadata["annotations"] = metadata.get("annotations", {}) | marks
    metadata["labels"] = metadata.get("labels", {}) | {"app.kubernetes.io/managed-by": "Helm"}


@pytest.fixture(scope="module")
def ready(api_server: ApiServer) -> Iterator[None]:
    """Three ready pods of the stable predictor, one of the canary."""
    made = [deployment("emb-predictor", 3), deployment("emb-v2-predictor", 1)]
    api_server.apply(made)
    for item in made:
        make_ready(api_server, item["metadata"]["name"], item["spec"]["replicas"])
    yield
    api_server.delete(made)


def deployment(name: str, replicas: int) -> helm.Object:
    labels = {"app": f"isvc.{name}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": helm.NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "registry.example.com/c"}]},
            },
        },
    }


def make_ready(server: ApiServer, name: str, replicas: int) -> None:
    """There is no node: what a kubelet would write into the pods' status is written here."""

    def pods() -> list[str]:
        label = f"app=isvc.{name}"
        names = server.kubectl("get", "pods", "-n", helm.NAMESPACE, "-l", label, "-o", "name")
        return names.split()

    server.settle(f"no pods of {name}", lambda: len(pods()) == replicas)
    condition = {"type": "Ready", "status": "True"}
    for pod in pods():
        status = {"phase": "Running", "conditions": [condition]}
        server.set_status("pod", pod.removeprefix("pod/"), status)
    server.settle(
        f"{name} is not ready",
        lambda: server.get("deployment", name)["status"].get("readyReplicas", 0) == replicas,
    )


def upgrade(server: ApiServer, *sets: str) -> helm.Object:
    """What an upgrade would make, with a look at the cluster. Raises Refused."""
    flags = helm.flags((*helm.NEEDED[helm.MODEL], *sets), ())
    text = helm.run(
        "template", "emb", str(helm.CHARTS / helm.MODEL), "-n", helm.NAMESPACE,
        "--dry-run=server", *flags, environment=server.environment,
    )  # fmt: skip
    return {"text": text}


def objects_of(text: str) -> list[helm.Object]:
    return [item for item in yaml.safe_load_all(text) if item]


def refusal(server: ApiServer, *sets: str) -> str:
    with pytest.raises(helm.Refused) as refused:
        upgrade(server, *sets)
    assert "--set canary.allowSkippedStep=true" in str(refused.value)
    assert upgrade(server, *sets, "canary.allowSkippedStep=true")
    return str(refused.value)


def test_the_safe_way_there_and_back_is_taken(
    api_server: ApiServer, living: Living, ready: None
) -> None:
    living()
    assert upgrade(api_server, *CANARY, "canary.trafficPercent=10")
    living(*CANARY, "canary.trafficPercent=10")
    assert upgrade(api_server, *CANARY, "canary.trafficPercent=30")
    assert upgrade(api_server, *CANARY, "canary.trafficPercent=0")
    living(*CANARY, "canary.trafficPercent=0")
    assert upgrade(api_server)
    living(*CANARY, "canary.trafficPercent=100")
    assert upgrade(api_server, *PROMOTED)


def test_a_canary_with_traffic_is_not_removed(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=10")
    text = refusal(api_server)
    assert "canary v2 still has 10 % of the traffic" in text
    assert f"--set canary.storageUri={V2} --set canary.trafficPercent=0" in text


def test_a_canary_is_not_replaced_by_another_one(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=10")
    other = ("canary.name=v3", "canary.storageUri=pvc://models/minilm/3")
    assert "canary v2 still has 10 %" in refusal(api_server, *other)


@pytest.mark.parametrize("percent", [0, 50, 99])
def test_a_promotion_goes_through_100(api_server: ApiServer, living: Living, percent: int) -> None:
    living(*CANARY, f"canary.trafficPercent={percent}")
    text = refusal(api_server, *PROMOTED)
    assert f"canary v2 has {percent} % of the traffic; promoted in one step" in text
    assert "--set canary.trafficPercent=100" in text


def test_a_promotion_takes_the_canarys_model(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=100")
    text = refusal(api_server, "predictor.name=v2", "model.storageUri=pvc://models/minilm/3")
    assert f"Promote with --set model.storageUri={V2}" in text


def test_a_promotion_takes_the_canarys_image(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=100", "canary.image.tag=0.2.0")
    text = refusal(api_server, *PROMOTED)
    assert "that give registry.example.com/predictor:0.2.0" in text
    assert upgrade(api_server, *PROMOTED, "image.tag=0.2.0")


def test_a_canary_that_is_not_ready_is_not_promoted(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=100")
    canary_status = {"name": "v2", "ready": False, "trafficPercent": 100}
    api_server.set_status("inferenceservice", "emb", {"canaryStatuses": [canary_status]})
    assert "canary v2 is not ready" in refusal(api_server, *PROMOTED)
    api_server.set_status(
        "inferenceservice", "emb", {"canaryStatuses": [{**canary_status, "ready": True}]}
    )
    assert upgrade(api_server, *PROMOTED)


def test_a_name_does_not_change_without_a_canary(api_server: ApiServer, living: Living) -> None:
    living()
    text = refusal(api_server, *PROMOTED)
    assert 'predictor.name would change from "" to "v2"' in text


def test_a_weight_waits_for_pods(api_server: ApiServer, living: Living, ready: None) -> None:
    three = "autoscaling.minReplicas=3"
    living(*CANARY, "canary.trafficPercent=10", three)
    text = refusal(api_server, *CANARY, "canary.trafficPercent=50", three)
    assert "canary.trafficPercent=50 wants 2 ready pods of canary v2" in text
    assert "(the stable predictor keeps 3); it has 1" in text
    assert "--set canary.replicas=2" in text
    assert "rollout status deployment/emb-v2-predictor" in text


def test_a_mode_does_not_change(api_server: ApiServer, living: Living) -> None:
    living()
    text = refusal(api_server, KNATIVE)
    assert "deploymentMode cannot be changed from Standard to Knative" in text


def test_a_knative_rollback_is_no_single_patch(api_server: ApiServer, living: Living) -> None:
    living(KNATIVE, f"canary.storageUri={V2}", "canary.trafficPercent=50")
    text = refusal(api_server, KNATIVE)
    assert f"all traffic would go to {V2} until the new revision is ready" in text
    assert upgrade(api_server, KNATIVE, f"model.storageUri={V2}")  # the promotion
    assert upgrade(api_server, KNATIVE, f"canary.storageUri={V1}", "canary.trafficPercent=0")


@pytest.fixture
def knative_service(api_server: ApiServer) -> Iterator[helm.Object]:
    """As KServe makes it of a service whose canary has no traffic any more, with the bad model."""
    service = knative_service_of(V2)
    api_server.apply([service])
    yield service
    api_server.delete([service])


def knative_service_of(uri: str) -> helm.Object:
    """Of an InferenceService called emb that serves this model."""
    template = {
        "metadata": {"annotations": {SOURCE_URI: uri}},
        "spec": {"containers": [{"name": CONTAINER, "image": "registry.example.com/predictor"}]},
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "emb-predictor", "namespace": helm.NAMESPACE},
        "spec": {"template": template},
    }


def set_knative_status(server: ApiServer, configurations_ready: str) -> None:
    """As Knative does it for the generation of now."""
    generation = server.get(KSVC, "emb-predictor")["metadata"]["generation"]
    conditions = [
        {"type": kind, "status": configurations_ready}
        for kind in ("ConfigurationsReady", "Ready", "RoutesReady")
    ]
    status = {"observedGeneration": generation, "conditions": conditions}
    server.set_status(KSVC, "emb-predictor", status | {"latestReadyRevisionName": "emb-00002"})


def test_a_knative_rollback_waits_for_its_revision(
    api_server: ApiServer, living: Living, knative_service: helm.Object
) -> None:
    living(KNATIVE, f"canary.storageUri={V1}", "canary.trafficPercent=0")
    set_knative_status(api_server, "True")
    text = refusal(api_server, KNATIVE)
    assert f"the revision that serves {V1} is not ready" in text, "KServe has not put it in"
    assert "all traffic would go to emb-00002" in text
    of_model, of_revision = re.findall(r"kubectl -n search (wait .*)", text)

    api_server.apply([knative_service_of(V1)])
    api_server.kubectl(*shlex.split(of_model), "-n", helm.NAMESPACE)
    assert "is not ready" in refusal(api_server, KNATIVE), "Knative has not observed it"
    set_knative_status(api_server, "Unknown")
    assert "is not ready" in refusal(api_server, KNATIVE)
    set_knative_status(api_server, "True")
    api_server.kubectl(*shlex.split(of_revision), "-n", helm.NAMESPACE)
    assert upgrade(api_server, KNATIVE)


def test_a_runtime_with_two_ports_is_refused_in_knative_mode(api_server: ApiServer) -> None:
    """By what is in the cluster, whatever it is called there."""
    sets = ("runtimes.cpu.name=mine", "runtimes.knative.enabled=true")
    renamed = (*sets, "runtimes.knative.name=embedding-cpu", "rbac.create=false")
    runtimes = helm.template(helm.RUNTIME, *renamed)
    api_server.apply(runtimes)
    try:
        with pytest.raises(helm.Refused, match=r"runtime\.name=mine: the runtime has two ports"):
            upgrade(api_server, KNATIVE, "runtime.name=mine")
        assert upgrade(api_server, KNATIVE, "runtime.name=embedding-cpu")
    finally:
        api_server.delete(runtimes)


def test_a_skipped_step_stands_in_the_notes(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=10")
    sets = (*helm.NEEDED[helm.MODEL], "canary.allowSkippedStep=true")
    text = helm.run(
        "install", "emb", str(helm.CHARTS / helm.MODEL), "-n", helm.NAMESPACE, "--dry-run=server",
        "--take-ownership", *helm.flags(sets, ()), environment=api_server.environment,
    )  # fmt: skip
    assert "WARNING: a step was skipped, and requests may be lost." in text
    assert "canary v2 still has 10 % of the traffic" in text


def test_an_autoscaled_stable_version_keeps_the_pods_that_it_had(
    api_server: ApiServer, living: Living, ready: None
) -> None:
    """Its autoscaler's least number holds them until the canary is gone."""
    scaled = ("autoscaling.mode=cpu", "autoscaling.minReplicas=1", "autoscaling.maxReplicas=5")

    def least(*sets: str) -> list[int]:
        text = upgrade(api_server, *scaled, *sets)["text"]
        autoscalers = helm.of_kind(objects_of(text), "HorizontalPodAutoscaler")
        return [item["spec"]["minReplicas"] for item in autoscalers]

    living(*scaled)
    assert least() == [1]
    assert least(*CANARY, "canary.trafficPercent=50") == [3, 2], "three pods are ready"
    living(*scaled, *CANARY, "canary.trafficPercent=50")
    (autoscaler, _) = helm.of_kind(
        helm.template(helm.MODEL, *scaled, *CANARY), "HorizontalPodAutoscaler"
    )
    held = autoscaler | {"spec": autoscaler["spec"] | {"minReplicas": 4}}
    mark_installed(held["metadata"])
    api_server.apply([held])
    try:
        assert least(*CANARY, "canary.trafficPercent=50") == [4, 2], "as it was when it began"
        text = refusal(api_server, *scaled, *CANARY, "canary.trafficPercent=100")
        assert "(the stable predictor keeps 4)" in text
        target = ("rollout.target.name=v2", f"model.storageUri={V2}")
        assert least("rollout.mode=controller", *target) == [4]
        assert least("canary.allowSkippedStep=true") == [1], "given back"
    finally:
        api_server.delete([held])


def test_a_controllers_numbers_stay_while_there_is_a_canary(
    api_server: ApiServer, living: Living
) -> None:
    rollout = helm.only(helm.template(helm.MODEL, "rollout.mode=controller"), "EmbeddingRollout")
    mark_installed(rollout["metadata"])
    living(*CANARY, "canary.replicas=2", "autoscaling.minReplicas=3")
    api_server.apply([rollout])
    try:
        text = upgrade(api_server, "rollout.mode=controller", "autoscaling.minReplicas=3")["text"]
    finally:
        api_server.delete([rollout])
    objects = objects_of(text)
    predictor = helm.only(objects, "InferenceService")["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (5, 5)
    spec = helm.only(objects, "EmbeddingRollout")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 3)
