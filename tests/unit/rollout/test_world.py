"""Rollouts in a cluster where anything may happen: what must hold in every turn, and at the end."""

from dataclasses import dataclass
from itertools import cycle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from predictor.rollout.spec import (
    Action,
    Analysis,
    Limit,
    Limits,
    Spec,
    Step,
    Target,
    Then,
    seconds,
)
from predictor.rollout.state import TERMINAL, State, Verdict
from tests.unit.rollout.world import NEW, OLD, OTHER, Controller, World, make_spec

VERDICTS: tuple[Verdict, ...] = ("Successful", "Failed", "Inconclusive", "Error")
TURN_S = 10.0
QUICK = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
weights = st.lists(st.integers(1, 100), min_size=1, max_size=4, unique=True).map(sorted)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """With an end at 100, as `read_spec` gives them."""
    pauses = st.booleans() if draw(st.booleans()) else st.just(False)
    holds = st.sampled_from(("0s", "30s", "1m"))
    steps = [Step(weight=weight, hold=draw(holds), pause=draw(pauses)) for weight in draw(weights)]
    if steps[-1].weight < 100:
        steps.append(Step(weight=100, hold="0s"))
    holding: tuple[Then, ...] = ("Hold", "RollBack")
    thens = st.sampled_from(holding)
    limits = Limits(
        progress_deadline="2m",
        error=Limit(after=draw(st.sampled_from(("0s", "2m"))), then=draw(thens)),
        inconclusive=Limit(after="3m", then=draw(thens)),
    )
    failures = draw(st.integers(1, 3))
    analysis = Analysis(interval="30s", failures=failures)
    return make_spec(steps=tuple(steps), limits=limits, analysis=analysis)


def most_turns(spec: Spec) -> int:
    """In a calm world and without pauses; each step waits for pods, route, hold, and patience."""
    limits = spec.limits
    patience = seconds(limits.error.after) + seconds(limits.inconclusive.after)
    waits = seconds(limits.progress_deadline) * 2 + patience + 60
    a_step = sum(seconds(step.hold) + waits for step in spec.steps)
    looks = spec.analysis.failures * len(VERDICTS) * 2 * 30.0
    return int((a_step + 3 * waits + looks) / TURN_S) + 10


@st.composite
def worlds(draw: st.DrawFn) -> World:
    return World(
        ready_s=draw(st.sampled_from((0.0, 20.0, 100.0, None))),
        route_s=draw(st.sampled_from((0.0, 5.0, 40.0, None))),
        pods=draw(st.integers(0, 5)),
    )


TROUBLES = (
    "weight", "swap", "remove", "create", "promote it", "change stable", "delete", "restore",
    "conflict", "no conflict", "unsupported", "supported", "kill pods", "more pods", "fewer pods",
    "another target", "the target", "spec.paused", "spec.go on", "fewer steps",
)  # fmt: skip
ACTIONS: tuple[Action | None, ...] = (None, None, None, "resume", "promote", "abort", "retry")


@dataclass(frozen=True)
class Event:
    """passed: real seconds. jump: of the clock. dies: as in `Controller.turn`."""

    passed: float
    jump: float
    verdict: Verdict | None
    action: Action | None
    dies: str
    what: str | None
    figure: int


verdicts_seen: tuple[Verdict | None, ...] = (*VERDICTS, "Successful", "Successful", None)
events = st.builds(
    Event,
    passed=st.sampled_from((0.0, 1.0, 10.0, 10.0, 10.0, 30.0, 300.0)),
    jump=st.sampled_from((0.0, 0.0, 0.0, 0.0, 3600.0, -3600.0)),
    verdict=st.sampled_from(verdicts_seen),
    action=st.sampled_from(ACTIONS),
    dies=st.sampled_from(("", "", "", "before", "between")),
    what=st.one_of(st.none(), st.none(), st.sampled_from(TROUBLES)),
    figure=st.integers(0, 100),
)


def disturb(controller: Controller, what: str | None, figure: int) -> None:  # noqa: C901, PLR0912
    world, spec = controller.world, controller.spec
    match what:
        case "weight" if world.canary_uri:
            world.set_weight(figure)
        case "swap" if world.canary_uri:
            world.put_canary(OTHER)
        case "remove":
            world.drop_canary()
        case "create" if world.canary_uri is None:
            world.put_canary(NEW if figure < 70 else OTHER)
            world.set_weight(figure)
        case "promote it" if world.canary_uri:
            world.stable_uri = world.canary_uri
            world.drop_canary()
        case "change stable":
            world.stable_uri = OTHER if figure < 50 else OLD
        case "delete":
            world.exists = False
            world.drop_canary()
        case "restore":
            world.exists = True
        case "conflict" | "no conflict":
            world.conflicting_rollout = "older" if what == "conflict" else ""
        case "unsupported" | "supported":
            world.unsupported_reason = (
                "the service has a transformer" if what == "unsupported" else ""
            )
        case "kill pods":
            world.kill_pods()
        case "more pods" | "fewer pods":
            world.pods = max(0, world.pods + (2 if what == "more pods" else -2))
        case "another target" | "the target":
            uri = OTHER if what == "another target" else NEW
            target = Target(storage_uri=uri, name="v3" if uri == OTHER else "v2")
            controller.spec = replace(spec, target=target)
        case "spec.paused" | "spec.go on":
            controller.spec = replace(spec, paused=what == "spec.paused")
        case "fewer steps":
            controller.spec = replace(spec, steps=spec.steps[-1:])


@QUICK
@given(spec=specs(), world=worlds(), story=st.lists(events, max_size=40), data=st.data())
def test_every_story_has_an_end_and_no_wrong_step(
    spec: Spec, world: World, story: list[Event], data: st.DataObject
) -> None:
    controller = Controller(spec, world)
    for event in story:
        world.wait(event.passed)
        world.now += event.passed + event.jump
        disturb(controller, event.what, event.figure)
        controller.turn(controller.observe(event.verdict, event.action), event.dies)
    # From here on nobody does anything any more, and nothing else goes wrong.
    world.conflicting_rollout = world.unsupported_reason = ""
    controller.spec = replace(controller.spec, paused=False)
    verdicts = data.draw(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=4))
    for _ in controller.turns(most_turns(controller.spec), cycle(verdicts), TURN_S):
        pass
    phase = controller.state.phase
    if phase in ("Promoting", "RollingBack"):
        assert world.weight != world.routed, "only a gateway that never answers may hold an end up"
    else:
        assert phase in (*TERMINAL, "Paused", "Pending"), controller.state.message
    if phase == "Pending":
        assert controller.state.message


@QUICK
@given(
    spec=specs(),
    world=worlds(),
    verdicts=st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=6),
    kills=st.lists(st.sampled_from(("", "", "before", "between")), min_size=1, max_size=30),
)
def test_a_controller_may_die_at_any_point(
    spec: Spec, world: World, verdicts: list[Verdict], kills: list[str]
) -> None:
    controller, state_of, deaths = Controller(spec, world), cycle(verdicts), iter(kills)
    heights: list[int] = []
    for _ in range(most_turns(spec) + 4 * len(kills)):
        world.wait(TURN_S)
        world.now += TURN_S
        observation = controller.observe(next(state_of) if controller.is_due() else None)
        controller.turn(observation, next(deaths, ""))
        if controller.state.phase == "Failed":
            assert world.canary_uri is None
            assert world.stable_uri == OLD
        heights.append(world.weight)
    if world.stable_uri == NEW:
        assert max(heights) == 100
        assert controller.state.phase == "Succeeded"
    else:
        assert world.stable_uri == OLD


@pytest.mark.parametrize("failed_at", range(4))
def test_after_a_rollback_everything_is_as_it_was(failed_at: int) -> None:
    """failed_at: step from which on it is bad; 0: before it had traffic."""
    controller = Controller(make_spec(), World())
    world, highest = controller.world, 0
    for _ in range(200):
        is_bad = controller.state.phase != "Preparing" if failed_at else True
        is_bad = is_bad and controller.state.step >= failed_at - 1
        world.wait(TURN_S)
        world.now += TURN_S
        controller.turn(controller.observe("Failed" if is_bad else "Successful"))
        highest = max(highest, world.weight)
    assert controller.state.phase == "Failed"
    assert controller.state.message == "errors: figures"
    assert (world.stable_uri, world.canary_uri, world.weight) == (OLD, None, 0)
    assert highest == (0, 10, 50, 100)[failed_at]


def test_a_good_canary_is_promoted_by_its_steps() -> None:
    controller = Controller(make_spec(), World())
    weights: list[int] = []
    for _ in controller.turns(200, cycle(["Successful"]), TURN_S):
        if not weights or weights[-1] != controller.world.weight:
            weights.append(controller.world.weight)
    assert weights == [0, 10, 50, 100, 0]
    assert controller.world.stable_uri == NEW
    phases = [line.phase for line in controller.state.transitions]
    assert phases == [
        "Preparing", "Progressing", "Progressing", "Progressing", "Promoting", "Succeeded",
    ]  # fmt: skip


@QUICK
@given(
    verdicts=st.lists(st.sampled_from(VERDICTS), min_size=5, max_size=60),
    place=st.integers(0, 59),
)
def test_worse_evidence_never_gives_more_weight(verdicts: list[Verdict], place: int) -> None:
    """Of two rollouts the one with the worse look at one place is never ahead, up to that look."""
    place %= len(verdicts)
    worse: list[Verdict] = list(verdicts)
    worse[place] = "Failed"
    last, bad_last = run_through(verdicts[: place + 1]), run_through(worse[: place + 1])
    assert bad_last.weight <= last.weight
    assert bad_last.step <= last.step


def run_through(verdicts: list[Verdict]) -> State:
    """The state after the last of these looks."""
    controller, left = Controller(make_spec(), World()), list(verdicts)
    while left and controller.state.phase not in (*TERMINAL, "Paused"):
        controller.world.wait(TURN_S)
        controller.world.now += TURN_S
        controller.turn(controller.observe(left.pop(0) if controller.is_due() else None))
    return controller.state
