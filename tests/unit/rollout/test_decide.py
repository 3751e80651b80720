"""One decision after the other, phase by phase; stories with everything in them: test_world.py."""

import pytest
from msgspec.structs import replace

from predictor.rollout.decide import decide
from predictor.rollout.intents import NoOp, Promote, Remove, SetCanary
from predictor.rollout.observation import Observation, Service
from predictor.rollout.spec import Action, Limit, Limits, Spec, Step, Target
from predictor.rollout.state import Phase, State, Verdict
from predictor.rollout.transitions import transition
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
        previous_weight=0,
        weight_applied_at=NOW - 30,
        phase_since=NOW - 30,
        undecided_since=NOW - 30,
        no_success_since=NOW - 30,
        last_analysis_time=NOW - 30,
    )
    return replace(state, **changes)


def step(
    state: State,
    observed: Service | None,
    verdict: Verdict | None = None,
    action: Action | None = None,
    *,
    spec: Spec = SPEC,
    now: float = NOW,
    unsupported_reason: str = "",
    conflicting_rollout: str = "",
) -> tuple[State, object]:
    measurements = measured(verdict) if verdict else ()
    decision = decide(
        spec,
        state,
        Observation(observed, measurements, conflicting_rollout, action, unsupported_reason),
        now,
    )
    return decision.state, decision.intent


# Pending and Preparing


def test_a_canary_comes_in_without_traffic() -> None:
    state, intent = step(State(), service())
    assert (state.phase, state.weight, state.target) == ("Preparing", 0, SPEC.target.key)
    assert intent == SetCanary(0, 1)


def test_a_target_that_is_stable_already_has_succeeded() -> None:
    state, intent = step(State(), service(stable=NEW))
    assert (state.phase, intent) == ("Succeeded", NoOp())


def test_another_image_of_the_same_model_is_another_version() -> None:
    spec = make_spec(target=Target(storage_uri=OLD, name="v2", image="server:2"))
    state, _ = step(State(), service(), spec=spec)
    assert state.phase == "Preparing"
    state, intent = step(state, service(), spec=spec)
    assert (state.phase, intent) == ("Preparing", SetCanary(0, 1))
    done = replace(state, phase="Promoting", weight=100)
    assert step(done, service(), spec=spec)[0].phase == "Succeeded"


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (None, "there is no InferenceService emb"),
        (service(20, uri=OTHER), "the service already has another canary: v2 pvc://models/other"),
    ],
)
def test_a_rollout_without_a_usable_service_is_pending(
    observed: Service | None, words: str
) -> None:
    state, intent = step(State(), observed)
    assert (state.phase, state.message, intent) == ("Pending", words, NoOp())
    again, _ = step(state, observed, now=NOW + 60)
    assert again == state, "to wait longer is no news"


def test_a_stable_predictor_of_the_targets_name() -> None:
    spec = make_spec(target=Target(storage_uri=NEW, name="v1"))
    state, _ = step(State(), service(), spec=spec)
    assert state.phase == "Pending"
    assert "rename the target" in state.message


def test_a_younger_rollout_of_the_same_service_is_pending() -> None:
    state, intent = step(State(), service(), conflicting_rollout="older")
    assert (state.phase, state.message) == ("Pending", "rollout older manages this service")
    assert intent == NoOp()


def test_a_service_that_cannot_be_rolled_out() -> None:
    state, intent = step(State(), service(), unsupported_reason="it has a transformer")
    assert (state.phase, state.message, intent) == ("Pending", "it has a transformer", NoOp())


def test_a_canary_of_the_target_is_adopted_with_its_weight() -> None:
    state, intent = step(State(), service(50))
    assert (state.phase, state.step, state.weight) == ("Progressing", 1, 50)
    assert (state.reason, intent) == ("CanaryAdopted", SetCanary(50, 2))
    state, _ = step(state, service(50), now=NOW + 10)
    state, _ = step(state, service(50), "Successful", now=NOW + 40)
    assert (state.step, state.weight_applied_at) == (1, NOW + 10), "its hold is not over"
    state, _ = step(state, service(50), "Successful", now=NOW + 70)
    assert (state.step, state.weight) == (2, 100)


@pytest.mark.parametrize(
    ("weight", "phase", "index", "following"),
    [
        (0, "Preparing", 0, 10),
        (3, "Preparing", 0, 10),
        (10, "Progressing", 0, 50),
        (30, "Progressing", 0, 50),
        (50, "Progressing", 1, 100),
        (100, "Progressing", 2, 100),
    ],
)
def test_an_adopted_canary_is_at_the_highest_step_that_its_weight_has_reached(
    weight: int, phase: Phase, index: int, following: int
) -> None:
    state, intent = step(State(), service(weight))
    assert (state.phase, state.step, state.weight) == (phase, index, weight)
    assert isinstance(intent, SetCanary)
    assert intent.weight == weight, "its traffic does not change"
    state, _ = step(state, service(weight), now=NOW + 1)
    state, _ = step(state, service(weight), "Failed", now=NOW + 90)
    assert state.weight == weight, "no step without a successful analysis"
    state, _ = step(state, service(weight), "Successful", now=NOW + 120)
    assert state.weight == following


def test_the_first_step_needs_a_ready_pod_a_route_and_a_successful_analysis() -> None:
    waiting = at("Preparing", weight=0, weight_applied_at=None)
    for observed, verdict in (
        (service(0, ready=0), "Successful"),
        (service(0, routed=None), "Successful"),
        (service(0), "Failed"),
        (service(0), "Inconclusive"),
        (service(0), "Error"),
        (service(0), None),
    ):
        assert step(waiting, observed, verdict)[0].weight == 0  # type: ignore[arg-type]
    state, intent = step(waiting, service(0), "Successful")
    assert (state.phase, state.weight, state.message) == ("Progressing", 10, "step 1: weight 10")
    assert intent == SetCanary(10, 1)


# Progressing


def test_the_next_step_starts_after_the_hold() -> None:
    assert step(at(), service(10), "Successful", now=NOW + 29)[0].step == 0
    state, _ = step(at(), service(10), "Successful", now=NOW + 30)
    assert (state.step, state.weight, state.previous_weight, state.weight_applied_at) == (
        1,
        50,
        10,
        None,
    )


@pytest.mark.parametrize("verdict", ["Failed", "Inconclusive", "Error", None])
def test_no_step_starts_without_a_successful_analysis(verdict: Verdict | None) -> None:
    assert step(at(), service(10), verdict, now=NOW + 60)[0].weight == 10


def test_pods_come_before_traffic() -> None:
    state, intent = step(at(), service(10, ready=1), "Successful", now=NOW + 30)
    assert (state.weight, intent) == (50, SetCanary(10, 2))
    state, intent = step(state, service(10, ready=2), now=NOW + 40)
    assert intent == SetCanary(50, 2)


def test_consecutive_failures_roll_back() -> None:
    state, intent = step(at(), service(10), "Failed")
    assert (state.phase, state.consecutive_failures, intent) == ("Progressing", 1, SetCanary(10, 1))
    state, _ = step(state, service(10), "Inconclusive", now=NOW + 30)
    state, _ = step(state, service(10), "Error", now=NOW + 60)
    assert state.consecutive_failures == 1, "what cannot be measured does not speak for it"
    state, intent = step(state, service(10), "Failed", now=NOW + 90)
    assert (state.phase, state.weight) == ("RollingBack", 0)
    assert state.message == "errors: figures"
    assert intent == SetCanary(0, 1)


def test_a_successful_analysis_clears_the_failures() -> None:
    state, _ = step(at(consecutive_failures=1), service(10), "Successful")
    assert (state.phase, state.consecutive_failures) == ("Progressing", 0)


def test_an_analysis_counts_once() -> None:
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
    assert (state.phase, state.undecided_verdict) == ("Progressing", verdict)
    state, _ = step(state, service(10), verdict, spec=spec, now=NOW + patience_s - 1)
    assert state.phase == "Progressing"
    state, _ = step(state, service(10), verdict, spec=spec, now=NOW + patience_s)
    assert state.phase == phase
    assert state.message.startswith(f"{verdict} for ")


def test_doubts_that_take_turns_end_too() -> None:
    state, now = at(), NOW
    turns: list[Verdict] = ["Error", "Inconclusive"]
    while state.phase == "Progressing" and now < NOW + 3600:
        now += 30
        state, _ = step(state, service(10), turns[int(now / 30) % 2], now=now)
    assert state.phase == "Paused"
    assert now - NOW <= 180 + 300 + 30


def test_pods_that_never_get_ready() -> None:
    state = at("Preparing", weight=0, weight_applied_at=None)
    state, _ = step(state, service(0, ready=0))
    assert step(state, service(0, ready=0), now=NOW + 120)[0].phase == "Preparing"
    state, _ = step(state, service(0, ready=0), now=NOW + 121)
    assert state.phase == "RollingBack"
    assert state.message == "0 of 1 pods were ready within 2m"


def test_a_gateway_that_does_not_take_the_weight_over() -> None:
    state, _ = step(at(weight_applied_at=None), service(10, routed=None))
    assert step(state, service(10, routed=None), now=NOW + 120)[0].phase == "Progressing"
    state, _ = step(state, service(10, routed=None), now=NOW + 121)
    assert state.phase == "RollingBack"
    assert state.message == "no gateway applied weight 10 within 2m"


def test_a_route_that_is_missing_for_a_moment_does_not_exceed_the_deadline() -> None:
    """Whoever waits for traffic for longer than the deadline is not late with the route."""
    long = at(
        undecided_verdict="Inconclusive",
        phase_since=NOW - 1000,
        undecided_since=NOW - 200,
        weight_applied_at=NOW - 1000,
    )
    state, _ = step(long, service(10, routed=None))
    assert (state.phase, state.weight_applied_at) == ("Progressing", None)
    paused = replace(long, phase="Paused", undecided_verdict="Error", undecided_since=NOW - 1000)
    assert step(paused, service(10, routed=None))[0].phase == "Paused"


def test_what_cannot_be_measured_is_the_reason_until_it_can() -> None:
    """`kubectl get` shows it at once; no transition is recorded for it."""
    first, _ = step(at(step=0, weight=10, promote_requested=False), service(10), None)
    first = transition(first, NOW, "Progressing", "StepStarted", "step 1: weight 10")
    state, _ = step(first, service(10), "Error", now=NOW + 10)
    assert (state.phase, state.reason) == ("Progressing", "AnalysisError")
    assert state.message == "not measured: errors: figures"
    assert state.transitions == first.transitions
    state, _ = step(state, service(10), "Inconclusive", now=NOW + 20)
    assert (state.reason, state.message) == ("StepStarted", "step 1: weight 10")


def test_a_pause_keeps_its_reason_when_nothing_can_be_measured() -> None:
    paused = transition(at(), NOW, "Paused", "StepPause", "step 1 waits for approval")
    state, _ = step(paused, service(10), "Error", now=NOW + 10)
    assert (state.reason, state.message) == ("StepPause", "step 1 waits for approval")


def test_the_last_step_leads_to_the_promotion() -> None:
    last = at(step=2, weight=100, previous_weight=50)
    state, intent = step(last, service(100), "Successful", now=NOW + 30)
    assert (state.phase, state.message) == ("Promoting", "every step was successful")
    assert intent == Promote()


# What people say


def test_a_step_with_a_pause_waits_for_resume() -> None:
    spec = make_spec(steps=(Step(weight=10, hold="0s", pause=True), Step(weight=100, hold="0s")))
    state, _ = step(at(), service(10), "Successful", spec=spec)
    assert (state.phase, state.weight) == ("Paused", 10)
    assert "waits for approval" in state.message
    assert step(state, service(10), "Successful", spec=spec, now=NOW + 30)[0].phase == "Paused"
    state, _ = step(state, service(10), None, "resume", spec=spec, now=NOW + 60)
    assert (state.phase, state.weight) == ("Progressing", 10)
    state, _ = step(state, service(10), "Successful", spec=spec, now=NOW + 90)
    assert (state.phase, state.weight) == ("Progressing", 100)


def test_a_pause_still_watches() -> None:
    state, _ = step(at("Paused", consecutive_failures=1), service(10), "Failed")
    assert state.phase == "RollingBack"


def test_paused_by_its_specification() -> None:
    spec = make_spec(paused=True)
    state, _ = step(at(), service(10), "Successful", spec=spec, now=NOW + 3600)
    assert (state.phase, state.weight) == ("Progressing", 10)


def test_abort() -> None:
    state, intent = step(at(), service(10), "Successful", "abort")
    assert (state.phase, state.message) == ("RollingBack", "aborted manually")
    assert intent == SetCanary(0, 1)


def test_promote_asks_nothing_any_more_but_pods_and_routes() -> None:
    state, intent = step(at(), service(10, ready=1), "Failed", "promote")
    assert (state.phase, state.promote_requested, state.weight) == ("Progressing", True, 100)
    assert intent == SetCanary(10, 4), "pods first, also for a person"
    state, intent = step(state, service(10, ready=4), "Failed", "promote", now=NOW + 30)
    assert (state.phase, intent) == ("Progressing", SetCanary(100, 4))
    state, intent = step(state, service(100), now=NOW + 40)
    assert state.phase == "Promoting"
    assert step(state, service(100), now=NOW + 44)[1] == Promote()


def test_promote_before_there_is_a_canary() -> None:
    state, intent = step(
        at("Preparing", weight=0, weight_applied_at=None), service(), None, "promote"
    )
    assert (state.phase, state.promote_requested, intent) == ("Preparing", True, SetCanary(0, 4))
    state, intent = step(state, service(), now=NOW + 1)
    assert (state.phase, intent) == ("Preparing", SetCanary(0, 4))
    state, intent = step(state, service(0), now=NOW + 9)
    assert intent == SetCanary(100, 4)


def test_promote_before_the_last_weight_was_set() -> None:
    """The weight is 50 on paper and 10 in the service, whose canary has too few pods."""
    written = at(step=1, weight=50, previous_weight=10, weight_applied_at=None)
    state, _ = step(written, service(10, ready=1), None, "promote")
    state, intent = step(state, service(10, ready=1), now=NOW + 5)
    assert (state.phase, intent) == ("Progressing", SetCanary(10, 4))


def test_an_external_weight_cancels_promote() -> None:
    state, _ = step(at(), service(10), None, "promote")
    state, _ = step(state, service(30), now=NOW + 5)
    assert (state.phase, state.weight, state.promote_requested) == ("Paused", 30, False)
    assert step(state, service(30), now=NOW + 60)[0].phase == "Paused"


def test_retry() -> None:
    failed = at("Failed", weight=0, weight_applied_at=None)
    assert step(failed, service())[0] == failed
    state, intent = step(failed, service(), None, "retry")
    assert (state.phase, intent) == ("Pending", NoOp())
    assert step(state, service())[0].phase == "Preparing"


def test_a_changed_target_rolls_the_present_one_back_first() -> None:
    spec = make_spec(target=Target(storage_uri=OTHER, name="v3"))
    state, intent = step(at(), service(10), "Successful", spec=spec)
    assert (state.phase, intent) == ("RollingBack", SetCanary(0, 1))
    state, _ = step(state, service(0), spec=spec, now=NOW + 10)
    state, _ = step(state, service(), spec=spec, now=NOW + 20)
    assert state.phase == "Failed"
    state, _ = step(state, service(), spec=spec, now=NOW + 30)
    assert (state.phase, state.canary) == ("Preparing", "v3")


# What others do


def test_an_external_weight_is_accepted() -> None:
    state, intent = step(at(), service(33), "Successful")
    assert (state.phase, state.weight, intent) == ("Paused", 33, SetCanary(33, 2))
    assert state.message == "weight changed externally to 33"


def test_an_external_weight_at_the_last_step_is_not_promoted() -> None:
    """Only what has all of the traffic is; the way there is a step again."""
    paused = at("Paused", step=2, weight=30, previous_weight=30)
    state, _ = step(paused, service(30), None, "resume")
    state, intent = step(state, service(30), "Successful", now=NOW + 60)
    assert (state.phase, state.weight, intent) == ("Progressing", 100, SetCanary(100, 4))
    shorter = make_spec(steps=(Step(weight=100, hold="0s"),))
    state, _ = step(at(step=2), service(10), "Successful", spec=shorter)
    assert (state.phase, state.weight) == ("Progressing", 100)


@pytest.mark.parametrize(
    ("observed", "phase", "words"),
    [
        (None, "Failed", "there is no InferenceService emb"),
        (service(), "Failed", "the canary was removed externally"),
        (service(stable=NEW), "Succeeded", "the target was promoted externally"),
        (
            service(10, uri=OTHER),
            "Failed",
            "the canary was replaced externally by pvc://models/other",
        ),
        (service(10, stable=OTHER), "RollingBack", "the stable model was changed externally"),
    ],
)
def test_external_changes_are_not_fought(
    observed: Service | None, phase: Phase, words: str
) -> None:
    state, intent = step(at(), observed, "Successful")
    assert state.phase == phase
    assert state.message.startswith(words)
    assert phase == "RollingBack" or intent == NoOp()


# Promoting and RollingBack


def test_a_promotion_waits_for_the_whole_route() -> None:
    promoting = at("Promoting", weight=100, weight_applied_at=NOW - 2)
    assert step(promoting, service(100))[1] == SetCanary(100, 4)
    assert step(promoting, service(100, routed=None), now=NOW + 9)[1] == SetCanary(100, 4)
    assert step(promoting, service(100), now=NOW + 1)[1] == Promote()
    half, _ = step(promoting, service(stable=NEW, settled=False))
    assert half.phase == "Promoting"
    assert step(promoting, service(stable=NEW))[0].phase == "Succeeded"


def test_a_promotion_that_lost_its_weight_and_pods_gets_pods_first() -> None:
    promoting = at("Promoting", weight=100)
    assert step(promoting, service(40, ready=2))[1] == SetCanary(40, 4)


def test_a_promotion_that_was_undone_externally_fails() -> None:
    state, _ = step(at("Promoting", weight=100), service(stable=OTHER))
    assert state.phase == "Failed"
    assert "during the promotion" in state.message


def test_a_rollback_waits_for_the_route_and_then_removes() -> None:
    back = at("RollingBack", weight=0, weight_applied_at=None, message="errors: 3 %")
    state, intent = step(back, service(10))
    assert intent == SetCanary(0, 1)
    state, intent = step(state, service(0, routed=None), now=NOW + 1)
    assert intent == SetCanary(0, 1)
    state, intent = step(state, service(0), now=NOW + 2)
    assert intent == SetCanary(0, 1)
    state, intent = step(state, service(0), now=NOW + 5)
    assert intent == Remove()
    state, intent = step(state, service(), now=NOW + 9)
    assert (state.phase, state.message, intent) == ("Failed", "errors: 3 %", NoOp())


@pytest.mark.parametrize("phase", ["Promoting", "RollingBack"])
@pytest.mark.parametrize(
    "wrong", [{"unsupported_reason": "no gateway"}, {"conflicting_rollout": "older"}]
)
def test_an_end_that_has_begun_is_completed(phase: Phase, wrong: dict[str, str]) -> None:
    """Else the target that failed would be tried again as if nothing had been."""
    weight = 100 if phase == "Promoting" else 0
    state, intent = step(at(phase, weight=weight), service(weight), **wrong)  # type: ignore[arg-type]
    assert (state.phase, state.target) == (phase, SPEC.target.key)
    assert intent == (Promote() if phase == "Promoting" else Remove())


# Clocks and Compare


def test_a_clock_that_was_put_back() -> None:
    ahead = at(weight_applied_at=NOW + 3600, last_analysis_time=NOW + 3600, phase_since=NOW + 3600)
    state, _ = step(ahead, service(10))
    assert state.weight_applied_at == NOW
    state, _ = step(state, service(10), "Successful", now=NOW + 60)
    assert state.step == 1, "it waits for its hold, not for the hour"


def test_a_clock_that_was_put_forward_takes_no_unseen_step() -> None:
    assert step(at(), service(10), now=NOW + 1e6)[0].weight == 10
    assert step(at(), service(10), "Failed", now=NOW + 1e6)[0].weight == 10
    state, _ = step(at(), service(10), "Successful", now=NOW + 1e6)
    assert state.weight == 50, "one step"


def test_compare_keeps_both_versions_until_a_command() -> None:
    spec = make_spec(strategy="Compare", steps=(Step(weight=10, hold="0s"),))
    state, intent = step(at(), service(10), "Successful", spec=spec)
    assert (state.phase, intent) == ("Comparing", SetCanary(10, 1))
    state, _ = step(state, service(10), "Inconclusive", spec=spec, now=NOW + 1e6)
    assert state.phase == "Comparing"
    promote_requested, intent = step(state, service(10), None, "promote", spec=spec, now=NOW + 1e6)
    assert (promote_requested.phase, intent) == ("Progressing", SetCanary(100, 4))
    state, _ = step(
        replace(state, consecutive_failures=1), service(10), "Failed", spec=spec, now=NOW + 1e7
    )
    assert state.phase == "RollingBack"


def test_patience_of_none() -> None:
    limits = Limits(error=Limit(after="0s", then="RollBack"))
    state, _ = step(at(), service(10), "Error", spec=make_spec(limits=limits))
    assert state.phase == "RollingBack"
