"""What a controller observes of an InferenceService, however KServe splits its traffic."""

from dataclasses import dataclass

from predictor.rollout.spec import Action
from predictor.rollout.state import NO_NUMBER, Measurement


@dataclass(frozen=True, slots=True)
class Canary:
    """The predictor beside the stable one."""

    name: str
    # Its storageUri.
    uri: str
    # Percent of the traffic that the InferenceService asks for.
    weight: int
    # Percent that the gateway sends; None until it has applied what is asked for.
    routed: int | None
    # Ready pods.
    ready: int
    # Its revision in Knative mode; empty: Standard mode, or it is not ready.
    revision: str = ""
    # Pods that the InferenceService asks for.
    pods: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """An InferenceService."""

    # Name of the stable predictor; empty: it has none.
    stable_name: str
    # storageUri of the stable predictor.
    stable_uri: str
    # Image of the stable predictor; empty: its runtime's.
    stable_image: str
    # Ready pods of the stable predictor.
    ready: int
    canary: Canary | None
    # Whether the gateway has applied the routes as the InferenceService asks for them.
    settled: bool
    # Whether a route of the controller chooses between the two versions by headers.
    by_header: bool = False
    # The stable revision in Knative mode; empty: Standard mode, or it is not known.
    stable_revision: str = ""
    # The InferenceService's, where KServe scales by it; NO_NUMBER: it has none, or does not count.
    min_replicas: int = NO_NUMBER
    # The same.
    max_replicas: int = NO_NUMBER
    # Least pods of an autoscaler of the stable Deployment that is not KServe's; NO_NUMBER: none.
    autoscaler_min: int = NO_NUMBER


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a decision depends on, apart from spec, state and time."""

    # None: there is no InferenceService, or it cannot be read as one.
    service: Service | None
    # Of this analysis; empty between two analyses.
    measurements: tuple[Measurement, ...] = ()
    # Name of an older rollout of the same service; empty: none.
    conflicting_rollout: str = ""
    # Requested by annotation.
    action: Action | None = None
    # Why this service cannot be rolled out at all; empty: it can.
    unsupported_reason: str = ""
    # Why pods of the canary are not ready; empty: it was not asked for, or is not known.
    canary_problem: str = ""
