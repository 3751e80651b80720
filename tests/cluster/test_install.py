"""The one scenario that every change goes through: installed, asked, scraped, a canary at 10 %."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.cluster import kit as kits
from tests.cluster import metrics
from tests.cluster.api import Api, wait_for
from tests.cluster.grpc_client import infer, vector_of
from tests.cluster.load import Load
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import CHARTS, CONTROLLERS, Release, condition, helm, restarts
from tests.reference.texts import texts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

STABLE, CANARY = "minilm-predictor", "minilm-v2-predictor"
REQUESTS = 1000
# A bound for faults only: the goal is 5 s on an idle machine, and the time is told.
START_S = 30.0
REFERENCE = kits.ROOT / "tests/reference/minilm.npz"


@pytest.fixture(scope="module")
def expected() -> tuple[str, np.ndarray[Any, Any]]:
    """A text and the vector that sentence-transformers gives for it."""
    with np.load(REFERENCE) as reference:
        row = int(np.flatnonzero(reference["token_counts"] > 20)[0])
        return texts()[row], reference["vectors"][row]


@pytest.fixture(scope="module")
def url(model: Release) -> str:
    return f"http://{kits.service_address(model.api, STABLE, model.namespace)}"


def same(vector: Any, expected: np.ndarray[Any, Any]) -> bool:
    """Whether they are parallel."""
    numbers = np.asarray(vector, np.float64)
    norms = float(np.linalg.norm(numbers) * np.linalg.norm(expected))
    return float(numbers @ expected) / norms >= 0.99999


def test_it_starts_fast(model: Release, capsys: pytest.CaptureFixture[str]) -> None:
    """From the container's start to Ready, as the kubelet saw both (whole seconds)."""
    (pod,) = model.pods()
    (status,) = pod["status"]["containerStatuses"]
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    took = np.datetime64(ready["lastTransitionTime"][:-1]) - np.datetime64(
        status["state"]["running"]["startedAt"][:-1]
    )
    seconds = float(took / np.timedelta64(1, "s"))
    with capsys.disabled():
        print(f"\nready {seconds:.0f} s after the container's start")
    assert seconds <= START_S
    assert restarts([pod]) == 0


def test_it_runs_without_privileges(model: Release) -> None:
    (pod,) = model.pods()
    (container,) = pod["spec"]["containers"]
    security = container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [v for v in pod["spec"]["volumes"] if "projected" in v]


def test_openai(url: str, expected: tuple[str, np.ndarray[Any, Any]]) -> None:
    text, vector = expected
    answer = httpx.post(f"{url}/v1/embeddings", json={"model": "minilm", "input": text})
    assert same(answer.json()["data"][0]["embedding"], vector)


def test_v2_over_rest(url: str, expected: tuple[str, np.ndarray[Any, Any]]) -> None:
    text, vector = expected
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    answer = httpx.post(f"{url}/v2/models/minilm/infer", json={"inputs": [tensor]})
    (output,) = answer.json()["outputs"]
    assert output["name"] == "embedding"
    assert same(output["data"], vector)


def test_tei(url: str, expected: tuple[str, np.ndarray[Any, Any]]) -> None:
    text, vector = expected
    assert same(httpx.post(f"{url}/embed", json={"inputs": text}).json()[0], vector)


@pytest.mark.parametrize("way", ["service", "gateway"])
def test_v2_over_grpc(
    url: str, model: Release, gateway: str, way: str, expected: tuple[str, np.ndarray[Any, Any]]
) -> None:
    """Through the Service, and through the gateway by the route's rule for gRPC."""
    text, vector = expected
    address, host = (f"{gateway}:80", model.host) if way == "gateway" else (
        f"{url.removeprefix('http://')}:8081", None
    )  # fmt: skip
    assert same(vector_of(infer(address, host, text)), vector)


def test_helm_test_passes_with_the_known_vector(
    model: Release, expected: tuple[str, np.ndarray[Any, Any]]
) -> None:
    text, vector = expected
    model.upgrade(smokeTest={"text": text, "vector": [round(float(x), 4) for x in vector[:4]]})
    output = helm("test", model.name, "--namespace", model.namespace, "--timeout=120s")
    assert "Succeeded" in output


def test_helm_test_fails_with_another_vector(model: Release) -> None:
    model.upgrade(smokeTest={"text": "hello", "vector": [0.9, -0.9, 0.1, 0.2]})
    try:
        with pytest.raises(RuntimeError, match="smoke"):
            helm("test", model.name, "--namespace", model.namespace, "--timeout=120s")
    finally:
        model.upgrade(smokeTest={})


def test_what_changes_no_pod_restarts_none(model: Release) -> None:
    before = model.pods()
    model.upgrade("--set", "serviceMonitor.labels.team=search")
    helm("upgrade", model.name, CHARTS / "embedding-model", "--namespace", model.namespace,
         "--reset-then-reuse-values")  # fmt: skip
    assert names(model.pods()) == names(before)
    service = model.service()
    assert condition(service, "Ready")


def names(pods: list[dict[str, Any]]) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in pods)


def test_a_canary_takes_its_share(
    model: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 % of 1000 requests, +- 3; the stable pod is not touched, and it answers the rest."""
    before = names(model.pods(STABLE))
    canary = {"name": "v2", "storageUri": "pvc://models/v2", "trafficPercent": 10}
    with Load(gateway, model.host, "minilm") as load:
        model.upgrade(canary=canary)
        wait_for("the canary's weight", lambda: model.weights().get(CANARY) == 10, 120.0)
        wait_for("its first answer", lambda: load.share("2") > 0, 30.0)
        first = len(load.answers)
        wait_for("the requests", lambda: len(load.answers) >= first + REQUESTS, 120.0)
    share = load.share("2", since=load.answers[first].at)
    with capsys.disabled():
        print(f"\ncanary: {share:.1%} of {len(load.answers) - first}; {load.summary()}")
    load.check_served(route_changes=1)
    assert 0.07 <= share <= 0.13
    assert names(model.pods(STABLE)) == before
    (status,) = model.service()["status"]["canaryStatuses"]
    assert status == {"name": "v2", "ready": True, "trafficPercent": 10}


def test_removing_a_canary_that_has_traffic_is_refused(model: Release) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)still has 10 %.*trafficPercent=0"):
        model.upgrade(canary={})


def test_prometheus_scrapes_every_pod_once(model: Release, prometheus: Prometheus) -> None:
    """With the label that tells canary and stable apart."""
    # Of now: a monitor that is deleted leaves its last samples behind for five minutes.
    up = 'up{job="predictor",namespace="demo"}'
    query = f"{up} == 1 and timestamp({up}) > time() - 10"

    def is_each_pod_once() -> bool:
        targets = prometheus.query(query)
        scraped = [(t["metric"]["pod"], t["metric"]["deployment"]) for t in targets]
        pods = [(pod, name) for name in (STABLE, CANARY) for pod in names(model.pods(name))]
        return len(pods) >= 2 and sorted(scraped) == sorted(pods)

    # A stable pod that gave way to the canary's was scraped until a moment ago.
    wait_for("a target for each pod", is_each_pod_once, 60.0, 1.0)


def test_canary_and_stable_are_told_apart_in_prometheus(
    model: Release, prometheus: Prometheus
) -> None:
    """By the query that rules and analyses ask."""
    query = "sum by (deployment) (predictor_requests_total{namespace='demo',code='200'}) > 0"

    def both() -> set[str] | None:
        deployments = {t["metric"]["deployment"] for t in prometheus.query(query)}
        return deployments if deployments >= {STABLE, CANARY} else None

    wait_for("both", both, 30.0, 1.0)


def test_every_metric_that_is_named_is_in_the_live_scrape(model: Release, url: str) -> None:
    """In rules, dashboards, autoscalers: a renamed metric would leave them silent."""
    controller = model.api.list("Pod", CONTROLLERS, "app.kubernetes.io/component=rollout")[0]
    places = (f"{url}/metrics", f"http://{controller['status']['podIP']}:8080/metrics")
    exposition = "\n".join(httpx.get(place).text for place in places)
    samples = metrics.samples(exposition)
    queried = metrics.queried()
    assert {"predictor_queue_tokens", "predictor_requests_total"} <= queried
    assert queried - samples - metrics.declared(exposition) == set()
    assert metrics.mentioned() - samples - metrics.families(exposition) == set()


def test_rules_are_loaded_and_evaluate(cluster: Api, prometheus: Prometheus) -> None:
    """By a real Prometheus: no rule has an error, records among them."""

    def rules() -> list[dict[str, Any]] | None:
        begins = ("Embedding", "namespace_deployment:predictor_")
        ours = [rule for rule in prometheus.rules() if rule["name"].startswith(begins)]
        return ours if ours and all(rule["health"] != "unknown" for rule in ours) else None

    ours = wait_for("the rules", rules, 60.0, 1.0)
    assert {rule["name"] for rule in ours} >= {
        "EmbeddingDown", "EmbeddingErrorsFast", "EmbeddingLatencySlow", "EmbeddingVectorsWrong",
        "namespace_deployment:predictor_errors:ratio1h",
    }  # fmt: skip
    assert {
        rule["name"]: rule.get("lastError", "") for rule in ours if rule["health"] != "ok"
    } == {}
