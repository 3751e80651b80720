"""One decision after the other, phase by phase; stories with everything in them: test_world.py."""

import pytest
from msgspec.structs import replace

from predictor.rollout.decide import decide
from predictor.rollout.intents import Keep, Promote, Remove, Shape
from predictor.rollout.seen import Seen, Service
from predictor.rollout.spec import Action, Limits, Patience, Spec, Step, Target
from predictor.rollout.state import Phase, State, Verdict
from tests.unit.rollout.world import NEW, OLD, OTHER, make_spec, measured, service

SPEC = make_spec()
NOW = 1_000_000.0


def at(phase: Phase = "Progressing", **changes: object) -> State:
    """On the first step, of 10 %, whose weight came 30 s ago."""
    state = State(
        phase=phase,
        target=SPEC.target.key,
        target_uri=NEW,
        stable_uri=OLD,
        stable_name="v1",
        canary="v2",
        weight=10,
        before=0,
        arrived=NOW - 30,
        since=NOW - 30,
        wrong_since=NOW - 30,
        doubt_since=NOW - 30,
        looked=NOW - 30,
    )
    return replace(state, **changes)


def step(
    state: State,
    found: Service | None,
    verdict: Verdict | None = None,
    action: Action | None = None,
    *,
    spec: Spec = SPEC,
    now: float = NOW,
    trouble: str = "",
    rival: str = "",
) -> tuple[State, object]:
    measures = measured(verdict) if verdict else ()
    decision = decide(spec, state, Seen(found, measures, rival, action, trouble), now)
    return decision.state, decision.intent


# Pending and Preparing


def test_a_canary_comes_in_without_traffic() -> None:
    state, intent = step(State(), service())
    assert (state.phase, state.weight, state.target) == ("Preparing", 0, SPEC.target.key)
    assert intent == Shape(0, 1)


def test_what_is_stable_already_is_done() -> None:
    state, intent = step(State(), service(stable=NEW))
    assert (state.phase, intent) == ("Succeeded", Keep())


def test_another_image_of_the_same_model_is_another_version() -> None:
    spec = make_spec(target=Target(storage_uri=OLD, name="v2", image="server:2"))
    state, _ = step(State(), service(), spec=spec)
    assert state.phase == "Preparing"
    state, intent = step(state, service(), spec=spec)
    assert (state.phase, intent) == ("Preparing", Shape(0, 1))
    done = replace(state, phase="Promoting", weight=100)
    assert step(done, service(), spec=spec)[0].phase == "Succeeded"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "there is no InferenceService emb"),
        (service(20, uri=OTHER), "the service has a canary already: v2 pvc://models/other"),
    ],
)
def test_it_waits_for_what_it_can_work_on(found: Service | None, words: str) -> None:
    state, intent = step(State(), found)
    assert (state.phase, state.reason, intent) == ("Pending", words, Keep())
    again, _ = step(state, found, now=NOW + 60)
    assert again == state, "to wait longer is no news"


def test_a_stable_predictor_of_the_targets_name() -> None:
    spec = make_spec(target=Target(storage_uri=NEW, name="v1"))
    state, _ = step(State(), service(), spec=spec)
    assert state.phase == "Pending"
    assert "needs another name" in state.reason


def test_two_rollouts_of_one_service() -> None:
    state, intent = step(State(), service(), rival="older")
    assert (state.phase, state.reason) == ("Pending", "rollout older has this service")
    assert intent == Keep()


def test_a_service_that_cannot_be_rolled_out() -> None:
    state, intent = step(State(), service(), trouble="it has a transformer")
    assert (state.phase, state.reason, intent) == ("Pending", "it has a transformer", Keep())


def test_a_canary_of_the_target_is_taken_over_with_its_weight() -> None:
    state, intent = step(State(), service(50))
    assert (state.phase, state.weight, intent) == ("Preparing", 50, Shape(50, 2))
    state, _ = step(state, service(50), now=NOW + 10)
    state, intent = step(state, service(50), "Successful", now=NOW + 40)
    assert (state.phase, state.step, state.weight) == ("Progressing", 1, 50)
    assert state.arrived == NOW + 10, "its weight does not come anew"


def test_the_first_step_needs_a_ready_pod_a_route_and_a_good_look() -> None:
    waiting = at("Preparing", weight=0, arrived=None)
    for found, verdict in (
        (service(0, ready=0), "Successful"),
        (service(0, routed=None), "Successful"),
        (service(0), "Failed"),
        (service(0), "Inconclusive"),
        (service(0), "Error"),
        (service(0), None),
    ):
        assert step(waiting, found, verdict)[0].weight == 0  # type: ignore[arg-type]
    state, intent = step(waiting, service(0), "Successful")
    assert (state.phase, state.weight, state.reason) == ("Progressing", 10, "step 1: weight 10")
    assert intent == Shape(10, 1)


# Progressing


def test_a_step_is_held_and_then_the_next_one_comes() -> None:
    assert step(at(), service(10), "Successful", now=NOW + 29)[0].step == 0
    state, _ = step(at(), service(10), "Successful", now=NOW + 30)
    assert (state.step, state.weight, state.before, state.arrived) == (1, 50, 10, None)


@pytest.mark.parametrize("verdict", ["Failed", "Inconclusive", "Error", None])
def test_no_step_without_a_good_look(verdict: Verdict | None) -> None:
    assert step(at(), service(10), verdict, now=NOW + 60)[0].weight == 10


def test_pods_come_before_traffic() -> None:
    state, intent = step(at(), service(10, ready=1), "Successful", now=NOW + 30)
    assert (state.weight, intent) == (50, Shape(10, 2))
    state, intent = step(state, service(10, ready=2), now=NOW + 40)
    assert intent == Shape(50, 2)


def test_failed_looks_in_a_row_roll_back() -> None:
    state, intent = step(at(), service(10), "Failed")
    assert (state.phase, state.failures, intent) == ("Progressing", 1, Shape(10, 1))
    state, _ = step(state, service(10), "Inconclusive", now=NOW + 30)
    state, _ = step(state, service(10), "Error", now=NOW + 60)
    assert state.failures == 1, "what cannot be measured does not speak for it"
    state, intent = step(state, service(10), "Failed", now=NOW + 90)
    assert (state.phase, state.weight) == ("RollingBack", 0)
    assert state.reason == "errors: figures"
    assert intent == Shape(0, 1)


def test_a_good_look_ends_the_row() -> None:
    state, _ = step(at(failures=1), service(10), "Successful")
    assert (state.phase, state.failures) == ("Progressing", 0)


def test_one_look_counts_once() -> None:
    """A controller that died after it wrote is followed by one that reads the same."""
    state, intent = step(at(), service(10), "Failed")
    assert step(state, service(10), "Failed") == (state, intent)


@pytest.mark.parametrize(("verdict", "patience_s"), [("Error", 180.0), ("Inconclusive", 300.0)])
@pytest.mark.parametrize(("then", "phase"), [("Hold", "Paused"), ("RollBack", "RollingBack")])
def test_doubt_has_its_own_patience(
    verdict: Verdict, patience_s: float, then: str, phase: Phase
) -> None:
    limits = replace(
        SPEC.limits,
        error=replace(SPEC.limits.error, then=then),
        inconclusive=replace(SPEC.limits.inconclusive, then=then),
    )
    spec = make_spec(limits=limits)
    state, _ = step(at(), service(10), verdict, spec=spec)
    assert (state.phase, state.wrong) == ("Progressing", verdict)
    state, _ = step(state, service(10), verdict, spec=spec, now=NOW + patience_s - 1)
    assert state.phase == "Progressing"
    state, _ = step(state, service(10), verdict, spec=spec, now=NOW + patience_s)
    assert state.phase == phase
    assert state.reason.startswith(f"{verdict} for ")


def test_doubts_that_take_turns_end_too() -> None:
    state, now = at(), NOW
    turns: list[Verdict] = ["Error", "Inconclusive"]
    while state.phase == "Progressing" and now < NOW + 3600:
        now += 30
        state, _ = step(state, service(10), turns[int(now / 30) % 2], now=now)
    assert state.phase == "Paused"
    assert now - NOW <= 180 + 300 + 30


def test_pods_that_never_get_ready() -> None:
    state = at("Preparing", weight=0, arrived=None)
    state, _ = step(state, service(0, ready=0))
    assert step(state, service(0, ready=0), now=NOW + 120)[0].phase == "Preparing"
    state, _ = step(state, service(0, ready=0), now=NOW + 121)
    assert state.phase == "RollingBack"
    assert state.reason == "0 of 1 pods were ready within 2m"


def test_a_gateway_that_does_not_take_the_weight_over() -> None:
    state, _ = step(at(arrived=None), service(10, routed=None))
    assert step(state, service(10, routed=None), now=NOW + 120)[0].phase == "Progressing"
    state, _ = step(state, service(10, routed=None), now=NOW + 121)
    assert state.phase == "RollingBack"
    assert state.reason == "no gateway took weight 10 over within 2m"


def test_a_route_that_is_gone_for_a_moment_after_a_long_doubt() -> None:
    """Whoever waits for traffic for longer than the deadline is not late with the route."""
    long = at(wrong="Inconclusive", since=NOW - 1000, wrong_since=NOW - 200, arrived=NOW - 1000)
    state, _ = step(long, service(10, routed=None))
    assert (state.phase, state.arrived) == ("Progressing", None)
    paused = replace(long, phase="Paused", wrong="Error", wrong_since=NOW - 1000)
    assert step(paused, service(10, routed=None))[0].phase == "Paused"


def test_the_last_step_leads_to_the_promotion() -> None:
    last = at(step=2, weight=100, before=50)
    state, intent = step(last, service(100), "Successful", now=NOW + 30)
    assert (state.phase, state.reason) == ("Promoting", "every step was good")
    assert intent == Promote()


# What people say


def test_a_step_that_asks_a_person() -> None:
    spec = make_spec(steps=(Step(weight=10, hold="0s", pause=True), Step(weight=100, hold="0s")))
    state, _ = step(at(), service(10), "Successful", spec=spec)
    assert (state.phase, state.weight) == ("Paused", 10)
    assert "asks a person" in state.reason
    assert step(state, service(10), "Successful", spec=spec, now=NOW + 30)[0].phase == "Paused"
    state, _ = step(state, service(10), None, "resume", spec=spec, now=NOW + 60)
    assert (state.phase, state.weight) == ("Progressing", 10)
    state, _ = step(state, service(10), "Successful", spec=spec, now=NOW + 90)
    assert (state.phase, state.weight) == ("Progressing", 100)


def test_a_pause_still_watches() -> None:
    state, _ = step(at("Paused", failures=1), service(10), "Failed")
    assert state.phase == "RollingBack"


def test_paused_by_its_specification() -> None:
    spec = make_spec(paused=True)
    state, _ = step(at(), service(10), "Successful", spec=spec, now=NOW + 3600)
    assert (state.phase, state.weight) == ("Progressing", 10)


def test_abort() -> None:
    state, intent = step(at(), service(10), "Successful", "abort")
    assert (state.phase, state.reason) == ("RollingBack", "a person said abort")
    assert intent == Shape(0, 1)


def test_promote_asks_nothing_any_more_but_pods_and_routes() -> None:
    state, intent = step(at(), service(10, ready=1), "Failed", "promote")
    assert (state.phase, state.forced, state.weight) == ("Progressing", True, 100)
    assert intent == Shape(10, 4), "pods first, also for a person"
    state, intent = step(state, service(10, ready=4), "Failed", "promote", now=NOW + 30)
    assert (state.phase, intent) == ("Progressing", Shape(100, 4))
    state, intent = step(state, service(100), now=NOW + 40)
    assert state.phase == "Promoting"
    assert step(state, service(100), now=NOW + 44)[1] == Promote()


def test_promote_before_there_is_a_canary() -> None:
    state, intent = step(at("Preparing", weight=0, arrived=None), service(), None, "promote")
    assert (state.phase, state.forced, intent) == ("Preparing", True, Shape(0, 4))
    state, intent = step(state, service(), now=NOW + 1)
    assert (state.phase, intent) == ("Preparing", Shape(0, 4))
    state, intent = step(state, service(0), now=NOW + 9)
    assert intent == Shape(100, 4)


def test_promote_before_the_last_weight_was_set() -> None:
    """The weight is 50 on paper and 10 in the service, whose canary has too few pods."""
    written = at(step=1, weight=50, before=10, arrived=None)
    state, _ = step(written, service(10, ready=1), None, "promote")
    state, intent = step(state, service(10, ready=1), now=NOW + 5)
    assert (state.phase, intent) == ("Progressing", Shape(10, 4))


def test_promote_and_then_somebody_sets_a_weight() -> None:
    state, _ = step(at(), service(10), None, "promote")
    state, _ = step(state, service(30), now=NOW + 5)
    assert (state.phase, state.weight, state.forced) == ("Paused", 30, False)
    assert step(state, service(30), now=NOW + 60)[0].phase == "Paused"


def test_retry() -> None:
    failed = at("Failed", weight=0, arrived=None)
    assert step(failed, service())[0] == failed
    state, intent = step(failed, service(), None, "retry")
    assert (state.phase, intent) == ("Pending", Keep())
    assert step(state, service())[0].phase == "Preparing"


def test_another_target_takes_the_present_one_back_first() -> None:
    spec = make_spec(target=Target(storage_uri=OTHER, name="v3"))
    state, intent = step(at(), service(10), "Successful", spec=spec)
    assert (state.phase, intent) == ("RollingBack", Shape(0, 1))
    state, _ = step(state, service(0), spec=spec, now=NOW + 10)
    state, _ = step(state, service(), spec=spec, now=NOW + 20)
    assert state.phase == "Failed"
    state, _ = step(state, service(), spec=spec, now=NOW + 30)
    assert (state.phase, state.canary) == ("Preparing", "v3")


# What others do


def test_somebody_elses_weight_is_accepted() -> None:
    state, intent = step(at(), service(33), "Successful")
    assert (state.phase, state.weight, intent) == ("Paused", 33, Shape(33, 2))
    assert state.reason == "somebody else set weight 33"


def test_a_weight_that_somebody_set_at_the_last_step_is_not_promoted() -> None:
    """Only what has all of the traffic is; the way there is a step again."""
    paused = at("Paused", step=2, weight=30, before=30)
    state, _ = step(paused, service(30), None, "resume")
    state, intent = step(state, service(30), "Successful", now=NOW + 60)
    assert (state.phase, state.weight, intent) == ("Progressing", 100, Shape(100, 4))
    shorter = make_spec(steps=(Step(weight=100, hold="0s"),))
    state, _ = step(at(step=2), service(10), "Successful", spec=shorter)
    assert (state.phase, state.weight) == ("Progressing", 100)


@pytest.mark.parametrize(
    ("found", "phase", "words"),
    [
        (None, "Failed", "there is no InferenceService emb"),
        (service(), "Failed", "somebody else removed the canary"),
        (service(stable=NEW), "Succeeded", "somebody else promoted it"),
        (service(10, uri=OTHER), "Failed", "somebody else put pvc://models/other in"),
        (service(10, stable=OTHER), "RollingBack", "somebody else changed the stable model"),
    ],
)
def test_what_somebody_else_does_is_not_fought(
    found: Service | None, phase: Phase, words: str
) -> None:
    state, intent = step(at(), found, "Successful")
    assert state.phase == phase
    assert state.reason.startswith(words)
    assert phase == "RollingBack" or intent == Keep()


# Promoting and RollingBack


def test_a_promotion_waits_for_the_whole_route() -> None:
    promoting = at("Promoting", weight=100, arrived=NOW - 2)
    assert step(promoting, service(100))[1] == Shape(100, 4)
    assert step(promoting, service(100, routed=None), now=NOW + 9)[1] == Shape(100, 4)
    assert step(promoting, service(100), now=NOW + 1)[1] == Promote()
    half, _ = step(promoting, service(stable=NEW, settled=False))
    assert half.phase == "Promoting"
    assert step(promoting, service(stable=NEW))[0].phase == "Succeeded"


def test_a_promotion_that_lost_its_weight_and_pods_gets_pods_first() -> None:
    promoting = at("Promoting", weight=100)
    assert step(promoting, service(40, ready=2))[1] == Shape(40, 4)


def test_a_promotion_that_somebody_undid() -> None:
    state, _ = step(at("Promoting", weight=100), service(stable=OTHER))
    assert state.phase == "Failed"
    assert "during the promotion" in state.reason


def test_a_rollback_waits_for_the_route_and_then_removes() -> None:
    back = at("RollingBack", weight=0, arrived=None, reason="errors: 3 %")
    state, intent = step(back, service(10))
    assert intent == Shape(0, 1)
    state, intent = step(state, service(0, routed=None), now=NOW + 1)
    assert intent == Shape(0, 1)
    state, intent = step(state, service(0), now=NOW + 2)
    assert intent == Shape(0, 1)
    state, intent = step(state, service(0), now=NOW + 5)
    assert intent == Remove()
    state, intent = step(state, service(), now=NOW + 9)
    assert (state.phase, state.reason, intent) == ("Failed", "errors: 3 %", Keep())


@pytest.mark.parametrize("phase", ["Promoting", "RollingBack"])
@pytest.mark.parametrize("wrong", [{"trouble": "no gateway"}, {"rival": "older"}])
def test_what_has_begun_to_end_is_ended(phase: Phase, wrong: dict[str, str]) -> None:
    """Else the target that failed would be tried again as if nothing had been."""
    weight = 100 if phase == "Promoting" else 0
    state, intent = step(at(phase, weight=weight), service(weight), **wrong)  # type: ignore[arg-type]
    assert (state.phase, state.target) == (phase, SPEC.target.key)
    assert intent == (Promote() if phase == "Promoting" else Remove())


# Clocks and Compare


def test_a_clock_that_was_put_back() -> None:
    ahead = at(arrived=NOW + 3600, looked=NOW + 3600, since=NOW + 3600)
    state, _ = step(ahead, service(10))
    assert state.arrived == NOW
    state, _ = step(state, service(10), "Successful", now=NOW + 60)
    assert state.step == 1, "it waits for its hold, not for the hour"


def test_a_clock_that_was_put_forward_takes_no_unseen_step() -> None:
    assert step(at(), service(10), now=NOW + 1e6)[0].weight == 10
    assert step(at(), service(10), "Failed", now=NOW + 1e6)[0].weight == 10
    state, _ = step(at(), service(10), "Successful", now=NOW + 1e6)
    assert state.weight == 50, "one step"


def test_compare_keeps_both_until_told() -> None:
    spec = make_spec(strategy="Compare", steps=(Step(weight=10, hold="0s"),))
    state, intent = step(at(), service(10), "Successful", spec=spec)
    assert (state.phase, intent) == ("Comparing", Shape(10, 1))
    state, _ = step(state, service(10), "Inconclusive", spec=spec, now=NOW + 1e6)
    assert state.phase == "Comparing"
    forced, intent = step(state, service(10), None, "promote", spec=spec, now=NOW + 1e6)
    assert (forced.phase, intent) == ("Progressing", Shape(100, 4))
    state, _ = step(replace(state, failures=1), service(10), "Failed", spec=spec, now=NOW + 1e7)
    assert state.phase == "RollingBack"


def test_patience_of_none() -> None:
    limits = Limits(error=Patience(after="0s", then="RollBack"))
    state, _ = step(at(), service(10), "Error", spec=make_spec(limits=limits))
    assert state.phase == "RollingBack"
