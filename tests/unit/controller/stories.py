"""A rollout from its beginning to its end in the world of memory, by a controller that may die."""

from collections.abc import Callable
from typing import Any, cast

from predictor.controller.cluster import Cluster
from predictor.controller.observe import Analyzer, ObservedService
from predictor.controller.reconciler import RolloutReconciler
from predictor.controller.standard import MODE
from predictor.rollout.observation import Service
from predictor.rollout.spec import Spec
from predictor.rollout.state import Measurement, State
from predictor.rollout.status import read_state
from tests.unit.controller.knative_world import TAG_ROUTING
from tests.unit.controller.world import NAMESPACE, Died, World

Object = dict[str, Any]
ROUND_S = 2.0
MOST_ROUNDS = 4000
GOOD = (Measurement("vectors", "Successful", "smallest cosine 1.000000"),)


class ScriptedAnalyzer:
    """Stands for the analyst. of: the measures, by the state that is looked at."""

    def __init__(self, of: Callable[[State], tuple[Measurement, ...]] = lambda state: GOOD) -> None:
        self.of = of

    def measure(
        self, spec: Spec, state: State, observed: ObservedService, service: Service, now: float
    ) -> tuple[Measurement, ...]:
        del spec, observed, service, now
        return self.of(state)

    def end_shadow(self, observed: ObservedService) -> None:
        """Nobody was told anything."""


def service(mode: str = "Standard", **predictor: Any) -> Object:
    return {
        "kind": "InferenceService",
        "metadata": {
            "name": "minilm",
            "annotations": {MODE: mode, **({TAG_ROUTING: "true"} if mode == "Knative" else {})},
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


def controller(world: World, analyzer: ScriptedAnalyzer | None = None) -> RolloutReconciler:
    return RolloutReconciler(
        cast(Cluster, world),
        cast(Analyzer, analyzer or ScriptedAnalyzer()),
        may_act=lambda: True,
        clock=lambda: world.now,
    )


def state_of(world: World, name: str = "minilm") -> State:
    return read_state(world.rollout(name))


def play(
    world: World,
    analyzer: ScriptedAnalyzer | None = None,
    *,
    until: Callable[[State], bool] = lambda state: state.phase in ("Succeeded", "Failed"),
    each: Callable[[World], None] = lambda world: None,
    rounds: int = MOST_ROUNDS,
) -> State:
    """Round after round; who dies is followed by another who knows nothing but what is written."""
    running = controller(world, analyzer)
    for _ in range(rounds):
        world.pass_time(ROUND_S)
        each(world)
        try:
            running.reconcile()
        except Died:
            running = controller(world, analyzer)
        if until(state_of(world)):
            return state_of(world)
    raise AssertionError(f"no end after {rounds} reconciliations: {state_of(world)}")


def shares(world: World) -> dict[str, int]:
    """Percent by model, as the gateway sends it."""
    isvc = world.service()
    if "Standard" not in str(isvc["metadata"]["annotations"]):
        return {uri: share for uri, share in world.knative.shares().items() if share}
    spec = isvc["spec"]
    uris = {_name(spec["predictor"].get("name", "")): spec["predictor"]["model"]["storageUri"]}
    for canary in spec.get("canary", []):
        uris[_name(canary["predictor"]["name"])] = canary["predictor"]["model"]["storageUri"]
    route = world.objects["HTTPRoute", NAMESPACE, "minilm"]
    backends = route["spec"]["rules"][-1]["backendRefs"]
    return {uris[b["name"]]: b["weight"] for b in backends if b["weight"]}


def _name(predictor: str) -> str:
    return f"minilm-{predictor}-predictor" if predictor else "minilm-predictor"
