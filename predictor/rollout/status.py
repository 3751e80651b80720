"""The state as the status of the custom resource: the only place where one becomes the other.

The form on the wire follows the Kubernetes API conventions. Times of the state are written as
metav1.MicroTime, since intervals of seconds are counted from them; `lastTransitionTime` of the
conditions is metav1.Time, whole seconds.

Conditions, which scripts wait for (`kubectl wait --for=condition=Promoted er/NAME`):

* `Promoted`: True once the target is stable, False once the rollout failed, Unknown before.
* `Progressing`: True while the controller goes on by itself.
* `Paused`: True while the rollout waits for a command.
* `Degraded`: True if a person should look: it is rolled back, failed, cannot start, or waits
  for a command that the spec did not ask for.
* `Applied`: False while the API server refuses or fails what the controller writes; the message is
  the API server's, and what the other conditions say is not yet so in the cluster.

There is no `Ready`: tools that wait for it (kstatus, `helm --wait`) would wait for the whole
rollout, which may take days.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from predictor.rollout.state import TIMES, State, TransitionReason

Object = dict[str, Any]
ConditionType = Literal["Promoted", "Progressing", "Paused", "Degraded", "Applied"]
ConditionStatus = Literal["True", "False", "Unknown"]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_NAMES: dict[str, str] = {field.name: field.encode_name for field in msgspec.structs.fields(State)}

_NOTHING_YET = State()


class Condition(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One entry of `status.conditions`, as metav1.Condition."""

    type: ConditionType
    status: ConditionStatus
    # Generation of the spec that it is about.
    observed_generation: int
    # When `status` changed last, RFC 3339 in whole seconds.
    last_transition_time: str
    # That of the state: why the rollout is in its phase.
    reason: TransitionReason
    message: str


def status_of(state: State, generation: int, previous: object, now: float) -> Object:
    """The resource's status.

    Args:
        generation: of the spec that was observed.
        previous: the status before, whose conditions keep their times.
        now: seconds since 1970.
    """
    status: Object = msgspec.to_builtins(state)
    for name in TIMES:
        time = status.pop(_NAMES[name])
        if time != getattr(_NOTHING_YET, name):
            status[_NAMES[name]] = micro_time(time)
    for transition in status["transitions"]:
        transition["time"] = micro_time(transition["time"])
    known = _transition_times(previous)
    conditions = [
        Condition(
            type=kind,
            status=value,
            observed_generation=generation,
            last_transition_time=known.get((kind, value)) or whole_time(now),
            reason="WriteRefused" if _is_refused(kind, state) else state.reason,
            message=state.write_error if _is_refused(kind, state) else state.message,
        )
        for kind, value in _conditions_of(state).items()
    ]
    return status | {
        "observedGeneration": generation,
        "conditions": msgspec.to_builtins(conditions),
    }


def _conditions_of(state: State) -> dict[ConditionType, ConditionStatus]:
    promoted: ConditionStatus = "Unknown"
    if state.phase in ("Succeeded", "Failed"):
        promoted = _truth(state.phase == "Succeeded")
    return {
        "Promoted": promoted,
        "Progressing": _truth(
            state.phase in ("Preparing", "Progressing", "Promoting", "RollingBack")
        ),
        "Paused": _truth(state.phase == "Paused"),
        "Degraded": _truth(_is_degraded(state)),
        "Applied": _truth(not state.write_error),
    }


def _is_refused(kind: ConditionType, state: State) -> bool:
    return kind == "Applied" and bool(state.write_error)


def _is_degraded(state: State) -> bool:
    if state.phase == "Pending":
        return state.reason != "NotStarted"
    if state.phase == "Paused":
        return state.reason != "StepPause"
    return state.phase in ("RollingBack", "Failed")


def _truth(value: bool) -> ConditionStatus:
    return "True" if value else "False"


def _transition_times(previous: object) -> dict[tuple[str, str], str]:
    """`lastTransitionTime` by type and status, of a status that may be damaged."""
    try:
        conditions = msgspec.convert(previous, _Conditions).conditions
    except msgspec.ValidationError:
        return {}
    return {
        (condition.type, condition.status): condition.last_transition_time
        for condition in conditions
    }


class _Conditions(msgspec.Struct, frozen=True):
    """Of a status that the controller wrote; the form of earlier versions had none."""

    conditions: Annotated[tuple[Condition, ...], msgspec.Meta(min_length=1)]


def read_state(resource: Object) -> State:
    """The state of a whole custom resource.

    A status that is damaged, or of the form without conditions that was written before 0.1.0, is as
    good as none: the rollout starts from what the InferenceService shows.
    """
    status = resource.get("status")
    try:
        msgspec.convert(status, _Conditions)
        return msgspec.convert(_with_numbers(status), State)
    except msgspec.ValidationError:
        return State()


def _with_numbers(status: Any) -> Object:
    """Raises msgspec.ValidationError."""
    read = dict(status)
    for name in TIMES:
        if _NAMES[name] in read:
            read[_NAMES[name]] = _seconds(read[_NAMES[name]])
    transitions = msgspec.convert(read.get("transitions", []), list[dict[str, Any]])
    read["transitions"] = [entry | {"time": _seconds(entry.get("time"))} for entry in transitions]
    return read


def _seconds(time: object) -> float:
    """Seconds since 1970 of RFC 3339. Raises msgspec.ValidationError."""
    return msgspec.convert(time, _Time).timestamp()


def micro_time(time: float) -> str:
    """metav1.MicroTime of seconds since 1970; six digits, which Kubernetes' clients insist on."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_time(time: float) -> str:
    """metav1.Time of seconds since 1970."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
