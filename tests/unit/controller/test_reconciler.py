"""Whole rollouts in both of KServe's ways: good ones, bad ones, and whatever gets between."""

import copy
import random
from typing import Any

import pytest

from predictor.controller.cluster import ClusterError
from predictor.rollout.spec import ACTION
from predictor.rollout.state import Measurement, State
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
from tests.unit.rollout.test_status import OLD_FORM

MODES = pytest.mark.parametrize("mode", ["Standard", "Knative"])
BAD = (Measurement("vectors", "Failed", "smallest cosine 0.980000, least 0.999"),)
V1, V2 = "pvc://models/v1", "pvc://models/v2"


def new_world(mode: str, slow: float | None = 5.0, **spec: Any) -> World:
    world = World(slow)
    world.put(service(mode))
    world.put(rollout(**spec))
    return world


def bad_from(weight: int) -> ScriptedAnalyzer:
    """An analyst whom the canary displeases as soon as it has this weight."""
    return ScriptedAnalyzer(lambda state: BAD if state.weight >= weight else GOOD)


@MODES
def test_a_good_canary_is_promoted_by_steps(mode: str) -> None:
    world = new_world(mode)
    weights: list[int] = []

    def note(world: World) -> None:
        share = shares(world).get(V2, 0)
        if weights[-1:] != [share]:
            weights.append(share)

    state = play(world, each=note)
    assert (state.phase, state.message) == ("Succeeded", "v2 is stable")
    assert weights == [0, 5, 10, 25, 50, 100]
    world.pass_time(10.0)
    assert shares(world) == {V2: 100}
    spec = world.service()["spec"]
    assert spec["predictor"]["model"] == {"storageUri": V2, "image": "predictor:1"}
    assert "canary" not in spec
    assert "canaryTrafficPercent" not in spec["predictor"]


@MODES
@pytest.mark.parametrize("weight", [0, 5, 25, 100])
def test_a_bad_canary_is_rolled_back(mode: str, weight: int) -> None:
    world = new_world(mode)
    before = copy.deepcopy(world.service()["spec"])
    state = play(world, bad_from(weight))
    assert (state.phase, state.weight) == ("Failed", 0)
    assert "smallest cosine 0.98" in state.message
    world.pass_time(10.0)
    assert shares(world) == {V1: 100}
    assert world.service()["spec"] == before
    # And it stays so.
    play(world, until=lambda state: world.now > 1_000_000 + 7200)
    assert world.service()["spec"] == before


@pytest.mark.parametrize("weight", [5, 25, 100])
def test_knative_sends_no_traffic_to_a_bad_canary_once_it_is_taken_back(weight: int) -> None:
    world = new_world("Knative")
    was_back = False

    def look(world: World) -> None:
        nonlocal was_back
        if state_of(world).phase == "RollingBack" and V2 not in shares(world):
            was_back = True
        if was_back:
            assert shares(world) == {V1: 100}

    play(world, bad_from(weight), each=look)
    assert was_back


@MODES
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
@pytest.mark.parametrize("analyzer", [ScriptedAnalyzer(), bad_from(25)], ids=["good", "bad"])
def test_another_controller_completes_the_rollout_after_a_death_at_any_write(
    mode: str, after: bool, analyzer: ScriptedAnalyzer
) -> None:
    whole = new_world(mode)
    expected = play(whole, analyzer)
    assert len(whole.writes) > 10
    for number in range(1, len(whole.writes) + 1):
        world = new_world(mode)
        world.kill_at, world.after = number, after
        rises: list[int] = []

        def look(world: World, rises: list[int] = rises) -> None:
            rises.append(shares(world).get(V2, 0))

        state = play(world, analyzer, each=look)
        assert (state.phase, state.canary) == (expected.phase, "v2"), whole.writes[number - 1]
        world.pass_time(10.0)
        assert shares(world) == shares(whole), whole.writes[number - 1]
        assert max(rises) <= (100 if state.phase == "Succeeded" else 25)


@MODES
def test_conflicts_and_an_api_server_that_fails_are_only_waited_for(mode: str) -> None:
    world = new_world(mode)
    chance = random.Random(7)

    def every_fifth(verb: str, kind: str) -> None:
        if chance.random() < 0.2:
            raise ClusterError(f"{verb} {kind}: 500")
        if verb == "patch" and chance.random() < 0.2:  # somebody wrote between look and patch
            world.edit("InferenceService", "minilm", nudge)

    nudge: dict[str, Any] = {"metadata": {"labels": {"touched": "x"}}}
    world.inject_fault = every_fifth
    state = play(world)
    assert state.phase == "Succeeded"


@MODES
def test_a_canary_that_never_gets_ready(mode: str) -> None:
    world = new_world(mode, slow=None)
    world.pass_time(0.0)
    state = play(world)
    assert state.phase == "Failed"
    assert "ready within 10m" in state.message
    assert shares(world) == {V1: 100}


def test_weights_wait_for_pods() -> None:
    world = new_world("Standard", slow=60.0)

    def look(world: World) -> None:
        share = shares(world).get(V2, 0)
        pods = world.objects.get(("Deployment", NAMESPACE, "minilm-v2-predictor"), {})
        ready = pods.get("status", {}).get("readyReplicas", 0)
        assert share <= 25 * ready

    assert play(world, each=look).phase == "Succeeded"


@pytest.mark.parametrize(
    ("patch", "phase", "why"),
    [
        ({"canary": None}, "Failed", "the canary was removed externally"),
        ({"predictor": {"model": {"storageUri": "pvc://models/v9"}}}, "Failed", "stable model"),
    ],
)
def test_external_changes_are_not_fought(patch: dict[str, Any], phase: str, why: str) -> None:
    world = new_world("Standard")
    play(world, until=lambda state: state.weight == 25 and state.weight_applied_at is not None)
    world.edit("InferenceService", "minilm", {"spec": patch})
    state = play(world)
    assert state.phase == phase
    assert why in state.message


def test_an_external_weight_pauses_the_rollout_there() -> None:
    world = new_world("Standard")
    play(world, until=lambda state: state.weight == 10 and state.weight_applied_at is not None)
    entry = copy.deepcopy(world.service()["spec"]["canary"][0]) | {"trafficPercent": 3}
    world.edit("InferenceService", "minilm", {"spec": {"canary": [entry]}})
    state = play(world, until=lambda state: state.phase == "Paused")
    assert (state.weight, state.message) == (3, "weight changed externally to 3")
    play(world, until=lambda state: True, rounds=1)
    assert shares(world)[V2] == 3
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "resume"}}})
    assert play(world).phase == "Succeeded"
    assert ACTION not in world.rollout()["metadata"]["annotations"]


@MODES
def test_abort_and_retry(mode: str) -> None:
    world = new_world(mode)
    play(world, until=lambda state: state.weight == 25)
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "abort"}}})
    assert play(world).message == "aborted manually"
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "retry"}}})
    assert play(world, until=lambda state: state.phase != "Failed").phase in (
        "Pending",
        "Preparing",
    )
    assert play(world).phase == "Succeeded"


@MODES
def test_promote_skips_the_analysis_and_moves_all_traffic_first(mode: str) -> None:
    world = new_world(mode)
    play(world, until=lambda state: state.phase == "Progressing")
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "promote"}}})
    reached: set[int] = set()
    state = play(
        world,
        ScriptedAnalyzer(lambda state: BAD),
        each=lambda world: reached.add(shares(world).get(V2, 0)),
    )
    assert state.phase == "Succeeded"
    assert 100 in reached


@MODES
def test_a_changed_target_rolls_the_first_one_back(mode: str) -> None:
    world = new_world(mode)
    play(world, until=lambda state: state.weight == 25)
    target = {"name": "v3", "storageUri": "pvc://models/v3"}
    world.edit("EmbeddingRollout", "minilm", {"spec": {"target": target}})
    state = play(world, until=lambda state: state.phase == "Succeeded")
    assert state.canary == "v3"
    assert any(transition.reason == "TargetChanged" for transition in state.transitions)
    world.pass_time(10.0)
    assert shares(world) == {"pvc://models/v3": 100}


@MODES
def test_the_next_target_is_rolled_out_after_a_promotion(mode: str) -> None:
    world = new_world(mode)
    play(world)
    target = {"name": "v3", "storageUri": "pvc://models/v3"}
    world.edit("EmbeddingRollout", "minilm", {"spec": {"target": target}})
    uri = "pvc://models/v3"
    assert play(world, until=lambda state: state.target_uri == uri and is_over(state))
    world.pass_time(10.0)
    assert shares(world) == {uri: 100}


def is_over(state: State) -> bool:
    return state.phase == "Succeeded"


def test_the_service_is_deleted_and_comes_again() -> None:
    world = new_world("Standard")
    play(world, until=lambda state: state.weight == 25)
    kept = world.objects.pop(("InferenceService", NAMESPACE, "minilm"))
    assert play(world).message == "there is no InferenceService minilm"
    fresh = service()
    assert kept["metadata"]["name"] == fresh["metadata"]["name"]
    world.put(fresh)
    play(world, until=lambda state: world.now > 1_000_000 + 3600)
    assert world.service()["spec"] == fresh["spec"]  # a failed target is not tried again


def test_of_two_rollouts_of_a_service_the_older_has_it() -> None:
    world = new_world("Standard")
    world.now += 5
    world.put(rollout("other", target={"name": "v9", "storageUri": "pvc://models/v9"}))
    play(world)
    assert state_of(world, "other").phase == "Pending"
    assert state_of(world, "other").message == "rollout minilm manages this service"
    assert shares(world) == {V2: 100}
    del world.objects["EmbeddingRollout", NAMESPACE, "minilm"]
    running = controller(world)
    for _ in range(1000):
        world.pass_time(2.0)
        running.reconcile()
    assert state_of(world, "other").phase == "Succeeded"


def test_a_rollout_that_is_deleted_leaves_a_service_that_works() -> None:
    world = new_world("Standard")
    play(world, until=lambda state: state.weight == 25 and state.weight_applied_at is not None)
    running = controller(world)
    world.pass_time(2.0)
    running.reconcile()
    del world.objects["EmbeddingRollout", NAMESPACE, "minilm"]
    spec = copy.deepcopy(world.service()["spec"])
    for _ in range(10):
        world.pass_time(2.0)
        running.reconcile()
    assert world.service()["spec"] == spec
    assert shares(world) == {V1: 75, V2: 25}
    (event,) = events(world, "RolloutDeleted")
    assert event["involvedObject"]["kind"] == "InferenceService"
    assert f"canary v2 ({V2}) stays with weight 25" in event["message"]


def test_an_invalid_spec_is_pending_with_its_reason() -> None:
    world = new_world("Standard", steps=[{"weight": 50}, {"weight": 20}])
    state = play(world, until=lambda state: bool(state.message))
    assert (state.phase, state.weight) == ("Pending", 0)
    assert "must rise" in state.message


@pytest.mark.parametrize("then", ["Hold", "RollBack"])
def test_prometheus_away_is_no_failure(then: str) -> None:
    limits = {"error": {"after": "5m", "then": then}}
    world = new_world("Standard", limits=limits)
    away = (Measurement("traffic", "Error", "Prometheus: it cannot be queried"),)
    analyzer = ScriptedAnalyzer(lambda state: away if state.weight >= 10 else GOOD)
    state = play(world, analyzer, until=lambda state: state.phase in ("Paused", "Failed"))
    assert state.phase == ("Paused" if then == "Hold" else "Failed")
    assert "Error for 5m" in state.message
    assert not state.consecutive_failures


def test_autoscalers_follow_the_new_name() -> None:
    world = new_world("Standard")
    for kind, name in (("HorizontalPodAutoscaler", "minilm-autoscale"), ("ScaledObject", "minilm")):
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "minilm-predictor"}
        world.put({"kind": kind, "metadata": {"name": name}, "spec": {"scaleTargetRef": target}})
    play(world)
    for kind, name in (("HorizontalPodAutoscaler", "minilm-autoscale"), ("ScaledObject", "minilm")):
        reference = world.objects[kind, NAMESPACE, name]["spec"]["scaleTargetRef"]
        assert reference["name"] == "minilm-v2-predictor"
        assert reference["kind"] == "Deployment"


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
@pytest.mark.parametrize(
    ("analyzer", "removed", "remaining"),
    [
        (ScriptedAnalyzer(), "minilm-predictor", "minilm-v2-predictor"),
        (bad_from(25), "minilm-v2-predictor", "minilm-predictor"),
    ],
    ids=["promoted", "rolled back"],
)
def test_kserves_autoscaler_of_a_removed_deployment_is_deleted(
    kind: str, analyzer: ScriptedAnalyzer, removed: str, remaining: str
) -> None:
    world = new_world("Standard")
    owner = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": "minilm",
    }
    for name in (removed, remaining, "other-predictor"):
        target = {"scaleTargetRef": {"kind": "Deployment", "name": name}}
        metadata = {"name": name, "ownerReferences": [owner]}
        world.put({"kind": kind, "metadata": metadata, "spec": target})
    play(world, analyzer)
    specs = {name: o["spec"] for (of, _, name), o in world.objects.items() if of == kind}
    assert set(specs) == {remaining, "other-predictor"}
    assert specs[remaining]["scaleTargetRef"]["name"] == remaining


def events(world: World, reason: str) -> list[dict[str, Any]]:
    items = [item for (kind, _, _), item in world.objects.items() if kind == "Event"]
    return [item for item in items if item["reason"] == reason]


def test_every_transition_is_an_event_with_its_reason() -> None:
    world = new_world("Standard")
    state = play(world, bad_from(25))
    events = [e for (kind, _, _), e in world.objects.items() if kind == "Event"]
    assert [e["reason"] for e in events] == [item.reason for item in state.transitions]
    assert events[-1]["reason"] == "AnalysisFailed"
    assert events[-1]["message"].startswith("Failed, weight 0: vectors: smallest cosine 0.98")
    assert events[-1]["type"] == "Warning"


def conditions(world: World) -> dict[str, tuple[str, str]]:
    """Status and lastTransitionTime by type."""
    return {
        condition["type"]: (condition["status"], condition["lastTransitionTime"])
        for condition in world.rollout()["status"]["conditions"]
    }


def test_conditions_change_with_the_rollout() -> None:
    world = new_world("Standard")
    play(world, until=lambda state: state.weight == 5)
    at_5 = conditions(world)
    assert (at_5["Promoted"][0], at_5["Progressing"][0]) == ("Unknown", "True")
    play(world, until=lambda state: state.weight == 25)
    assert conditions(world) == at_5, "no status of a condition has changed"
    play(world)
    ended = conditions(world)
    assert (ended["Promoted"][0], ended["Progressing"][0]) == ("True", "False")
    assert ended["Degraded"] == at_5["Degraded"]
    assert ended["Promoted"][1] > at_5["Promoted"][1]


def replace_by_old_form(world: World, phase: str) -> None:
    """The status as a controller of before the conditions would have written it."""
    old = OLD_FORM | {"phase": phase, "target": "v2 pvc://models/v2", "targetUri": V2}
    world.rollout()["status"] = copy.deepcopy(old)


@MODES
@pytest.mark.parametrize("phase", ["Preparing", "Progressing", "Paused", "Promoting"])
@pytest.mark.parametrize("weight", [0, 5, 25, 100])
def test_a_status_of_the_old_form_is_discarded_and_the_canary_keeps_its_traffic(
    mode: str, phase: str, weight: int
) -> None:
    world = new_world(mode)

    def has_weight(state: State) -> bool:
        canary_exists = V2 in str(world.service()["spec"])
        return canary_exists and state.weight == weight and state.weight_applied_at is not None

    play(world, until=has_weight)
    before = shares(world)
    replace_by_old_form(world, phase)
    adopted = play(world, until=lambda state: True, rounds=1)
    expected = ("Progressing", "CanaryAdopted") if weight else ("Preparing", "CanaryStarting")
    assert (adopted.phase, adopted.reason, adopted.weight) == (*expected, weight)
    assert "history" not in world.rollout()["status"], "nothing of the old form is left"
    lowest = before.get(V2, 0)

    def never_lower(world: World) -> None:
        nonlocal lowest
        share = shares(world).get(V2, 0)
        assert share >= lowest
        lowest = share

    state = play(world, each=never_lower)
    assert state.phase == "Succeeded"


def test_a_status_of_the_old_form_without_a_canary_begins_anew() -> None:
    world = new_world("Standard")
    world.pass_time(2.0)
    replace_by_old_form(world, "Progressing")
    state = play(world, until=lambda state: True, rounds=1)
    assert (state.phase, state.weight) == ("Preparing", 0)
    assert play(world).phase == "Succeeded"


def test_a_status_of_the_old_form_of_a_promoted_target_has_succeeded() -> None:
    world = new_world("Standard")
    play(world)
    replace_by_old_form(world, "Promoting")
    state = play(world, until=lambda state: True, rounds=1)
    assert (state.phase, state.reason) == ("Succeeded", "AlreadyStable")
