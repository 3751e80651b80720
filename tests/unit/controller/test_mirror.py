"""Telling the stable pods to feed the canary, and what becomes of the rollout by their answers."""

import json
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from predictor.client.http import Address, Refused, Unreachable
from predictor.controller.cluster import Cluster, ClusterError
from predictor.controller.drivers import Endpoint, driver_of
from predictor.controller.mirror import MOST_PODS, Mirror, MirrorTarget, duration_s
from predictor.controller.observe import Analyzer, observe_service, pod_selector
from predictor.controller.probe import Probe
from predictor.controller.prometheus import Prometheus
from predictor.rollout.shadow import ShadowReport, ShadowTotals
from predictor.rollout.spec import Spec, read_spec
from predictor.rollout.state import Measurement, Phase, State
from tests.unit.controller.stories import play, rollout, service, state_of
from tests.unit.controller.world import NAMESPACE, World

TARGET_OF_MIRROR = MirrorTarget(
    "app=isvc.minilm-predictor", "http://minilm-v2-predictor.search.svc", "small-model"
)
SHADOW = {"share": 0.2, "hold": "60s", "minTexts": 50}


class Pods:
    """Stands for the stable pods' admin routes; each compares `each` texts more a look.

    trouble: by address, what is raised instead of an answer.
    """

    def __init__(self, each: int = 10, cosine: float = 1.0) -> None:
        self.each, self.cosine = each, cosine
        self.calls: list[tuple[str, str]] = []
        self.orders: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.shadows: dict[str, ShadowReport] = {}
        self.replies: dict[str, Exception | bytes] = {}
        self.age: Callable[[], float] = lambda: 1e9

    def __call__(
        self, address: Address, method: str, path: str, body: bytes | None = None
    ) -> tuple[bytes, str]:
        assert path == "/admin/shadow"
        assert address.timeout_s == 2.0
        self.calls.append((method, address.url))
        self.keys.add(address.key)
        reply = self.replies.get(address.host)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, bytes):
            return reply, ""
        if method == "DELETE":
            self.shadows.pop(address.url)
            return b"{}", ""
        assert body is not None
        self.orders.append(json.loads(body))
        report = self.shadows.setdefault(
            address.url, ShadowReport(active=True, totals=ShadowTotals(stable_dimensions=4))
        )
        report.age_s = self.age()
        if self.each:
            report.totals.record(4, self.each, [self.cosine] * self.each)
        return msgspec.json.encode(report), ""


def pod(name: str, ip: str, ready: str = "True", app: str = "isvc.minilm-predictor") -> Any:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {},
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
    }


def new_world(pods: int = 3) -> World:
    world = World()
    world.put(service())
    for number in range(pods):
        world.put(pod(f"pod-{number}", f"10.0.0.{number + 1}"))
    return world


def mirror(world: World, pods: Pods, token: str = "t" * 16) -> Mirror:
    return Mirror(cast(Cluster, world), lambda: token, "api-key", pods)


def spec(**fields: Any) -> Spec:
    return read_spec(rollout(**{"shadow": SHADOW} | fields))


def preparing(phase: Phase = "Preparing", weight: int = 0) -> State:
    return State(phase=phase, weight=weight, phase_since=12.5)


def look(world: World, telling: Mirror, state: State | None = None, **fields: Any) -> Any:
    return telling.measure(spec(**fields), state or preparing(), world.service(), TARGET_OF_MIRROR)


def test_every_ready_pod_mirrors_and_their_totals_are_summed() -> None:
    world, pods = new_world(), Pods(each=20)
    world.put(pod("starting", "10.0.0.8", ready="False"))
    world.put(pod("of another", "10.0.0.9", app="isvc.other-predictor"))
    world.put(pod("without an address", ""))
    leaving = pod("leaving", "10.0.0.7")
    leaving["metadata"]["deletionTimestamp"] = "now"
    world.put(leaving)
    (measure,) = look(world, mirror(world, pods))
    assert (measure.name, measure.verdict) == ("shadow", "Successful")
    assert measure.message.startswith("60 live texts compared")
    assert sorted(pods.calls) == [("PUT", f"http://10.0.0.{n}:8080") for n in (1, 2, 3)]
    assert pods.keys == {"t" * 16}
    uid = world.service()["metadata"]["uid"]
    assert pods.orders[0] == {
        "url": "http://minilm-v2-predictor.search.svc",
        "model": "small-model",
        "share": 0.2,
        "seconds": 120.0,
        "key": "api-key",
        "id": f"{uid} 12.5",
    }


@pytest.mark.parametrize(
    ("mode", "labels"),
    [
        ("Standard", "app=isvc.minilm-predictor"),
        ("Knative", "serving.knative.dev/revision=minilm-predictor"),
    ],
)
def test_pods_are_found_by_the_labels_of_their_mode(mode: str, labels: str) -> None:
    assert pod_selector(driver_of(service(mode)), Endpoint("minilm-predictor", "")) == labels


def test_an_address_of_version_6() -> None:
    world, pods = new_world(0), Pods()
    world.put(pod("six", "fd00::1"))
    look(world, mirror(world, pods))
    assert pods.calls == [("PUT", "http://[fd00::1]:8080")]


def test_the_number_of_pods_that_mirror_is_bounded() -> None:
    world, pods = new_world(50), Pods()
    look(world, mirror(world, pods))
    assert len(pods.calls) == MOST_PODS


@pytest.mark.parametrize(
    ("interval", "lasts"), [("5s", 120.0), ("30s", 120.0), ("1m", 180.0), ("1h", 600.0)]
)
def test_a_shadow_outlasts_some_failed_analyses(interval: str, lasts: float) -> None:
    assert duration_s(spec(analysis={"interval": interval})) == lasts


@pytest.mark.parametrize(
    "state",
    [
        preparing(phase="Progressing"),
        preparing(phase="Paused"),
        preparing(phase="Progressing", weight=5),
        preparing(weight=5),  # a canary that was taken over has users
    ],
)
def test_only_before_anybody_depends_on_it(state: State) -> None:
    world, pods = new_world(), Pods()
    assert look(world, mirror(world, pods), state) == ()
    assert look(world, mirror(world, pods), shadow=None) == ()
    assert pods.calls == []


def test_the_shadow_is_ended_on_every_pod() -> None:
    world, pods = new_world(), Pods()
    telling = mirror(world, pods)
    look(world, telling)
    pods.replies["10.0.0.2"] = Unreachable("gone")
    assert look(world, telling, preparing(phase="Progressing", weight=5)) == ()
    assert sorted(pods.calls[3:]) == [("DELETE", f"http://10.0.0.{n}:8080") for n in (1, 2, 3)]
    look(world, telling, preparing(phase="Progressing", weight=10))
    assert len(pods.calls) == 6


def test_whoever_leaves_that_phase_ends_it() -> None:
    world, pods = new_world(), Pods()
    telling = analyst(world, pods)
    look(world, telling.mirror)
    observed = observe_service(cast(Cluster, world), NAMESPACE, read_spec(rollout()), State())
    telling.end_shadow(observed)
    telling.end_shadow(observed)
    assert [method for method, _ in pods.calls] == ["PUT"] * 3 + ["DELETE"] * 3
    assert pods.shadows == {}


@pytest.mark.parametrize("token", ["", "two\nlines", "\u00e9" * 20])
def test_without_a_token_no_pod_can_mirror(token: str) -> None:
    world, pods = new_world(), Pods()
    (measure,) = look(world, mirror(world, pods, token))
    assert (measure.verdict, pods.calls) == ("Error", [])
    assert "--admin-token-file" in measure.message


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Refused("http://10.0.0.1:8080: 401", 401), "401 (--admin-token-file of servers"),
        (Refused("closed", 404), "closed (--admin-token-file of servers"),
        (Unreachable("no answer within 2 s"), "no answer within 2 s"),
        (b"<html>", "is no shadow report"),
        (b"{}", "is no shadow report"),
    ],
)
def test_if_no_pod_can_mirror_it_is_an_error(reply: Exception | bytes, words: str) -> None:
    world, pods = new_world(), Pods(each=50)
    pods.replies = {f"10.0.0.{n}": reply for n in (1, 2, 3)}
    (measure,) = look(world, mirror(world, pods))
    assert measure.verdict == "Error"
    assert words in measure.message
    # One that can is enough, and the others are named.
    del pods.replies["10.0.0.2"]
    (measure,) = look(world, mirror(world, pods))
    assert measure.verdict == "Successful"
    assert "1 of 3 pods mirror: " in measure.message


def test_no_pods_and_no_right_to_see_them() -> None:
    world, pods = new_world(0), Pods()
    (measure,) = look(world, mirror(world, pods))
    assert (measure.verdict, measure.message) == ("Error", "the stable version has no ready pod")

    def forbidden(verb: str, kind: str) -> None:
        if kind == "Pod":
            raise ClusterError("GET pods: 403 Forbidden")

    world.inject_fault = forbidden
    (measure,) = look(world, mirror(world, pods))
    assert (measure.verdict, measure.message) == (
        "Error", "pods cannot be listed: GET pods: 403 Forbidden",
    )  # fmt: skip


# Whole rollouts


class Good:
    """Stands for the probe, and for a Prometheus that saw nothing bad."""

    def measure(self, *_: object) -> Measurement:
        return Measurement("vectors", "Successful")

    def canonical_margin(self, *_: object) -> None:
        return None

    def traffic(self, *_: object) -> Any:
        raise AssertionError("there is no traffic while it is prepared")


def analyst(world: World, pods: Pods) -> Any:
    good = Good()
    return Analyzer(cast(Prometheus, good), cast(Probe, good), mirror(world, pods))


def weight_came(state: State) -> bool:
    return state.phase not in ("Preparing", "Pending")


def test_the_canary_gets_no_traffic_before_the_shadow_was_successful() -> None:
    world, pods = new_world(), Pods(each=10)
    world.put(rollout(shadow=SHADOW))
    begin = world.now
    pods.age = lambda: world.now - begin
    state = play(world, analyst(world, pods), until=weight_came)
    assert (state.phase, state.weight) == ("Progressing", 5)
    assert {order["model"] for order in pods.orders} == {"minilm"}
    assert world.now - begin >= 60.0
    measurements = {
        measurement.name: measurement for measurement in state.transitions[-1].measurements
    }
    assert measurements["shadow"].verdict == "Successful"
    assert all(len(shadow.totals.histogram) for shadow in pods.shadows.values())


@pytest.mark.parametrize("each", [0, 1])
def test_the_rollout_waits_while_there_are_too_few_texts(each: int) -> None:
    world, pods = new_world(1), Pods(each)
    world.put(rollout(shadow=SHADOW | {"minTexts": 100_000}))
    begin = world.now
    state = play(world, analyst(world, pods), until=lambda state: world.now - begin > 600.0)
    assert (state.phase, state.weight) == ("Preparing", 0)
    # And then a person is asked.
    state = play(world, analyst(world, pods), until=weight_came)
    assert (state.phase, state.weight) == ("Paused", 0)
    assert "shadow" in state.message


def test_a_canary_with_other_vectors_of_live_texts_goes_unseen() -> None:
    world, pods = new_world(), Pods(each=1, cosine=0.97)
    world.put(rollout(shadow=SHADOW))
    state = play(world, analyst(world, pods))
    assert (state.phase, state_of(world).weight) == ("Failed", 0)
    assert "shadow: smallest cosine 0.970000, least 0.999" in state.message
    assert [transition.weight for transition in state.transitions] == [0] * len(state.transitions)


@pytest.mark.parametrize("cosine", [1.0, 0.97])
def test_the_end_of_the_preparation_ends_the_shadow(cosine: float) -> None:
    world, pods = new_world(), Pods(each=50, cosine=cosine)
    world.put(rollout(shadow=SHADOW))
    play(world, analyst(world, pods), until=weight_came)
    assert pods.shadows == {}


def test_a_rollout_goes_on_under_another_controller() -> None:
    world, pods = new_world(), Pods(each=10)
    world.put(rollout(shadow=SHADOW))
    begin = world.now
    pods.age = lambda: world.now - begin
    play(world, analyst(world, pods), until=lambda state: len(pods.orders) >= 3)
    play(world, analyst(world, pods), until=weight_came)
    assert len({order["id"] for order in pods.orders}) == 1


def test_pods_are_found_in_the_rollouts_namespace() -> None:
    world, pods = new_world(), Pods()
    world.put(rollout(shadow=SHADOW))
    elsewhere = pod("pod-x", "10.9.9.9")
    elsewhere["metadata"]["namespace"] = f"not-{NAMESPACE}"
    world.put(elsewhere)
    play(world, analyst(world, pods), until=lambda state: bool(pods.orders))
    assert {url for _, url in pods.calls} == {f"http://10.0.0.{n}:8080" for n in (1, 2, 3)}
