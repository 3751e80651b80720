"""How far a rollout has come: all that a controller has to know when it takes over from another.

It is written to the resource's status (`status.py`) before anything is done, so that what is done
next follows from what is written and from what the cluster shows.
"""

from typing import Annotated, Literal

import msgspec

Phase = Literal[
    "Pending",  # the rollout cannot start
    "Preparing",  # the canary starts, without traffic
    "Progressing",  # the canary has the weight of a step
    "Paused",  # the rollout waits for a command
    "Comparing",  # both versions stay until a command
    "Promoting",  # the canary has all traffic and becomes the stable version
    "RollingBack",  # the canary loses its traffic, then it is removed
    "Succeeded",  # the target is the stable version
    "Failed",  # the target was rolled back, or the service was changed externally
]
# Why a rollout is in its phase: the `reason` of its status, conditions, transitions and Events.
TransitionReason = Literal[
    "NotStarted",  # the controller has not seen the target yet
    # Pending
    "InvalidSpec",  # the spec asks for something that cannot be done
    "InferenceServiceNotFound",  # also Failed, if it was there before
    "InferenceServiceUnsupported",  # this InferenceService cannot have a canary
    "ConflictingRollout",  # an older EmbeddingRollout has the same InferenceService
    "ConflictingCanary",  # the service has a canary that is not this target
    "PredictorNameInUse",  # the stable predictor already has the target's name
    # Preparing, Progressing, Comparing, Promoting
    "CanaryStarting",  # the canary is created, or its pods start
    "CanaryAdopted",  # a canary of this target was there already, with traffic
    "StepStarted",  # the canary gets the weight of a step
    "Resumed",  # command `resume`
    "PromoteRequested",  # command `promote`: the analysis is skipped
    "ComparisonStarted",  # the last step of strategy Compare was successful
    "AllStepsSuccessful",  # the canary is promoted
    "AllTrafficMoved",  # after `promote`: the canary has all traffic
    # Paused
    "StepPause",  # the step has `pause: true`
    "WeightChangedExternally",  # the canary's weight was not set by this controller
    # The last analysis could not measure; Paused and RollingBack: for longer than limits.error
    "AnalysisError",
    "AnalysisInconclusive",  # no result for longer than limits.inconclusive; also RollingBack
    # RollingBack, and Failed once the canary is removed
    "AnalysisFailed",  # the canary is worse than the stable version
    "ProgressDeadlineExceeded",  # no ready pods or no route within limits.progressDeadline
    "Aborted",  # command `abort`
    "TargetChanged",  # spec.target is another version now
    "StableVersionChangedExternally",  # the stable model was not set by this controller
    # Failed
    "CanaryRemovedExternally",
    "CanaryReplacedExternally",
    # Succeeded
    "AlreadyStable",  # the service served the target before the rollout began
    "Promoted",
    "PromotedExternally",
    # Of the condition Applied only
    "WriteRefused",  # the API server refused or failed the last write
]
Verdict = Literal["Successful", "Failed", "Inconclusive", "Error"]
ACTIVE: frozenset[Phase] = frozenset({"Preparing", "Progressing", "Paused", "Comparing"})
# An end that has begun is completed, whatever else is wrong.
ENDING: frozenset[Phase] = frozenset({"Promoting", "RollingBack"})
TERMINAL: frozenset[Phase] = frozenset({"Succeeded", "Failed"})
# In place of a number of pods: there is none.
NO_NUMBER = -1
# Past transitions that are kept.
MOST_TRANSITIONS = 30
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Measurement(msgspec.Struct, frozen=True, rename="camel"):
    """The result of one analysis for one quality."""

    # What was measured, such as `errors` or `vectors`.
    name: str
    verdict: Verdict
    # The figures, for people.
    message: str = ""


class Transition(msgspec.Struct, frozen=True, rename="camel"):
    """One change of phase, step or weight, and why."""

    # Seconds since 1970.
    time: float
    phase: Phase
    # Percent of the traffic that the canary should have from then on.
    weight: int
    reason: TransitionReason
    message: str
    # Of the last analysis before it.
    measurements: tuple[Measurement, ...] = ()


class State(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Times are seconds since 1970; 0 where nothing has happened yet."""

    phase: Phase = "Pending"
    # Why the rollout is in this phase, for programs.
    reason: TransitionReason = "NotStarted"
    # The same for people.
    message: str = ""
    # `Target.key` of the version that this state is about; empty before the first one.
    target: str = ""
    # storageUri of that version.
    target_uri: str = ""
    # storageUri that the service had when the rollout began.
    stable_uri: str = ""
    # Image that the service had when the rollout began.
    stable_image: str = ""
    # Name of the predictor that was stable when the rollout began.
    stable_name: str = ""
    # Revision that was stable when the rollout began, in Knative mode; empty until it is known.
    stable_revision: str = ""
    # Name of the canary's predictor.
    canary: str = ""
    # Ready pods of the stable version when the rollout began; 0: not known, or no longer needed.
    stable_pods: Annotated[int, msgspec.Meta(ge=0)] = 0
    # `minReplicas` that the InferenceService gets back at the end.
    min_replicas: int = NO_NUMBER
    # `maxReplicas` that the InferenceService gets back at the end.
    max_replicas: int = NO_NUMBER
    # Least pods that the stable version's autoscaler gets back at the end.
    autoscaler_min: int = NO_NUMBER
    # Index into spec.steps.
    step: Annotated[int, msgspec.Meta(ge=0)] = 0
    # Percent of the traffic that the canary should have now.
    weight: Percent = 0
    # Percent of the traffic that the gateway sends to the canary, as observed last.
    served_weight: Percent = 0
    # Percent of the traffic that the canary should have had before.
    previous_weight: Percent = 0
    # Since when the gateway sends `weight`; None while it does not.
    weight_applied_at: float | None = None
    # Since when the rollout has been in this phase.
    phase_since: float = 0.0
    # Analyses in a row whose verdict was Failed.
    consecutive_failures: int = 0
    # When the versions were compared last.
    last_analysis_time: float = 0.0
    # Verdict of the analyses since `undecided_since`, if it decides nothing.
    undecided_verdict: Literal["", "Error", "Inconclusive"] = ""
    # Since when every analysis has had `undecided_verdict`.
    undecided_since: float = 0.0
    # Since when no analysis was Successful, whatever the others were.
    no_success_since: float = 0.0
    # Since when the canary has too few ready pods; None while it has enough.
    unready_since: float | None = None
    # Since when the canary has enough pods and the gateway does not send `weight`.
    unrouted_since: float | None = None
    # What the API server said when it refused the last write, or failed it; empty: it did not.
    write_error: str = ""
    # Writes in a row that were refused or failed.
    write_failures: int = 0
    # When the last of them was; None: there is none.
    write_failed_at: float | None = None
    # Whether `promote` was requested: no analysis decides any more.
    promote_requested: bool = False
    # Index of the last step that was resumed after its pause; -1: none.
    last_resumed_step: int = -1
    # Of the last analysis.
    measurements: tuple[Measurement, ...] = ()
    # The last changes of phase, step or weight, oldest first.
    transitions: tuple[Transition, ...] = ()


# Fields of the state that are times, seconds since 1970.
TIMES = (
    "phase_since",
    "weight_applied_at",
    "last_analysis_time",
    "undecided_since",
    "no_success_since",
    "unready_since",
    "unrouted_since",
    "write_failed_at",
)
