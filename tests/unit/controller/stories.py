"""A rollout from its beginning to its end in the world of memory, by a controller that may die."""

from collections.abc import Callable
from typing import Any, cast

from predictor.controller.cluster import Cluster
from predictor.controller.looking import Analyst, Found
from predictor.controller.rounds import Rounds
from predictor.rollout.seen import Service
from predictor.rollout.spec import Spec
from predictor.rollout.state import Measure, State, read_state
from tests.unit.controller.world import NAMESPACE, Died, World

Object = dict[str, Any]
ROUND_S = 2.0
MOST_ROUNDS = 4000
GOOD = (Measure("vectors", "Successful", "smallest cosine 1.000000"),)


class Opinions:
    """Stands for the analyst. of: the measures, by the state that is looked at."""

    def __init__(self, of: Callable[[State], tuple[Measure, ...]] = lambda state: GOOD) -> None:
        self.of = of

    def measures(
        self, spec: Spec, state: State, found: Found, service: Service, now: float
    ) -> tuple[Measure, ...]:
        del spec, found, service, now
        return self.of(state)

    def prepared(self, found: Found) -> None:
        """Nobody was told anything."""


def service(mode: str = "Standard", **predictor: Any) -> Object:
    return {
        "kind": "InferenceService",
        "metadata": {
            "name": "minilm",
            "annotations": {"serving.kserve.io/deploymentMode": mode},
        },
        "spec": {
            "predictor": {
                "minReplicas": 4,
                "model": {"storageUri": "pvc://models/v1", "image": "predictor:1"},
            }
            | predictor
        },
    }


def rollout(name: str = "minilm", **spec: Any) -> Object:
    return {
        "kind": "EmbeddingRollout",
        "metadata": {"name": name},
        "spec": {
            "inferenceService": "minilm",
            "target": {"name": "v2", "storageUri": "pvc://models/v2"},
            "steps": [{"weight": weight, "hold": "30s"} for weight in (5, 10, 25, 50, 100)],
        }
        | spec,
    }


def controller(world: World, opinions: Opinions | None = None) -> Rounds:
    return Rounds(
        cast(Cluster, world),
        cast(Analyst, opinions or Opinions()),
        may_act=lambda: True,
        clock=lambda: world.now,
    )


def told(world: World, name: str = "minilm") -> State:
    return read_state(world.rollout(name))


def play(
    world: World,
    opinions: Opinions | None = None,
    *,
    until: Callable[[State], bool] = lambda state: state.phase in ("Succeeded", "Failed"),
    each: Callable[[World], None] = lambda world: None,
    rounds: int = MOST_ROUNDS,
) -> State:
    """Round after round; who dies is followed by another who knows nothing but what is written."""
    running = controller(world, opinions)
    for _ in range(rounds):
        world.pass_time(ROUND_S)
        each(world)
        try:
            running.round()
        except Died:
            running = controller(world, opinions)
        if until(told(world)):
            return told(world)
    raise AssertionError(f"no end after {rounds} rounds: {told(world)}")


def shares(world: World) -> dict[str, int]:
    """Percent by model, as the gateway sends it."""
    found = world.service()
    if "Standard" not in str(found["metadata"]["annotations"]):
        return {uri: share for uri, share in world.shares.items() if share}
    spec = found["spec"]
    uris = {_name(spec["predictor"].get("name", "")): spec["predictor"]["model"]["storageUri"]}
    for canary in spec.get("canary", []):
        uris[_name(canary["predictor"]["name"])] = canary["predictor"]["model"]["storageUri"]
    route = world.objects["HTTPRoute", NAMESPACE, "minilm"]
    backends = route["spec"]["rules"][-1]["backendRefs"]
    return {uris[b["name"]]: b["weight"] for b in backends if b["weight"]}


def _name(predictor: str) -> str:
    return f"minilm-{predictor}-predictor" if predictor else "minilm-predictor"
