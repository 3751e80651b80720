"""Pods that come and go under load through the gateway: no request fails.

With the policy of the chart (`gateway.enabled`): another pod is asked when one did not take the
request, which computes nothing twice.
"""

import time

import pytest

from tests.cluster.api import Refused, wait_for
from tests.cluster.load import Load
from tests.cluster.release import Release, restarts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

DEPLOYMENT = "minilm-predictor"
PODS = 2


@pytest.fixture(scope="module", autouse=True)
def scaled(model: Release, gateway: str) -> Release:
    """Two pods, of which a drain may take one."""
    model.upgrade(
        autoscaling={"mode": "cpu", "minReplicas": PODS, "maxReplicas": PODS},
        podDisruptionBudget={"enabled": True, "maxUnavailable": 1},
    )
    settle(model)
    with load_on(gateway, model) as load:
        wait_for("good answers", load.settled, 60.0)
    return model


def settle(model: Release) -> None:
    """Until two pods are ready and the gateway has had time to know them."""
    wait_for("two pods", lambda: len(model.ready_pods(DEPLOYMENT)) == PODS, 180.0)
    time.sleep(2)


def load_on(gateway: str, model: Release) -> Load:
    return Load(gateway, model.host, "minilm", clients=6, pause_s=0.01)


def report(capsys: pytest.CaptureFixture[str], what: str, load: Load) -> None:
    with capsys.disabled():
        print(f"\n{what}: {load.summary()}")
    assert len(load.answers) > 300
    assert load.failures() == [], load.summary()


def test_rolling_restart(model: Release, gateway: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As it is done under KServe: an annotation of the pods. (It undoes `kubectl rollout`.)"""
    before = set(model.ready_pods(DEPLOYMENT))
    with load_on(gateway, model) as load:
        model.upgrade(podAnnotations={"restarted-at": "now"})
        wait_for(
            "new pods",
            lambda: len(new := model.ready_pods(DEPLOYMENT)) == PODS and not before & set(new),
            180.0,
        )
        time.sleep(12)  # until the last old one has drained and ended
    report(capsys, "rolling restart", load)


def test_a_pod_is_deleted(model: Release, gateway: str, capsys: pytest.CaptureFixture[str]) -> None:
    settle(model)
    with load_on(gateway, model) as load:
        victim = model.ready_pods(DEPLOYMENT)[0]
        model.api.delete("Pod", victim, model.namespace)
        wait_for("it is gone", lambda: model.api.get("Pod", victim, model.namespace) is None, 90.0)
        settle(model)
    report(capsys, "pod deleted", load)


def test_eviction_respects_the_budget(
    model: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A drain of the node: the first pod goes, the second one has to wait for its successor."""
    settle(model)
    first, second = model.ready_pods(DEPLOYMENT)
    with load_on(gateway, model) as load:
        model.api.evict(first, model.namespace)
        with pytest.raises(Refused, match="disruption budget") as refused:
            model.api.evict(second, model.namespace)
        assert refused.value.code == 429
        settle(model)
        wait_for("its turn", lambda: evicted(model, second), 60.0, 1.0)
        wait_for("it is gone", lambda: model.api.get("Pod", second, model.namespace) is None, 90.0)
        settle(model)
    report(capsys, "evictions", load)
    assert restarts(model.pods(DEPLOYMENT)) == 0


def evicted(model: Release, pod: str) -> bool:
    try:
        model.api.evict(pod, model.namespace)
    except Refused as refused:
        if refused.code != 429:
            raise
        return False
    return True
