"""The route that chooses a version by headers, and what becomes of it during a rollout."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.controller import header_routes
from predictor.rollout.spec import ACTION, Compare
from predictor.rollout.state import State
from tests.unit.controller.stories import play, rollout, service, state_of
from tests.unit.controller.world import NAMESPACE, World

Object = dict[str, Any]
OURS = ("HTTPRoute", NAMESPACE, "minilm-compare")
BOTH = {"versionHeader": "X-Version", "userHeader": "X-User"}
SIDES = {"canary": "minilm-v2-predictor", "stable": "minilm-predictor"}
# As KServe writes it (facts of a living cluster): gRPC first, REST last.
KSERVES: Object = {
    "metadata": {"name": "minilm", "namespace": NAMESPACE},
    "spec": {
        "hostnames": ["minilm-search.example.com"],
        "parentRefs": [{"name": "kserve-ingress-gateway", "namespace": "kserve"}],
        "rules": [
            {
                "matches": [
                    {
                        "path": {"type": "RegularExpression", "value": r"^/inference\\..*$"},
                        "headers": [{"name": "content-type", "value": "application/grpc"}],
                    }
                ],
                "backendRefs": [
                    {"kind": "Service", "name": "minilm-predictor", "port": 8081, "weight": 90},
                    {"kind": "Service", "name": "minilm-v2-predictor", "port": 8081, "weight": 10},
                ],
            },
            {
                "name": "rest",
                "matches": [{"path": {"type": "RegularExpression", "value": "^/.*$"}}],
                "filters": [{"type": "RequestHeaderModifier"}],
                "timeouts": {"request": "60s"},
                "backendRefs": [
                    {"kind": "Service", "name": "minilm-predictor", "port": 80, "weight": 90},
                    {"kind": "Service", "name": "minilm-v2-predictor", "port": 80, "weight": 10},
                ],
            },
        ],
    },
}


def side_of(user: str, weight: int) -> str:
    """As a gateway asks: the first that matches; a value that is none goes by weight."""
    for match, side in header_routes.headers(Compare(user_header="x-user"), weight):
        if re.fullmatch(match["value"], user):
            return side
    return ""


@pytest.mark.parametrize("count", range(1, 257))
def test_so_many_endings_of_256(count: int) -> None:
    pattern = re.compile(header_routes.endings(count))
    for write in ("user-{:02x}", "USER-{:02X}"):
        values = [write.format(number) for number in range(256)]
        assert [bool(pattern.fullmatch(v)) for v in values] == [n < count for n in range(256)]


def test_a_gateway_that_searches_instead_of_matching_finds_the_same() -> None:
    pattern = re.compile(header_routes.endings(3))
    assert not pattern.search("00 and more of it ff")
    assert pattern.search("ff and more of it 02")


@given(st.uuids(), st.integers(0, 99), st.integers(0, 99))
def test_a_share_that_rises_keeps_the_users_that_it_has(user: Any, first: int, second: int) -> None:
    less, more = sorted((first, second))
    if side_of(str(user), less) == header_routes.CANARY:
        assert side_of(str(user), more) == header_routes.CANARY
    assert side_of(str(user), 0) == header_routes.STABLE


@pytest.mark.parametrize("weight", [1, 5, 10, 33, 50, 99])
def test_users_are_split_by_the_weight(weight: int) -> None:
    sides = [side_of(f"{number:08x}", weight) for number in range(256 * 4)]
    assert sides.count(header_routes.CANARY) / len(sides) == pytest.approx(
        weight / 100, abs=1 / 500
    )
    assert set(sides) == {header_routes.CANARY, header_routes.STABLE}


@pytest.mark.parametrize("user", ["", "a", "ada@example.com", "0g", "été"])
def test_a_value_without_such_an_end_goes_by_weight(user: str) -> None:
    assert side_of(user, 50) == ""


def test_each_of_kserves_rules_once_a_header() -> None:
    compare = Compare(version_header="X-Version", user_header="X-User")
    spec = header_routes.spec_of(KSERVES, compare, 10, SIDES)
    assert spec["hostnames"] == KSERVES["spec"]["hostnames"]
    assert spec["parentRefs"] == KSERVES["spec"]["parentRefs"]
    to = [
        (rule["backendRefs"][0]["name"], rule["backendRefs"][0]["port"]) for rule in spec["rules"]
    ]
    assert to == [(SIDES[side], port) for port in (8081, 80)
                  for side in ("canary", "stable", "canary", "stable")]  # fmt: skip
    for rule in spec["rules"]:
        (backend,), (match,) = rule["backendRefs"], rule["matches"]
        assert "weight" not in backend
        assert "name" not in rule  # the Gateway API wants each once
        assert len(match["headers"]) == (2 if backend["port"] == 8081 else 1)
    rest = spec["rules"][4]
    assert rest["matches"][0]["headers"] == [
        {"type": "Exact", "name": "X-Version", "value": "canary"}
    ]
    assert (rest["filters"], rest["timeouts"]) == (
        [{"type": "RequestHeaderModifier"}],
        {"request": "60s"},
    )
    assert "headers" not in KSERVES["spec"]["rules"][1]["matches"][0]  # it is looked at, no more


@pytest.mark.parametrize(
    ("current", "required", "same"),
    [
        ({"a": 1, "added": 2}, {"a": 1}, True),
        ({"a": 2}, {"a": 1}, False),
        ({}, {"a": 1}, False),
        ([{"a": 1, "weight": 1}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 1}], [{"a": 1}], False),
        ("a", ["a"], False),
        (None, {"a": 1}, False),
    ],
)
def test_defaults_of_the_api_server_are_no_difference(
    current: Any, required: Any, same: bool
) -> None:
    assert header_routes.has_fields(current, required) is same


# In a rollout


def new_world(**spec: Any) -> World:
    world = World()
    world.put(service())
    steps = [{"weight": weight, "hold": "30s"} for weight in (5, 50)]
    world.put(rollout(strategy="Compare", compare=BOTH, steps=steps, **spec))
    return world


def compared(world: World) -> State:
    return play(world, until=lambda state: state.phase == "Comparing", rounds=200)


def backends(world: World) -> list[str]:
    return [rule["backendRefs"][0]["name"] for rule in world.objects[OURS]["spec"]["rules"]]


def say(world: World, word: str) -> None:
    world.edit("EmbeddingRollout", "minilm", {"metadata": {"annotations": {ACTION: word}}})


def test_the_route_is_created_with_the_first_step_and_stays() -> None:
    world = new_world()
    play(world, until=lambda state: state.phase == "Progressing")
    ready = world.objects["Deployment", NAMESPACE, "minilm-v2-predictor"]["status"]
    assert ready["readyReplicas"]
    compared(world)
    assert backends(world) == [SIDES[side] for side in ("canary", "stable", "canary", "stable")]
    made = world.objects[OURS]
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner["uid"] == world.rollout()["metadata"]["uid"]
    version = made["metadata"]["resourceVersion"]
    play(world, until=lambda state: world.now > 1_002_000)
    assert world.objects[OURS]["metadata"]["resourceVersion"] == version  # nothing is written again


def test_no_header_leads_to_a_canary_without_pods() -> None:
    world = new_world()
    replicas = []

    def look(world: World) -> None:
        ready = world.objects.get(("Deployment", NAMESPACE, "minilm-v2-predictor"), {})
        if OURS in world.objects:
            replicas.append(ready.get("status", {}).get("readyReplicas", 0))

    play(world, each=look, until=lambda state: state.phase == "Comparing")
    assert replicas
    assert min(replicas) > 0


@pytest.mark.parametrize(("word", "end"), [("promote", "Succeeded"), ("abort", "Failed")])
def test_the_route_is_deleted_before_a_version_is_removed(word: str, end: str) -> None:
    world = new_world()
    compared(world)
    say(world, word)

    def look(world: World) -> None:
        is_two = bool(world.service()["spec"].get("canary"))
        assert is_two or OURS not in world.objects

    assert play(world, each=look).phase == end
    assert OURS not in world.objects


@pytest.mark.parametrize("word", ["promote", "abort"])
def test_the_route_is_disarmed_before_it_is_deleted(word: str) -> None:
    """First a header that nobody sends, and the gateway's word that it asks for it."""
    world = new_world()
    compared(world)
    say(world, word)
    disarmed: list[bool] = []

    def look(world: World) -> None:
        if OURS in world.objects:
            disarmed.append(header_routes.is_disarmed(world.objects[OURS]["spec"]))

    play(world, each=look)
    assert disarmed[:1] == [False]
    assert disarmed[-1:] == [True]
    assert disarmed == sorted(disarmed)


def test_a_disarmed_route_stays_until_the_gateway_has_applied_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = new_world()
    compared(world)
    monkeypatch.setattr(world, "_program", lambda: None)
    say(world, "promote")
    play(world, until=lambda state: world.now > 1_000_500)
    assert header_routes.is_disarmed(world.objects[OURS]["spec"])
    assert state_of(world).phase == "Promoting"  # and waits; EmbeddingRolloutWaits says so
    monkeypatch.undo()
    assert play(world).phase == "Succeeded"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("word", ["promote", "abort"])
def test_the_route_is_deleted_whenever_the_controller_dies(word: str, after: bool) -> None:
    def story(kill_at: int) -> World:
        world = new_world()
        compared(world)
        world.writes.clear()
        world.kill_at, world.after = kill_at, after
        say(world, word)
        play(world)
        return world

    whole = story(0)
    assert "delete HTTPRoute" in whole.writes
    for number in range(1, len(whole.writes) + 1):
        world = story(number)
        assert OURS not in world.objects, whole.writes[number - 1]
        assert state_of(world).phase == state_of(whole).phase


def test_the_route_is_repaired_and_follows_an_external_weight() -> None:
    world = new_world()
    compared(world)
    world.edit("HTTPRoute", "minilm-compare", {"spec": {"rules": []}})
    play(world, until=lambda state: bool(backends(world)), rounds=3)
    canary = world.service()["spec"]["canary"][0]
    world.edit("InferenceService", "minilm", {"spec": {"canary": [canary | {"trafficPercent": 0}]}})
    play(world, until=lambda state: state.phase == "Paused", rounds=10)
    play(world, until=lambda state: len(backends(world)) == 3, rounds=3)  # no user has it now


def test_the_route_is_deleted_when_compare_is_removed() -> None:
    world = new_world()
    compared(world)
    world.edit("EmbeddingRollout", "minilm", {"spec": {"compare": None}})
    play(world, until=lambda state: OURS not in world.objects, rounds=5)
    assert state_of(world).phase == "Comparing"


def test_a_route_of_another_owner_is_left_alone() -> None:
    world = new_world()
    foreign = {"kind": "HTTPRoute", "metadata": {"name": OURS[2]}, "spec": {"rules": ["theirs"]}}
    world.put(foreign)
    compared(world)
    assert world.objects[OURS]["spec"] == {"rules": ["theirs"]}


def test_a_younger_rollout_of_the_service_takes_nothing_away() -> None:
    world = new_world()
    compared(world)
    world.put(rollout("younger"))
    play(world, until=lambda state: world.now > 1_002_000)
    assert backends(world)


def test_knative_has_no_headers_and_says_so() -> None:
    world = World()
    world.put(service("Knative"))
    world.put(rollout(strategy="Compare", compare=BOTH, steps=[{"weight": 5}]))
    state = play(world, until=lambda state: bool(state.message), rounds=3)
    assert (state.phase, state.message) == (
        "Pending",
        "spec.compare: headers choose a version in Standard mode only",
    )
