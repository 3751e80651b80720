"""Promotion and rollback under load: no request fails, and the pods that stay are not touched.

`hack/rollout.sh` does the steps, as a person would. The service runs on more pods than one, and
with an autoscaler, since that is where names and numbers of pods can go wrong.
"""

import os
import subprocess
import time

import pytest

from tests.cluster import kit as kits
from tests.cluster.api import wait_for
from tests.cluster.load import Load
from tests.cluster.release import Release, restarts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

STABLE, V2, V3 = "minilm-predictor", "minilm-v2-predictor", "minilm-v3-predictor"
PODS = 2


def rollout(model: Release, command: str, *flags: str) -> str:
    """What the script prints: who has which share."""
    done = subprocess.run(
        [kits.ROOT / "hack/rollout.sh", command, model.name, "-n", model.namespace, *flags],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"KUBECONFIG": str(kits.KUBECONFIG)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(f"{time.monotonic():.1f} {command} {' '.join(flags)}\n{done.stderr}{done.stdout}")
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def scaled(model: Release, gateway: str) -> Release:
    """Two stable pods, held by an autoscaler of ours, that the gateway knows."""
    model.upgrade(autoscaling={"mode": "cpu", "minReplicas": PODS, "maxReplicas": PODS})
    wait_for("two pods", lambda: len(model.ready_pods(STABLE)) == PODS, 120.0)
    with Load(gateway, model.host, "minilm") as load:
        wait_for("good answers", load.settled, 60.0)
    return model


def uids(model: Release, deployment: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in model.pods(deployment)}


def test_promotion_by_steps(
    model: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """10, 50, 100 %, then stable: the old pods go, and the new ones stay."""
    with Load(gateway, model.host, "minilm") as load:
        assert f"{V2} 10 % 1 ready" in rollout(
            model, "canary", "--name", "v2", "--uri", "pvc://models/v2"
        )
        first = uids(model, V2)
        stable = uids(model, STABLE)
        assert f"{V2} 50 % 1 ready" in rollout(model, "weight", "--percent", "50")
        assert f"{V2} 100 % 2 ready" in rollout(model, "weight", "--percent", "100")
        assert uids(model, STABLE) == stable
        before = uids(model, V2)
        assert rollout(model, "promote") == f"{V2} 100 % 2 ready\n"
        wait_for("the old pods gone", lambda: not model.pods(STABLE), 60.0)
        count = len(load.answers)
        wait_for("answers", lambda: len(load.answers) > count + 200, 60.0)
    with capsys.disabled():
        print(f"\npromotion: {load.summary()}")
    load.check_served(route_changes=3)  # the canary's first share, all of it, the promotion
    assert first <= before == uids(model, V2)
    assert restarts(model.pods(V2)) == 0
    assert [answer.version for answer in load.answers[-100:]] == ["2"] * 100


def test_after_it_everything_follows_the_new_name(model: Release) -> None:
    """The Deployment has another name now: autoscaler, status, Service."""
    hpa = model.api.get("HorizontalPodAutoscaler", "minilm-autoscale", model.namespace)
    assert hpa is not None
    assert hpa["spec"]["scaleTargetRef"]["name"] == V2
    scalers = model.api.list("HorizontalPodAutoscaler", model.namespace)
    assert [scaler["metadata"]["name"] for scaler in scalers] == ["minilm-autoscale"]
    assert model.api.get("Deployment", STABLE, model.namespace) is None
    assert model.api.get("Service", STABLE, model.namespace) is None
    assert model.service()["spec"]["predictor"]["name"] == "v2"
    assert "canary" not in model.service()["spec"]


def test_promoting_again_changes_nothing(model: Release) -> None:
    before = uids(model, V2)
    assert rollout(model, "promote") == f"{V2} 100 % 2 ready\n"
    assert uids(model, V2) == before


def test_rollback_through_zero(
    model: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next canary, at half of the traffic, is taken back."""
    stable = uids(model, V2)
    with Load(gateway, model.host, "minilm") as load:
        rollout(model, "canary", "--name", "v3", "--uri", "pvc://models/v3", "--percent", "50")
        wait_for("its answers", lambda: load.share("3") > 0, 30.0)
        assert rollout(model, "rollback") == f"{V2} 100 % 2 ready\n"
        wait_for("its pods gone", lambda: not model.pods(V3), 60.0)
    with capsys.disabled():
        print(f"\nrollback: {load.summary()}")
    load.check_served(route_changes=2)
    assert uids(model, V2) == stable
    assert restarts(model.pods(V2)) == 0
    assert [answer.version for answer in load.answers[-50:]] == ["2"] * 50


def test_in_one_step_requests_are_lost(
    model: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the order is for, and that this test could see it: the chart has to be told twice.

    Without retries, which would hide a part of it.
    """
    values = {
        "predictor": {"name": "v2"},
        "model": {"storageUri": "pvc://models/v2"},
        "canary": {"name": "v3", "storageUri": "pvc://models/v3", "trafficPercent": 50},
        "gateway": {"enabled": False},
    }
    model.upgrade("--set", "canary.allowSkippedStep=true", **values)
    wait_for("the canary's weight", lambda: model.weights().get(V3) == 50, 120.0)
    with Load(gateway, model.host, "minilm", clients=6, pause_s=0.002) as load:
        wait_for("answers", lambda: len(load.answers) > 100, 30.0)
        with pytest.raises(RuntimeError, match="still has 50 %"):
            model.upgrade(canary={})
        model.upgrade(canary={"allowSkippedStep": True})
        wait_for("the route", lambda: model.weights() == {V2: 100}, 60.0)
        count = len(load.answers)
        wait_for("answers", lambda: len(load.answers) > count + 100, 30.0)
    with capsys.disabled():
        print(f"\nremoved in one step: {load.summary()}")
    assert 500 in {answer.status for answer in load.failures()}  # its Service went first
