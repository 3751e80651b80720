"""What is seen, taken into the state: the weight that arrived, missing pods, good and bad looks."""

from msgspec.structs import replace

from predictor.rollout.intents import wanted_pods
from predictor.rollout.judge import combined
from predictor.rollout.moves import abandon, pause
from predictor.rollout.seen import Service
from predictor.rollout.spec import Spec, seconds
from predictor.rollout.state import Measure, State


def observe(state: State, service: Service, now: float) -> State:
    """Since when the gateway sends the share that is wanted, and since when pods are missing."""
    canary = service.canary
    arrived, unready = state.arrived, state.unready_since
    if canary is None or canary.routed != state.weight:
        arrived = None
    elif arrived is None:
        arrived = now
    if state.phase != "RollingBack" and (
        canary is None or canary.ready < wanted_pods(service, state.weight)
    ):
        unready = now if unready is None else unready
    else:
        unready = None
    unrouted = None
    if arrived is None and unready is None:
        unrouted = now if state.unrouted_since is None else state.unrouted_since
    return replace(state, arrived=arrived, unready_since=unready, unrouted_since=unrouted)


def until_now(state: State, now: float) -> State:
    """What another clock, or this one before it was put back, wrote as the future is now."""
    times = ("since", "looked", "wrong_since", "doubt_since")
    waits = ("arrived", "unready_since", "unrouted_since")
    ahead = {
        name: now for name in (*times, *waits)
        if (time := getattr(state, name)) is not None and time > now
    }  # fmt: skip
    return replace(state, **ahead) if ahead else state


def weigh(spec: Spec, state: State, measures: tuple[Measure, ...], now: float) -> State:
    """Take one look at the measures into account.

    Only a good look ends a row of failed ones: what cannot be measured does not speak for anybody.
    """
    verdict = combined(measures)
    state = replace(state, measures=measures, looked=now)
    if verdict == "Successful":
        return replace(state, failures=0, wrong="", wrong_since=now, doubt_since=now)
    if verdict == "Failed":
        state = replace(state, failures=state.failures + 1, wrong="", wrong_since=now)
        if state.failures < spec.analysis.failures:
            return state
        return abandon(state, now, said(measures, "Failed"))
    since = state.wrong_since if state.wrong == verdict else now
    state = replace(state, wrong=verdict, wrong_since=since)
    error, inconclusive = spec.limits.error, spec.limits.inconclusive
    patience = error if verdict == "Error" else inconclusive
    # The two may take turns for ever.
    both_s = seconds(error.after) + seconds(inconclusive.after)
    is_over = now - since >= seconds(patience.after) or now - state.doubt_since >= both_s
    if not is_over or state.phase in ("Paused", "Comparing"):
        return state
    why = f"{verdict} for {patience.after}: {said(measures, verdict)}"
    return abandon(state, now, why) if patience.then == "RollBack" else pause(state, now, why)


def said(measures: tuple[Measure, ...], verdict: str) -> str:
    """The measures with that verdict, in words."""
    found = [f"{one.name}: {one.text}" for one in measures if one.verdict == verdict]
    return "; ".join(found) or "nothing was measured"
