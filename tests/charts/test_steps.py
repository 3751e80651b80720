"""`helm upgrade` looks at the living InferenceService and refuses steps that lose requests."""

from collections.abc import Callable, Iterator

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ONE, TWO = "pvc://models/minilm/1", "pvc://models/minilm/2"
CANARY = ("canary.name=v2", f"canary.storageUri={TWO}")
PROMOTED = ("predictor.name=v2", f"model.storageUri={TWO}")
KNATIVE = "deploymentMode=Knative"

Living = Callable[..., helm.Object]


@pytest.fixture
def living(api_server: ApiServer) -> Iterator[Living]:
    """Puts an InferenceService into the cluster, as the chart would make it."""
    made: list[helm.Object] = []

    def put(*sets: str) -> helm.Object:
        service = helm.only(helm.template(helm.MODEL, *sets), "InferenceService")
        own(service["metadata"])
        api_server.apply([service])
        made.append(service)
        return service

    yield put
    api_server.delete(made)


def own(metadata: helm.Object) -> None:
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
    for found in made:
        make_ready(api_server, found["metadata"]["name"], found["spec"]["replicas"])
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
        told = server.kubectl("get", "pods", "-n", helm.NAMESPACE, "-l", label, "-o", "name")
        return told.split()

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
    given = helm.flags((*helm.NEEDED[helm.MODEL], *sets), ())
    text = helm.run(
        "template", "emb", str(helm.CHARTS / helm.MODEL), "-n", helm.NAMESPACE,
        "--dry-run=server", *given, environment=server.environment,
    )  # fmt: skip
    return {"text": text}


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
    assert f"--set canary.storageUri={TWO} --set canary.trafficPercent=0" in text


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
    assert f"Promote with --set model.storageUri={TWO}" in text


def test_a_promotion_takes_the_canarys_image(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=100", "canary.image.tag=0.2.0")
    text = refusal(api_server, *PROMOTED)
    assert "that give registry.example.com/predictor:0.2.0" in text
    assert upgrade(api_server, *PROMOTED, "image.tag=0.2.0")


def test_a_canary_that_is_not_ready_is_not_promoted(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=100")
    told = {"name": "v2", "ready": False, "trafficPercent": 100}
    api_server.set_status("inferenceservice", "emb", {"canaryStatuses": [told]})
    assert "canary v2 is not ready" in refusal(api_server, *PROMOTED)
    api_server.set_status("inferenceservice", "emb", {"canaryStatuses": [{**told, "ready": True}]})
    assert upgrade(api_server, *PROMOTED)


def test_a_name_does_not_change_without_a_canary(api_server: ApiServer, living: Living) -> None:
    living()
    text = refusal(api_server, *PROMOTED)
    assert 'predictor.name would change from "" to "v2"' in text


def test_a_weight_waits_for_pods(api_server: ApiServer, living: Living, ready: None) -> None:
    living(*CANARY, "canary.trafficPercent=10")
    text = refusal(api_server, *CANARY, "canary.trafficPercent=50")
    assert "canary.trafficPercent=50 wants 2 ready pods of canary v2" in text
    assert "(the stable predictor has 3); it has 1" in text
    assert "--set canary.replicas=2" in text
    assert "rollout status deployment/emb-v2-predictor" in text


def test_a_mode_does_not_change(api_server: ApiServer, living: Living) -> None:
    living()
    text = refusal(api_server, KNATIVE)
    assert "deploymentMode cannot be changed from Standard to Knative" in text


def test_a_knative_rollback_is_no_single_patch(api_server: ApiServer, living: Living) -> None:
    living(KNATIVE, f"canary.storageUri={TWO}", "canary.trafficPercent=50")
    text = refusal(api_server, KNATIVE)
    assert f"all traffic would go to {TWO} until the new revision is ready" in text
    assert upgrade(api_server, KNATIVE, f"model.storageUri={TWO}")  # the promotion
    assert upgrade(api_server, KNATIVE, f"canary.storageUri={ONE}", "canary.trafficPercent=0")


def test_a_knative_rollback_waits_for_its_revision(api_server: ApiServer, living: Living) -> None:
    living(KNATIVE, f"canary.storageUri={ONE}", "canary.trafficPercent=0")
    revisions = {"latestCreatedRevision": "emb-00003", "latestReadyRevision": "emb-00002"}
    api_server.set_status("inferenceservice", "emb", {"components": {"predictor": revisions}})
    assert "revision emb-00003 is not ready" in refusal(api_server, KNATIVE)
    revisions["latestReadyRevision"] = "emb-00003"
    api_server.set_status("inferenceservice", "emb", {"components": {"predictor": revisions}})
    assert upgrade(api_server, KNATIVE)


def test_a_skipped_step_stands_in_the_notes(api_server: ApiServer, living: Living) -> None:
    living(*CANARY, "canary.trafficPercent=10")
    sets = (*helm.NEEDED[helm.MODEL], "canary.allowSkippedStep=true")
    text = helm.run(
        "install", "emb", str(helm.CHARTS / helm.MODEL), "-n", helm.NAMESPACE, "--dry-run=server",
        "--take-ownership", *helm.flags(sets, ()), environment=api_server.environment,
    )  # fmt: skip
    assert "WARNING: a step was skipped, and requests may be lost." in text
    assert "canary v2 still has 10 % of the traffic" in text
