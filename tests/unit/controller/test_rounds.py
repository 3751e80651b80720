"""Whole rollouts in both of KServe's ways: good ones, bad ones, and whatever gets between."""

import copy
import random
from typing import Any

import pytest

from predictor.controller.cluster import ClusterError
from predictor.rollout.spec import ACTION
from predictor.rollout.state import Measure, State
from tests.unit.controller.stories import (
    GOOD,
    Opinions,
    controller,
    play,
    rollout,
    service,
    shares,
    told,
)
from tests.unit.controller.world import NAMESPACE, World

MODES = pytest.mark.parametrize("mode", ["Standard", "Knative"])
BAD = (Measure("vectors", "Failed", "smallest cosine 0.980000, least 0.999"),)
V1, V2 = "pvc://models/v1", "pvc://models/v2"


def begun(mode: str, slow: float | None = 5.0, **spec: Any) -> World:
    world = World(slow)
    world.put(service(mode))
    world.put(rollout(**spec))
    return world


def bad_from(weight: int) -> Opinions:
    """An analyst whom the canary displeases as soon as it has this weight."""
    return Opinions(lambda state: BAD if state.weight >= weight else GOOD)


@MODES
def test_a_good_one_is_promoted_by_steps(mode: str) -> None:
    world = begun(mode)
    seen: list[int] = []

    def note(world: World) -> None:
        share = shares(world).get(V2, 0)
        if seen[-1:] != [share]:
            seen.append(share)

    state = play(world, each=note)
    assert (state.phase, state.reason) == ("Succeeded", "v2 is stable")
    assert seen == [0, 5, 10, 25, 50, 100]
    world.pass_time(10.0)
    assert shares(world) == {V2: 100}
    spec = world.service()["spec"]
    assert spec["predictor"]["model"] == {"storageUri": V2, "image": "predictor:1"}
    assert "canary" not in spec
    assert "canaryTrafficPercent" not in spec["predictor"]


@MODES
@pytest.mark.parametrize("weight", [0, 5, 25, 100])
def test_a_bad_one_is_taken_back(mode: str, weight: int) -> None:
    world = begun(mode)
    before = copy.deepcopy(world.service()["spec"])
    state = play(world, bad_from(weight))
    assert (state.phase, state.weight) == ("Failed", 0)
    assert "smallest cosine 0.98" in state.reason
    world.pass_time(10.0)
    assert shares(world) == {V1: 100}
    assert world.service()["spec"] == before
    # And it stays so.
    play(world, until=lambda state: world.now > 1_000_000 + 7200)
    assert world.service()["spec"] == before


def test_knative_never_sends_anybody_to_the_bad_one_on_the_way_back() -> None:
    world = begun("Knative")
    was_back = False

    def look(world: World) -> None:
        nonlocal was_back
        if told(world).phase == "RollingBack" and V2 not in shares(world):
            was_back = True
        if was_back:
            assert shares(world) == {V1: 100}

    play(world, bad_from(25), each=look)
    assert was_back


@MODES
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
@pytest.mark.parametrize("opinions", [Opinions(), bad_from(25)], ids=["good", "bad"])
def test_killed_at_every_write_another_one_ends_it(
    mode: str, after: bool, opinions: Opinions
) -> None:
    whole = begun(mode)
    expected = play(whole, opinions)
    assert len(whole.writes) > 10
    for number in range(1, len(whole.writes) + 1):
        world = begun(mode)
        world.kill_at, world.after = number, after
        rises: list[int] = []

        def look(world: World, rises: list[int] = rises) -> None:
            rises.append(shares(world).get(V2, 0))

        state = play(world, opinions, each=look)
        assert (state.phase, state.canary) == (expected.phase, "v2"), whole.writes[number - 1]
        world.pass_time(10.0)
        assert shares(world) == shares(whole), whole.writes[number - 1]
        assert max(rises) <= (100 if state.phase == "Succeeded" else 25)


@MODES
def test_conflicts_and_an_api_server_that_fails_are_only_waited_for(mode: str) -> None:
    world = begun(mode)
    chance = random.Random(7)

    def every_fifth(verb: str, kind: str) -> None:
        if chance.random() < 0.2:
            raise ClusterError(f"{verb} {kind}: 500")
        if verb == "patch" and chance.random() < 0.2:  # somebody wrote between look and patch
            world.edit("InferenceService", "minilm", nudge)

    nudge: dict[str, Any] = {"metadata": {"labels": {"touched": "x"}}}
    world.trouble = every_fifth
    state = play(world)
    assert state.phase == "Succeeded"


@MODES
def test_a_canary_that_never_gets_ready(mode: str) -> None:
    world = begun(mode, slow=None)
    world.pass_time(0.0)
    state = play(world)
    assert state.phase == "Failed"
    assert "ready within 10m" in state.reason
    assert shares(world) == {V1: 100}


def test_weights_wait_for_pods() -> None:
    world = begun("Standard", slow=60.0)

    def look(world: World) -> None:
        share = shares(world).get(V2, 0)
        pods = world.objects.get(("Deployment", NAMESPACE, "minilm-v2-predictor"), {})
        ready = pods.get("status", {}).get("readyReplicas", 0)
        assert share <= 25 * ready

    assert play(world, each=look).phase == "Succeeded"


@pytest.mark.parametrize(
    ("patch", "phase", "why"),
    [
        ({"canary": None}, "Failed", "somebody else removed the canary"),
        ({"predictor": {"model": {"storageUri": "pvc://models/v9"}}}, "Failed", "stable model"),
    ],
)
def test_what_somebody_else_does_is_not_fought(patch: dict[str, Any], phase: str, why: str) -> None:
    world = begun("Standard")
    play(world, until=lambda state: state.weight == 25 and state.arrived is not None)
    world.edit("InferenceService", "minilm", {"spec": patch})
    state = play(world)
    assert state.phase == phase
    assert why in state.reason


def test_somebody_elses_weight_is_a_pause_at_it() -> None:
    world = begun("Standard")
    play(world, until=lambda state: state.weight == 10 and state.arrived is not None)
    entry = copy.deepcopy(world.service()["spec"]["canary"][0]) | {"trafficPercent": 3}
    world.edit("InferenceService", "minilm", {"spec": {"canary": [entry]}})
    state = play(world, until=lambda state: state.phase == "Paused")
    assert (state.weight, state.reason) == (3, "somebody else set weight 3")
    play(world, until=lambda state: True, rounds=1)
    assert shares(world)[V2] == 3
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "resume"}}})
    assert play(world).phase == "Succeeded"
    assert ACTION not in world.rollout()["metadata"]["annotations"]


@MODES
def test_abort_and_retry(mode: str) -> None:
    world = begun(mode)
    play(world, until=lambda state: state.weight == 25)
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "abort"}}})
    assert play(world).reason == "a person said abort"
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "retry"}}})
    assert play(world, until=lambda state: state.phase != "Failed").phase in (
        "Pending",
        "Preparing",
    )
    assert play(world).phase == "Succeeded"


@MODES
def test_promote_asks_nobody_and_goes_through_all_of_it(mode: str) -> None:
    world = begun(mode)
    play(world, until=lambda state: state.phase == "Progressing")
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "promote"}}})
    reached: set[int] = set()
    state = play(
        world,
        Opinions(lambda state: BAD),
        each=lambda world: reached.add(shares(world).get(V2, 0)),
    )
    assert state.phase == "Succeeded"
    assert 100 in reached


@MODES
def test_another_target_takes_the_first_one_back(mode: str) -> None:
    world = begun(mode)
    play(world, until=lambda state: state.weight == 25)
    target = {"name": "v3", "storageUri": "pvc://models/v3"}
    world.edit("EmbeddingRollout", "minilm", {"spec": {"target": target}})
    state = play(world, until=lambda state: state.phase == "Succeeded")
    assert state.canary == "v3"
    assert any(move.reason == "another target is wanted" for move in state.history)
    world.pass_time(10.0)
    assert shares(world) == {"pvc://models/v3": 100}


@MODES
def test_the_next_one_after_it(mode: str) -> None:
    world = begun(mode)
    play(world)
    target = {"name": "v3", "storageUri": "pvc://models/v3"}
    world.edit("EmbeddingRollout", "minilm", {"spec": {"target": target}})
    wanted = "pvc://models/v3"
    assert play(world, until=lambda state: state.target_uri == wanted and is_over(state))
    world.pass_time(10.0)
    assert shares(world) == {wanted: 100}


def is_over(state: State) -> bool:
    return state.phase == "Succeeded"


def test_the_service_is_deleted_and_comes_again() -> None:
    world = begun("Standard")
    play(world, until=lambda state: state.weight == 25)
    kept = world.objects.pop(("InferenceService", NAMESPACE, "minilm"))
    assert play(world).reason == "there is no InferenceService minilm"
    fresh = service()
    assert kept["metadata"]["name"] == fresh["metadata"]["name"]
    world.put(fresh)
    play(world, until=lambda state: world.now > 1_000_000 + 3600)
    assert world.service()["spec"] == fresh["spec"]  # a failed target is not tried again


def test_of_two_rollouts_of_a_service_the_older_has_it() -> None:
    world = begun("Standard")
    world.now += 5
    world.put(rollout("other", target={"name": "v9", "storageUri": "pvc://models/v9"}))
    play(world)
    assert told(world, "other").phase == "Pending"
    assert told(world, "other").reason == "rollout minilm has this service"
    assert shares(world) == {V2: 100}
    del world.objects["EmbeddingRollout", NAMESPACE, "minilm"]
    running = controller(world)
    for _ in range(1000):
        world.pass_time(2.0)
        running.round()
    assert told(world, "other").phase == "Succeeded"


def test_a_rollout_that_is_deleted_leaves_a_service_that_works() -> None:
    world = begun("Standard")
    play(world, until=lambda state: state.weight == 25 and state.arrived is not None)
    del world.objects["EmbeddingRollout", NAMESPACE, "minilm"]
    spec = copy.deepcopy(world.service()["spec"])
    running = controller(world)
    for _ in range(10):
        world.pass_time(2.0)
        running.round()
    assert world.service()["spec"] == spec
    assert shares(world) == {V1: 75, V2: 25}


def test_a_specification_that_cannot_be_is_told() -> None:
    world = begun("Standard", steps=[{"weight": 50}, {"weight": 20}])
    state = play(world, until=lambda state: bool(state.reason))
    assert (state.phase, state.weight) == ("Pending", 0)
    assert "must rise" in state.reason


@pytest.mark.parametrize("then", ["Hold", "RollBack"])
def test_prometheus_away_is_no_failure(then: str) -> None:
    limits = {"error": {"after": "5m", "then": then}}
    world = begun("Standard", limits=limits)
    away = (Measure("traffic", "Error", "Prometheus: it cannot be asked"),)
    opinions = Opinions(lambda state: away if state.weight >= 10 else GOOD)
    state = play(world, opinions, until=lambda state: state.phase in ("Paused", "Failed"))
    assert state.phase == ("Paused" if then == "Hold" else "Failed")
    assert "Error for 5m" in state.reason
    assert not state.failures


def test_autoscalers_follow_the_new_name() -> None:
    world = begun("Standard")
    for kind, name in (("HorizontalPodAutoscaler", "minilm-autoscale"), ("ScaledObject", "minilm")):
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "minilm-predictor"}
        world.put({"kind": kind, "metadata": {"name": name}, "spec": {"scaleTargetRef": target}})
    play(world)
    for kind, name in (("HorizontalPodAutoscaler", "minilm-autoscale"), ("ScaledObject", "minilm")):
        found = world.objects[kind, NAMESPACE, name]["spec"]["scaleTargetRef"]
        assert found["name"] == "minilm-v2-predictor"
        assert found["kind"] == "Deployment"


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
@pytest.mark.parametrize(
    ("opinions", "gone", "left"),
    [
        (Opinions(), "minilm-predictor", "minilm-v2-predictor"),
        (bad_from(25), "minilm-v2-predictor", "minilm-predictor"),
    ],
    ids=["promoted", "rolled back"],
)
def test_kserves_own_autoscaler_of_what_is_gone_goes_too(
    kind: str, opinions: Opinions, gone: str, left: str
) -> None:
    world = begun("Standard")
    owner = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": "minilm",
    }
    for name in (gone, left, "other-predictor"):
        target = {"scaleTargetRef": {"kind": "Deployment", "name": name}}
        metadata = {"name": name, "ownerReferences": [owner]}
        world.put({"kind": kind, "metadata": metadata, "spec": target})
    play(world, opinions)
    found = {name: o["spec"] for (of, _, name), o in world.objects.items() if of == kind}
    assert set(found) == {left, "other-predictor"}
    assert found[left]["scaleTargetRef"]["name"] == left


def test_every_move_is_an_event_with_its_reason() -> None:
    world = begun("Standard")
    state = play(world, bad_from(25))
    events = [e for (kind, _, _), e in world.objects.items() if kind == "Event"]
    assert [e["reason"] for e in events] == [move.phase for move in state.history]
    assert "smallest cosine 0.98" in events[-1]["message"]
    assert events[-1]["type"] == "Warning"
