"""Versions that the controller brings in by itself, or takes back, under load through Envoy."""

import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.cluster import kit as kits
from tests.cluster.api import Api, Object, wait_for
from tests.cluster.conftest import NAMESPACE
from tests.cluster.load import Load
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import CONTROLLERS, Release, restarts
from tests.cluster.rolling import (
    answering,
    controlled,
    ended,
    events,
    faulty_image,
    kubectl,
    leader,
    seconds_between,
    set_target,
    shares,
    status,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

# A bad version is gone within this; the good one takes three holds and the pods' starts.
GONE_S = 120.0


@pytest.fixture(scope="module")
def rolled(
    cluster: Api,
    prometheus: Prometheus,
    gateway: str,
    model_values: Object,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """Version 1 on two pods, which the controller has; Prometheus knows them, and so does Envoy."""
    del prometheus  # the controller asks it
    release = controlled(
        cluster, NAMESPACE, tmp_path_factory.mktemp("rolled"), model_values,
        autoscaling={"mode": "none", "minReplicas": 2},
    )  # fmt: skip
    with answering(gateway, release) as installed:
        yield installed


def has_weight(release: Release, weight: int) -> bool:
    return bool(status(release).get("weight") == weight)


def stable(release: Release) -> Object:
    predictor = release.service()["spec"]["predictor"]
    return {"name": predictor.get("name", ""), "uri": predictor["model"]["storageUri"]}


def bring(
    release: Release, gateway: str, capsys: pytest.CaptureFixture[str], uri: str, name: str,
    image: Object | None = None,
) -> tuple[Object, Load]:  # fmt: skip
    """Ask for a version under load, until it is stable or gone."""
    started = time.monotonic()
    with Load(gateway, release.host, "minilm", unique=True) as load:
        set_target(release, uri, name, image)
        status = ended(release, name)
        took = time.monotonic() - started
        count = len(load.answers)
        wait_for("answers", lambda: len(load.answers) > count + 100, 60.0)
    with capsys.disabled():
        print(
            f"\n{name}: {status['phase']} after {took:.0f} s, {status['message']}; {load.summary()}"
        )
        for move in status["transitions"]:
            print(f"  {seconds_between(status['transitions'][0], move):6.1f} s {move['phase']:<12}"
                  f"{move['weight']:>4} %  {move['message']}")  # fmt: skip
    return status, load


def test_a_good_version_is_promoted(
    rolled: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stable(rolled)
    status, load = bring(rolled, gateway, capsys, "pvc://models/v2", "v2")
    with capsys.disabled():
        print(kubectl("get", "er", "minilm"), kubectl("describe", "er", "minilm"), sep="\n")
    assert (status["phase"], status["message"]) == ("Succeeded", "v2 is stable")
    load.check_served(route_changes=3)  # the canary's first share, all of it, the promotion
    assert before["uri"] == "pvc://models/v1"
    assert stable(rolled) == {"name": "v2", "uri": "pvc://models/v2"}
    assert [w for w in shares(status) if w] == sorted(w for w in shares(status) if w)
    assert {10, 50, 100} <= set(shares(status))
    assert restarts(rolled.pods("minilm-v2-predictor")) == 0
    assert [answer.version for answer in load.answers[-50:]] == ["2"] * 50


def test_helm_upgrade_after_it_changes_nothing(rolled: Release) -> None:
    generation = rolled.service()["metadata"]["generation"]
    rolled.upgrade()
    assert rolled.service()["metadata"]["generation"] == generation


def test_other_vectors_are_taken_back_before_anybody_sees_them(
    rolled: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, load = bring(rolled, gateway, capsys, "pvc://models/cls", "cls")
    with capsys.disabled():
        print(kubectl("get", "er", "minilm"))
    assert status["phase"] == "Failed"
    assert status["message"].startswith("vectors: smallest cosine 0.")
    assert max(shares(status)) == 0
    assert load.share("6") == 0.0
    assert load.failures() == [], load.summary()
    assert stable(rolled)["uri"] == "pvc://models/v2"
    wait_for("its pods gone", lambda: not rolled.pods("minilm-cls-predictor"), 60.0)
    reasons = {(event["reason"], event["type"]) for event in events(rolled)}
    assert ("AnalysisFailed", "Warning") in reasons
    assert any("smallest cosine" in event["message"] for event in events(rolled))


@pytest.mark.e2e
def test_coarse_weights_are_taken_back(
    rolled: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, load = bring(rolled, gateway, capsys, "pvc://models/coarse", "coarse")
    assert status["phase"] == "Failed"
    assert status["message"].startswith("vectors: smallest cosine 0.")
    assert load.failures() == [], load.summary()


@pytest.mark.e2e
@pytest.mark.parametrize(("kind", "measure"), [("errors", "errors: "), ("slow", "slow: ")])
def test_a_bad_build_is_taken_back(
    rolled: Release,
    gateway: str,
    kit: kits.Kit,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    measure: str,
) -> None:
    good = rolled.values["image"]
    with faulty_image(kit, kind, tmp_path_factory.mktemp(kind)) as image:
        status, load = bring(rolled, gateway, capsys, "pvc://models/v3", f"bad-{kind}", image)
    assert status["phase"] == "Failed"
    assert measure in status["message"]
    assert max(shares(status)) <= 50
    errors = [answer for answer in load.failures() if answer.status != 500]
    assert errors == [], load.summary()
    assert stable(rolled)["uri"] == "pvc://models/v2"
    rolled.values["image"] = good


@pytest.mark.e2e
def test_a_controller_that_is_killed_in_the_middle(
    rolled: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At each step; another one leads on, from what is written."""
    killed: list[str] = []
    with Load(gateway, rolled.host, "minilm", unique=True) as load:
        set_target(rolled, "pvc://models/v4", "v4")
        for weight in (10, 50, 100):
            wait_for(f"{weight} %", partial(has_weight, rolled, weight), 180.0, 0.1)
            pod = leader(rolled.api, CONTROLLERS)
            rolled.api.delete("Pod", pod, CONTROLLERS)
            killed.append(pod)
        status = ended(rolled, "v4", 400.0)
    with capsys.disabled():
        print(f"\nkilled {len(set(killed))} controllers: {status['phase']}; {load.summary()}")
    assert (status["phase"], status["message"]) == ("Succeeded", "v4 is stable")
    load.check_served(route_changes=3)
    assert stable(rolled) == {"name": "v4", "uri": "pvc://models/v4"}
