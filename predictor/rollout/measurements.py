"""What was observed, recorded in the state: applied weights, missing pods, results of analyses."""

from msgspec.structs import replace

from predictor.rollout.judge import combined
from predictor.rollout.observation import Service
from predictor.rollout.pods import pods_for
from predictor.rollout.spec import Spec, seconds
from predictor.rollout.state import TIMES, Measurement, State, TransitionReason, Verdict
from predictor.rollout.transitions import pause, roll_back


def record_service(state: State, service: Service, now: float) -> State:
    """Since when the gateway sends the wanted share, and since when pods are missing."""
    canary = service.canary
    applied_at = state.weight_applied_at
    if canary is None or canary.routed != state.weight:
        applied_at = None
    elif applied_at is None:
        applied_at = now
    unready_since = None
    if state.phase != "RollingBack" and (
        canary is None or canary.ready < pods_for(state, state.weight)
    ):
        unready_since = now if state.unready_since is None else state.unready_since
    unrouted_since = None
    if applied_at is None and unready_since is None:
        unrouted_since = now if state.unrouted_since is None else state.unrouted_since
    return replace(
        state,
        stable_revision=state.stable_revision or service.stable_revision,
        weight_applied_at=applied_at,
        unready_since=unready_since,
        unrouted_since=unrouted_since,
    )


def record_served_weight(state: State, service: Service | None) -> State:
    """What the gateway sends, whatever is wanted; the last known share while it changes."""
    canary = service.canary if service is not None else None
    if canary is None or canary.name != state.canary or state.phase == "Pending":
        return replace(state, served_weight=0) if state.served_weight else state
    if canary.routed is None or canary.routed == state.served_weight:
        return state
    return replace(state, served_weight=canary.routed)


def clamp_future_times(state: State, now: float) -> State:
    """Times in the future become `now`: another clock wrote them, or this clock was set back."""
    future = {}
    for name in TIMES:
        time = getattr(state, name)
        if time is not None and time > now:
            future[name] = now
    return replace(state, **future) if future else state


def record_measurements(
    spec: Spec, state: State, measurements: tuple[Measurement, ...], now: float
) -> State:
    """Record one analysis.

    Only a successful analysis ends a row of failed ones: what cannot be measured is no success.
    """
    verdict = combined(measurements)
    state = replace(state, measurements=measurements, last_analysis_time=now)
    state = _with_error_as_reason(state, verdict)
    if verdict == "Successful":
        return replace(
            state,
            consecutive_failures=0,
            undecided_verdict="",
            undecided_since=now,
            no_success_since=now,
        )
    if verdict == "Failed":
        return _record_failure(spec, state, now)
    since = state.undecided_since if state.undecided_verdict == verdict else now
    state = replace(state, undecided_verdict=verdict, undecided_since=since)
    return _check_limits(spec, state, now)


def _with_error_as_reason(state: State, verdict: Verdict) -> State:
    """What could not be measured is the reason at once, not only when its limit has passed.

    It is no transition: an analysis later the reason of the last one is back.
    """
    if state.phase not in ("Preparing", "Progressing"):
        return state
    if verdict == "Error":
        message = f"not measured: {messages_of(state.measurements, 'Error')}"
        return replace(state, reason="AnalysisError", message=message)
    if state.reason != "AnalysisError" or not state.transitions:
        return state
    latest = state.transitions[-1]
    return replace(state, reason=latest.reason, message=latest.message)


def _record_failure(spec: Spec, state: State, now: float) -> State:
    failures = state.consecutive_failures + 1
    state = replace(state, consecutive_failures=failures, undecided_verdict="", undecided_since=now)
    if failures < spec.analysis.failures:
        return state
    return roll_back(state, now, "AnalysisFailed", messages_of(state.measurements, "Failed"))


def _check_limits(spec: Spec, state: State, now: float) -> State:
    """The state after too many analyses without a result."""
    limits = spec.limits
    is_error = state.undecided_verdict == "Error"
    limit = limits.error if is_error else limits.inconclusive
    # Errors and inconclusive analyses may alternate for ever.
    both_s = seconds(limits.error.after) + seconds(limits.inconclusive.after)
    is_over = (
        now - state.undecided_since >= seconds(limit.after)
        or now - state.no_success_since >= both_s
    )
    if not is_over or state.phase in ("Paused", "Comparing"):
        return state
    verdict: Verdict = "Error" if is_error else "Inconclusive"
    reason: TransitionReason = "AnalysisError" if is_error else "AnalysisInconclusive"
    message = f"{verdict} for {limit.after}: {messages_of(state.measurements, verdict)}"
    react = roll_back if limit.then == "RollBack" else pause
    return react(state, now, reason, message)


def messages_of(measurements: tuple[Measurement, ...], verdict: Verdict) -> str:
    """The measurements with that verdict, in words."""
    messages = [
        f"{measurement.name}: {measurement.message}"
        for measurement in measurements
        if measurement.verdict == verdict
    ]
    return "; ".join(messages) or "nothing was measured"
