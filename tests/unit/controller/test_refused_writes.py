"""What is said is what is: writes that the API server refuses, and the weight that is served."""

from typing import Any

import pytest

from predictor.controller.cluster import ClusterError
from predictor.rollout.state import State
from tests.unit.controller.stories import ROUND_S, controller, play, rollout, service, state_of
from tests.unit.controller.world import World

SENTENCE = (
    "PATCH /apis/serving.kserve.io/v1beta1/namespaces/search/inferenceservices/minilm: 500: "
    'Internal error occurred: failed calling webhook "inferenceservice.kserve-webhook-server.'
    'validator": connect: connection refused'
)


class Webhook:
    """KServe's, which is away from now on; counts the attempts."""

    def __init__(self, world: World) -> None:
        self.times: list[float] = []
        self._world = world

    def __call__(self, verb: str, kind: str) -> None:
        if (verb, kind) == ("patch", "InferenceService"):
            self.times.append(self._world.now)
            raise ClusterError(SENTENCE)


def at_50() -> World:
    world = World()
    world.put(service(minReplicas=2))
    world.put(rollout(steps=[{"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "10s"}]))
    play(world, until=lambda state: state.served_weight == 50)
    return world


def applied(world: World) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = world.rollout()["status"]["conditions"]
    return next(entry for entry in conditions if entry["type"] == "Applied")


def events(world: World, reason: str) -> list[dict[str, Any]]:
    items = [item for (kind, _, _), item in world.objects.items() if kind == "Event"]
    return [item for item in items if item["reason"] == reason]


def test_a_refused_write_is_a_condition_with_the_sentence_of_the_api_server() -> None:
    world = at_50()
    assert (applied(world)["status"], applied(world)["reason"]) == ("True", "StepStarted")
    webhook = Webhook(world)
    world.inject_fault = webhook
    play(world, until=lambda state: state.weight == 100 and state.write_failures > 0)
    assert world.rollout()["status"]["servedWeight"] == 50, "what the gateway sends"
    condition = applied(world)
    assert (condition["status"], condition["reason"]) == ("False", "WriteRefused")
    assert condition["message"] == SENTENCE
    (event,) = events(world, "WriteRefused")
    assert (event["type"], event["message"]) == ("Warning", SENTENCE)


def test_the_controller_waits_longer_after_each_refusal_and_goes_on_by_itself() -> None:
    world = at_50()
    webhook = Webhook(world)
    world.inject_fault = webhook
    ended = world.now + 120
    play(world, until=lambda state: world.now >= ended)
    assert 4 <= len(webhook.times) <= 7, "of 60 reconciliations"
    gaps = [after - before for before, after in zip(webhook.times, webhook.times[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert len(events(world, "WriteRefused")) == 1, "the same sentence once"
    world.inject_fault = lambda verb, kind: None
    state = play(world)
    assert (state.phase, state.write_error) == ("Succeeded", "")
    assert applied(world)["status"] == "True"


def test_a_new_decision_does_not_wait() -> None:
    world = at_50()
    webhook = Webhook(world)
    world.inject_fault = webhook
    play(world, until=lambda state: state.write_failures == 4)
    attempts = len(webhook.times)
    action = {"metadata": {"annotations": {"predictor.dev/action": "abort"}}}
    world.edit("EmbeddingRollout", "minilm", action)
    world.pass_time(ROUND_S)
    controller(world).reconcile()
    assert state_of(world).phase == "RollingBack"
    assert len(webhook.times) == attempts + 1


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "Deployment"])
def test_refusals_of_other_objects_are_told_too(kind: str) -> None:
    world = World()
    isvc = service(minReplicas=2)
    isvc["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "external"
    world.put(isvc)
    target = {"kind": "Deployment", "name": "minilm-predictor"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4}
    if kind == "HorizontalPodAutoscaler":
        world.put({"kind": kind, "metadata": {"name": "a"}, "spec": spec})
    world.load = 3
    for _ in range(4):
        world.pass_time(5.0)
    world.objects["Deployment", "search", "minilm-predictor"]["spec"]["replicas"] = 3
    for _ in range(4):
        world.pass_time(5.0)
    world.put(rollout(steps=[{"weight": 90, "hold": "10s"}]))

    def forbidden(verb: str, of: str) -> None:
        if (verb, of) == ("patch", kind):
            raise ClusterError(f"PATCH: 403: {kind} is forbidden")

    world.inject_fault = forbidden

    def is_refused(state: State) -> bool:
        return state.write_failures > 0

    assert "is forbidden" in play(world, until=is_refused).write_error
