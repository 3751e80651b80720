"""Autoscalers of the chart under load: on CPU, and on queued tokens by KEDA; up, and back."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import wait_for
from tests.cluster.load import Load
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release, condition

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

DEPLOYMENT = "minilm-predictor"
UP_S, DOWN_S = 180.0, 240.0
# Kubernetes waits five minutes before it takes pods away; a test does not.
BEHAVIOR = {"scaleDown": {"stabilizationWindowSeconds": 10}}


def replicas(model: Release) -> int:
    deployment = model.api.get("Deployment", DEPLOYMENT, model.namespace)
    assert deployment is not None
    return int(deployment["spec"]["replicas"])


@pytest.fixture(autouse=True)
def one_pod(model: Release) -> Iterator[None]:
    """Each test begins with one ready pod and leaves no autoscaler."""
    wait_for("one pod", lambda: len(model.ready_pods(DEPLOYMENT)) == 1, 120.0)
    yield
    model.upgrade(autoscaling={"mode": "none"})


def busy(gateway: str, model: Release, **shape: Any) -> Load:
    """Texts that no cache has seen, so that they are computed."""
    return Load(gateway, model.host, "minilm", unique=True, pause_s=0.0, **shape)


def test_on_cpu(model: Release, gateway: str, capsys: pytest.CaptureFixture[str]) -> None:
    model.upgrade(
        autoscaling={"mode": "cpu", "minReplicas": 1, "maxReplicas": 2, "behavior": BEHAVIOR}
    )
    wait_for("its first reading", lambda: reads(model, "minilm-autoscale"), 120.0, 1.0)
    assert replicas(model) == 1
    with busy(gateway, model, clients=2) as load:
        wait_for("two pods", lambda: len(model.ready_pods(DEPLOYMENT)) == 2, UP_S, 1.0)
    with capsys.disabled():
        print(f"\nup on CPU: {load.summary()}")
    assert load.failures() == [], load.summary()
    wait_for("one pod again", lambda: replicas(model) == 1, DOWN_S, 1.0)


def reads(model: Release, name: str) -> bool:
    """Whether the autoscaler gets its metric."""
    scaler = model.api.get("HorizontalPodAutoscaler", name, model.namespace)
    return scaler is not None and condition(scaler, "ScalingActive")


def test_on_queued_tokens(
    model: Release, gateway: str, prometheus: Prometheus, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = {"serverAddress": prometheus.url, "tokensPerReplica": 500, "pollingInterval": 2}
    model.upgrade(
        autoscaling={
            "mode": "queue", "minReplicas": 1, "maxReplicas": 2, "behavior": BEHAVIOR,
            "queue": queue,
        }
    )  # fmt: skip
    wait_for("its reading", lambda: reads(model, "keda-hpa-minilm-autoscale"), 120.0, 1.0)
    assert replicas(model) == 1
    with busy(gateway, model, clients=6, texts=32, words=40) as load:
        wait_for("two pods", lambda: len(model.ready_pods(DEPLOYMENT)) == 2, UP_S, 1.0)
    with capsys.disabled():
        print(f"\nup on queued tokens: {load.summary()}")
    assert load.failures() == [], load.summary()
    scaled = model.api.get("ScaledObject", "minilm-autoscale", model.namespace)
    assert scaled is not None
    assert condition(scaled, "Ready")
    wait_for("one pod again", lambda: replicas(model) == 1, DOWN_S, 1.0)
