"""How far a rollout has come: all that a controller has to know when it takes over from another.

It is the resource's status, written before anything is done, so that what is done next follows from
what is written and from what is there.
"""

from typing import Annotated, Any, Literal

import msgspec

Phase = Literal[
    "Pending",  # there is nothing to do it on
    "Preparing",  # the canary comes up, without traffic
    "Progressing",  # by steps
    "Paused",  # a person is asked
    "Comparing",  # both versions stay, until told
    "Promoting",  # has all traffic and becomes stable
    "RollingBack",  # loses its traffic, then goes
    "Succeeded",  # the target is stable
    "Failed",  # the target was rolled back, or somebody else moved it
]
Verdict = Literal["Successful", "Failed", "Inconclusive", "Error"]
TERMINAL: frozenset[Phase] = frozenset({"Succeeded", "Failed"})
# Moves of the past that are kept.
MOST_HISTORY = 30
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Measure(msgspec.Struct, frozen=True, rename="camel"):
    """One look at one quality. text: the figures, for people."""

    name: str
    verdict: Verdict
    text: str = ""


class Move(msgspec.Struct, frozen=True, rename="camel"):
    """One change of phase, step or weight, and why. at: seconds since 1970."""

    at: float
    phase: Phase
    weight: int
    reason: str
    measures: tuple[Measure, ...] = ()


class State(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Times are seconds since 1970.

    target, target_uri: the key of the target that this is about, and its model; stable_uri,
    stable_image, stable_name: what was served when it began. canary: the predictor's name.
    step: index; weight: percent that the canary should have now; `before`: that it had before.
    arrived: since when the gateway sends that share. since: of the phase.
    failures: looks in a row that failed. looked: when the last look was.
    wrong_since: since when looks are errors or inconclusive, `wrong`: which; doubt_since: since
    when there was no good look, whatever the others were.
    unready_since: since when the canary has too few ready pods; unrouted_since: since when it has
    enough and the gateway does not send what it should.
    forced: a person said promote: nothing is asked any more.
    answered: index of the last step whose pause a person has ended.
    """

    phase: Phase = "Pending"
    target: str = ""
    target_uri: str = ""
    stable_uri: str = ""
    stable_image: str = ""
    stable_name: str = ""
    canary: str = ""
    step: Annotated[int, msgspec.Meta(ge=0)] = 0
    weight: Percent = 0
    before: Percent = 0
    arrived: float | None = None
    since: float = 0.0
    failures: int = 0
    looked: float = 0.0
    wrong: Literal["", "Error", "Inconclusive"] = ""
    wrong_since: float = 0.0
    doubt_since: float = 0.0
    unready_since: float | None = None
    unrouted_since: float | None = None
    forced: bool = False
    answered: int = -1
    reason: str = ""
    measures: tuple[Measure, ...] = ()
    history: tuple[Move, ...] = ()


def read_state(resource: dict[str, Any]) -> State:
    """Of a whole custom resource; one that was damaged by somebody is as good as none."""
    try:
        return msgspec.convert(resource.get("status", {}), State)
    except msgspec.ValidationError:
        return State()


def status_of(state: State, generation: int) -> dict[str, Any]:
    """The resource's status."""
    made: dict[str, Any] = msgspec.to_builtins(state)
    return made | {"observedGeneration": generation}
