"""A version that carries all traffic has all pods: both versions' pods, all the way and back."""

import copy
from dataclasses import dataclass
from math import ceil
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.controller.replicas import AUTOSCALER_CLASS
from predictor.rollout.spec import ACTION
from predictor.rollout.state import Measurement, State
from tests.unit.controller.pods import LEAST
from tests.unit.controller.stories import (
    GOOD,
    ScriptedAnalyzer,
    controller,
    play,
    rollout,
    service,
    shares,
    state_of,
)
from tests.unit.controller.world import NAMESPACE, World

Object = dict[str, Any]
V1, V2 = "pvc://models/v1", "pvc://models/v2"
BAD = (Measurement("errors", "Failed", "2 % of 100"),)
# KServe keeps the number; it has an autoscaler; the chart has one; KEDA has one.
SCALERS = ("none", "hpa", "HorizontalPodAutoscaler", "ScaledObject")


def ready(world: World, deployment: str) -> int:
    target = world.objects.get(("Deployment", NAMESPACE, deployment), {})
    return int(target.get("status", {}).get("readyReplicas", 0))


@dataclass
class Service:
    """A service of so many pods, however it got them; its autoscaler asks for as many by load."""

    scaler: str
    pods: int
    least: int

    def world(self, weights: list[int], **spec: Any) -> World:
        world = World(slow=5.0)
        least = self.pods if self.scaler == "none" else self.least
        isvc = service(minReplicas=least, maxReplicas=max(self.pods, least))
        is_of_kserve = self.scaler in ("none", "hpa")
        isvc["metadata"]["annotations"][AUTOSCALER_CLASS] = (
            self.scaler if is_of_kserve else "external"
        )
        world.put(isvc)
        if not is_of_kserve:
            world.put(self._autoscaler(least))
        world.load = self.pods
        for _ in range(5):
            world.pass_time(5.0)
        assert ready(world, "minilm-predictor") == self.pods
        steps = [{"weight": weight, "hold": "10s"} for weight in weights]
        world.put(rollout(steps=steps, **spec))
        return world

    def _autoscaler(self, least: int) -> Object:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "minilm-predictor"}
        most = LEAST[self.scaler].replace("min", "max")
        limits = {LEAST[self.scaler]: least, most: max(self.pods, least)}
        return {
            "kind": self.scaler,
            "metadata": {"name": "minilm-autoscale"},
            "spec": {"scaleTargetRef": target} | limits,
        }

    def check(self, world: World) -> None:
        """What holds in every moment while there are two versions, and after it."""
        stable, canary = ready(world, "minilm-predictor"), ready(world, "minilm-v2-predictor")
        share = shares(world).get(V2, 0)
        if shares(world).get(V1, 0) or share < 100 or "canary" in world.service()["spec"]:
            assert stable >= self.pods, "a stable pod was stopped"
        if share:
            assert canary >= max(1, ceil(self.pods * share / 100)), "traffic without pods"

    def numbers(self, world: World) -> list[Any]:
        predictor = world.service()["spec"]["predictor"]
        numbers = [predictor["minReplicas"], predictor["maxReplicas"]]
        for (kind, _, _), target in world.objects.items():
            if kind in LEAST:
                numbers += [target["spec"][LEAST[kind]]]
        return numbers


@st.composite
def services(draw: st.DrawFn) -> Service:
    pods = draw(st.integers(1, 6))
    return Service(draw(st.sampled_from(SCALERS)), pods, draw(st.integers(1, pods)))


weights = st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True).map(sorted)
QUICK = settings(
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@QUICK
@given(services(), weights)
def test_every_version_has_its_pods_on_the_way_up(service: Service, weights: list[int]) -> None:
    world = service.world(weights)
    before = service.numbers(world)
    assert play(world, each=service.check).phase == "Succeeded"
    play(world, each=service.check, until=lambda state: not state.stable_pods)
    assert service.numbers(world) == before, "the numbers were given back"
    world.pass_time(10.0)
    assert ready(world, "minilm-v2-predictor") >= service.pods


@QUICK
@given(services(), weights, st.integers(0, 100))
def test_every_version_has_its_pods_on_the_way_back(
    service: Service, weights: list[int], bad_from: int
) -> None:
    world = service.world(weights)
    before, numbers = copy.deepcopy(world.service()["spec"]), service.numbers(world)
    analyzer = ScriptedAnalyzer(lambda state: BAD if state.weight >= bad_from else GOOD)
    assert play(world, analyzer, each=service.check).phase == "Failed"
    play(world, each=service.check, until=lambda state: not state.stable_pods)
    assert world.service()["spec"] == before
    assert service.numbers(world) == numbers


@pytest.mark.parametrize("scaler", SCALERS)
def test_the_numbers_come_back_when_somebody_else_removes_the_canary(scaler: str) -> None:
    world = Service(scaler, 4, 2).world([25, 50])
    before = Service(scaler, 4, 2).numbers(world)
    play(world, until=lambda state: state.weight == 50 and state.weight_applied_at is not None)
    assert Service(scaler, 4, 2).numbers(world) != before
    world.edit("InferenceService", "minilm", {"spec": {"canary": None}})
    assert play(world).reason == "CanaryRemovedExternally"
    play(world, until=lambda state: not state.stable_pods)
    assert Service(scaler, 4, 2).numbers(world) == before


def test_the_numbers_of_the_spec_go_before_those_of_the_beginning() -> None:
    service = Service("none", 4, 4)
    world = service.world([50], minReplicas=4, maxReplicas=4)
    play(world, until=lambda state: state.weight == 50 and state.weight_applied_at is not None)
    world.edit("EmbeddingRollout", "minilm", {"spec": {"minReplicas": 6, "maxReplicas": 6}})
    assert play(world, each=service.check).phase == "Succeeded"
    assert service.numbers(world) == [6, 6]


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("scaler", ["none", "hpa"])
def test_a_canary_of_others_is_adopted_with_the_pods_that_the_service_has(
    scaler: str, raised: bool
) -> None:
    """Whether or not whoever made the canary has raised the numbers for it."""
    service = Service(scaler, 4, 4)
    world = service.world([50], minReplicas=4, maxReplicas=4)
    entry = {
        "trafficPercent": 25,
        "predictor": {"name": "v2", "minReplicas": 1, "model": {"storageUri": V2}},
    }
    numbers = {"minReplicas": 5, "maxReplicas": 5} if raised else {}
    edit = {"spec": {"canary": [entry], "predictor": numbers}}
    world.edit("InferenceService", "minilm", edit)
    for _ in range(5):
        world.pass_time(5.0)
    state = play(world, until=lambda state: state.reason == "CanaryAdopted")
    assert (state.stable_pods, state.min_replicas, state.max_replicas) == (4, 4, 4)
    assert play(world).phase == "Succeeded"
    assert (service.numbers(world), ready(world, "minilm-v2-predictor")) == ([4, 4], 4)


def test_a_step_above_one_pod_comes_from_weight_0() -> None:
    service = Service("HorizontalPodAutoscaler", 6, 6)
    assert play(service.world([90]), each=service.check).phase == "Succeeded"


def test_promote_before_the_first_step_waits_for_all_pods() -> None:
    service = Service("none", 4, 4)
    world = service.world([10])
    play(world, until=lambda state: state.phase == "Preparing")
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "promote"}}})
    assert play(world, each=service.check).phase == "Succeeded"


def test_a_status_without_numbers_in_the_middle_of_a_rollout_gets_them() -> None:
    """Written by a controller that did not know them."""
    service = Service("none", 4, 4)
    world = service.world([25, 50])
    play(world, until=lambda state: state.weight == 50 and state.weight_applied_at is not None)
    status = world.rollout()["status"]
    for name in ("stablePods", "minReplicas", "maxReplicas", "autoscalerMin"):
        del status[name]
    # As that controller left it: KServe took the canary's two pods off the four.
    world.edit("InferenceService", "minilm", {"spec": {"predictor": {"minReplicas": 4}}})
    for _ in range(3):
        world.pass_time(5.0)
    assert ready(world, "minilm-predictor") == 2

    def is_known(state: State) -> bool:
        return bool(state.stable_pods)

    assert play(world, until=is_known).stable_pods == 4
    assert play(world).phase == "Succeeded"
    assert ready(world, "minilm-v2-predictor") == 4


def test_a_service_at_rest_is_not_asked_for_its_autoscalers() -> None:
    service = Service("HorizontalPodAutoscaler", 2, 2)
    world = service.world([50])
    play(world, until=lambda state: state.phase == "Succeeded")
    play(world, until=lambda state: not state.stable_pods)
    kinds: list[str] = []
    world.inject_fault = lambda verb, kind: kinds.append(kind)
    world.pass_time(2.0)
    controller(world).reconcile()
    assert state_of(world).phase == "Succeeded"
    assert "HorizontalPodAutoscaler" not in kinds
