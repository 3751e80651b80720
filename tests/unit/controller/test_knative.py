"""Rollouts in Knative mode, with what KServe's and Knative's controllers do there."""

import copy
from typing import Any, cast

import pytest

from predictor.controller.cluster import Cluster
from predictor.controller.drivers import endpoints_of
from predictor.controller.knative import OLD_ANNOTATIONS
from predictor.controller.mirror import Mirror
from predictor.controller.observe import Analyzer, ObservedService, observe_service
from predictor.controller.probe import Probe
from predictor.controller.prometheus import Prometheus
from predictor.rollout.judge import Traffic
from predictor.rollout.spec import ACTION, read_spec
from predictor.rollout.state import Measurement, State
from tests.unit.controller.knative_world import TAG_ROUTING
from tests.unit.controller.stories import (
    GOOD,
    ScriptedAnalyzer,
    play,
    rollout,
    service,
    shares,
    state_of,
)
from tests.unit.controller.world import NAMESPACE, World

V1, V2, V3 = (f"pvc://models/v{number}" for number in (1, 2, 3))
BAD = (Measurement("vectors", "Failed", "smallest cosine 0.980000, least 0.999"),)
REVISIONS = [f"minilm-predictor-0000{number}" for number in range(1, 6)]


def new_world(**spec: Any) -> World:
    world = World()
    world.put(service("Knative"))
    pass_rounds(world)
    world.put(rollout(**spec))
    return world


def pass_rounds(world: World, number: int = 6) -> None:
    """Long enough for a revision to get ready and for its traffic to be routed."""
    for _ in range(number):
        world.pass_time(2.0)


def edit(world: World, percent: int | None, uri: str | None = None) -> None:
    """As Helm does it, and wait until it is done."""
    predictor: dict[str, Any] = {"canaryTrafficPercent": percent}
    if uri is not None:
        predictor["model"] = {"storageUri": uri}
    world.edit("InferenceService", "minilm", {"spec": {"predictor": predictor}})
    pass_rounds(world)


def bad_from(weight: int) -> ScriptedAnalyzer:
    return ScriptedAnalyzer(lambda state: BAD if state.weight >= weight else GOOD)


def observe(world: World) -> ObservedService:
    spec, state = read_spec(world.rollout()), state_of(world)
    observed = observe_service(cast(Cluster, world), NAMESPACE, spec, state)
    assert observed is not None
    return observed


def is_applied(weight: int) -> Any:
    return lambda state: state.weight == weight and state.weight_applied_at is not None


def test_a_service_that_helm_has_promoted_once_can_be_rolled_out() -> None:
    """The removal of a percentage of 100 changes nothing in the Knative Service."""
    world = new_world(target={"name": "v3", "storageUri": V3})
    rolled_out = world.objects.pop(("EmbeddingRollout", NAMESPACE, "minilm"))
    for percent in (10, 100, None):
        edit(world, percent, V2)
    living = world.service()
    assert shares(world) == {V2: 100}
    assert living["status"]["observedGeneration"] < living["metadata"]["generation"]
    world.put(rolled_out)
    state = play(world)
    assert (state.phase, state.stable_revision) == ("Succeeded", REVISIONS[1])
    assert shares(world) == {V3: 100}


@pytest.mark.parametrize(
    ("analyzer", "revisions"),
    [(ScriptedAnalyzer(), 2), (bad_from(0), 3), (bad_from(25), 3), (bad_from(100), 3)],
    ids=["good", "bad at 0", "bad at 25", "bad at 100"],
)
def test_no_revision_is_made_for_nothing(analyzer: ScriptedAnalyzer, revisions: int) -> None:
    """A rollback needs one: KServe sends traffic to the latest revision only."""
    world = new_world()
    annotations = copy.deepcopy(world.service()["metadata"]["annotations"])

    def look(world: World) -> None:
        assert world.service()["metadata"]["annotations"] == annotations

    play(world, analyzer, each=look)
    pass_rounds(world)
    assert world.knative.revisions == REVISIONS[:revisions]


def test_an_abort_at_100_ends_with_the_stable_model() -> None:
    world = new_world()
    play(world, until=is_applied(100))
    assert shares(world) == {V2: 100}
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: "abort"}}})
    state = play(world)
    assert (state.phase, state.message) == ("Failed", "aborted manually")
    pass_rounds(world)
    assert shares(world) == {V1: 100}
    assert world.service()["spec"] == service("Knative")["spec"]


def test_versions_are_asked_by_names_within_the_cluster() -> None:
    world = new_world()
    play(world, until=is_applied(10))
    observed = observe(world)
    assert observed.service is not None
    stable, canary = endpoints_of(observed.isvc, observed.service)
    domain = "minilm-predictor.search.svc.cluster.local"
    assert (stable.deployment, stable.url) == (REVISIONS[0], f"http://prev-{domain}")
    assert (canary.deployment, canary.url) == (REVISIONS[1], f"http://latest-{domain}")


class ScriptedPrometheus(Prometheus):
    """Counts the answers of each revision, and remembers whose were asked for."""

    def __init__(self) -> None:
        super().__init__("http://prometheus")

    def traffic(
        self, namespace: str, deployment: str, window_s: float, before_s: float = 0.0
    ) -> Traffic:
        asked_for.append((deployment, before_s))
        return Traffic(1e6, 0.0, 0.0, {0.1: 1e6, float("inf"): 1e6})

    def canonical_margin(self, namespace: str, deployment: str) -> float | None:
        return None


asked_for: list[tuple[str, float]] = []


def test_at_100_the_canary_is_compared_with_the_stable_revision_before() -> None:
    """No name leads to the stable revision then: its vectors were compared at each step before."""
    world = new_world()
    play(world, until=is_applied(100))
    world.pass_time(60.0)
    observed, state = observe(world), state_of(world)
    assert observed.service is not None
    asked_for.clear()
    probe = cast(Probe, None)  # is not called
    mirror = Mirror(cast(Cluster, world), lambda: "")
    analyzer = Analyzer(ScriptedPrometheus(), probe, mirror)
    spec = read_spec(world.rollout())
    measurements = analyzer.measure(spec, state, observed, observed.service, world.now)
    assert {measurement.verdict for measurement in measurements} == {"Successful"}
    (canary, canary_before_s), (stable, stable_before_s) = asked_for
    assert (canary, stable) == (REVISIONS[1], REVISIONS[0])
    assert stable_before_s > canary_before_s


def test_without_tag_routing_a_rollout_does_not_begin() -> None:
    world = World()
    plain = service("Knative")
    del plain["metadata"]["annotations"][TAG_ROUTING]
    world.put(plain)
    world.put(rollout())
    state = play(world, until=lambda state: bool(state.message))
    assert (state.phase, state.reason) == ("Pending", "InferenceServiceUnsupported")
    assert TAG_ROUTING in state.message


def test_a_canary_waits_until_the_stable_revision_has_all_traffic() -> None:
    """Otherwise KServe would give the rest to the revision before."""
    world = new_world(target={"name": "v3", "storageUri": V3})
    edit(world, None, V2)
    world.edit("InferenceService", "minilm", {"spec": {"predictor": {"model": {"storageUri": V1}}}})

    def look(world: World) -> None:
        assert shares(world).keys() & {V1, V3} or V3 not in str(world.service()["spec"])

    state = play(world, each=look)
    assert (state.phase, state.stable_revision) == ("Succeeded", REVISIONS[2])


def test_a_canary_of_helm_is_adopted_at_any_weight() -> None:
    for percent in (0, 10, 100):
        world = new_world()
        rolled_out = world.objects.pop(("EmbeddingRollout", NAMESPACE, "minilm"))
        edit(world, 0, V2)
        edit(world, percent)
        world.put(rolled_out)
        state = play(world, until=lambda state: bool(state.message), rounds=1)
        assert (state.phase != "Pending", state.weight) == (True, percent), state.message
        assert (state.stable_uri, state.stable_revision) == (V1, REVISIONS[0])
        assert play(world, bad_from(0)).phase == "Failed"
        pass_rounds(world)
        assert shares(world) == {V1: 100}


def test_a_canary_whose_stable_version_is_unknown_is_not_touched() -> None:
    world = new_world()
    world.edit("InferenceService", "minilm", {"spec": {"predictor": {"canaryTrafficPercent": 100}}})
    world.service()["status"] = {}
    world.objects.pop(("KnativeService", NAMESPACE, "minilm-predictor"))
    play(world, until=lambda state: True, rounds=1)
    state = state_of(world)
    assert (state.phase, state.reason) == ("Pending", "InferenceServiceUnsupported")
    assert "the stable version is not known" in state.message


def test_traffic_that_kserve_gives_to_the_revision_before_is_taken_back() -> None:
    """KServe issue 2130: it may take the revision before for the one that was rolled out."""
    world = new_world(target={"name": "v3", "storageUri": V3})
    rolled_out = world.objects.pop(("EmbeddingRollout", NAMESPACE, "minilm"))
    for percent in (10, 100, None):
        edit(world, percent, V2)
    world.put(rolled_out)
    play(world, until=is_applied(10))
    assert shares(world) == {V2: 90, V3: 10}
    status = world.service()["status"]["components"]["predictor"]
    status["latestRolledoutRevision"] = status["previousRolledoutRevision"]
    state = play(world)
    assert (state.phase, state.reason) == ("Failed", "StableVersionChangedExternally")
    pass_rounds(world)
    assert shares(world) == {V2: 100}


def test_annotations_of_an_earlier_controller_leave_with_the_next_model() -> None:
    world = World()
    old = service("Knative")
    old["metadata"]["annotations"] |= dict.fromkeys(OLD_ANNOTATIONS, "x")
    world.put(old)
    pass_rounds(world)
    world.put(rollout())
    assert play(world).phase == "Succeeded"
    assert (
        world.service()["metadata"]["annotations"] == service("Knative")["metadata"]["annotations"]
    )
    assert world.knative.revisions == REVISIONS[:2]


def test_a_rollout_that_an_earlier_controller_began_is_completed() -> None:
    """Its state has no revision yet."""
    world = new_world()
    play(world, until=is_applied(25))
    world.rollout()["status"]["stableRevision"] = ""
    state = play(world, bad_from(25))
    assert (state.phase, state.stable_revision) == ("Failed", REVISIONS[0])
    pass_rounds(world)
    assert shares(world) == {V1: 100}


def test_a_weight_from_100_to_40_by_hand_is_accepted() -> None:
    """KServe names the canary itself as the other revision for a moment."""
    world = new_world()
    play(world, until=is_applied(100))
    world.edit("InferenceService", "minilm", {"spec": {"predictor": {"canaryTrafficPercent": 40}}})
    state = play(world, until=lambda state: state.phase not in ("Progressing", "Promoting"))
    assert (state.phase, state.reason) == ("Paused", "WeightChangedExternally")
    play(world, until=lambda state: True, rounds=1)
    pass_rounds(world)
    assert shares(world) == {V1: 60, V2: 40}


def test_a_state_is_read_without_a_knative_service() -> None:
    """KServe has not created it, or it was deleted."""
    world = new_world()
    world.objects.pop(("KnativeService", NAMESPACE, "minilm-predictor"))
    observed = observe(world)
    assert observed.service is not None
    assert not observed.service.settled
    assert observed.driver.remove(observed.isvc) is None
    assert State() == state_of(world)
