"""What a controller sees of an InferenceService, whichever way KServe splits its traffic."""

from dataclasses import dataclass

from predictor.rollout.spec import Action
from predictor.rollout.state import Measure


@dataclass(frozen=True, slots=True)
class Canary:
    """name, uri: of the predictor beside the stable one. weight: percent, as it is asked for.

    routed: percent that the gateway sends, once it has taken over what is asked for; else None.
    """

    name: str
    uri: str
    weight: int
    routed: int | None
    ready: int


@dataclass(frozen=True, slots=True)
class Service:
    """An InferenceService. ready: pods of the stable predictor.

    settled: the gateway has taken over the routes as they are asked for.
    by_header: there is a route of ours that chooses between the two by headers.
    """

    stable_name: str
    stable_uri: str
    stable_image: str
    ready: int
    canary: Canary | None
    settled: bool
    by_header: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """service: None if there is none.

    rival: name of an older rollout of the same service. measures: of this look; empty between two.
    trouble: why this service cannot be rolled out at all.
    """

    service: Service | None
    measures: tuple[Measure, ...] = ()
    rival: str = ""
    action: Action | None = None
    trouble: str = ""
