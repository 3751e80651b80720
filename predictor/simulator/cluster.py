"""A cluster for the simulator: pods get ready, and routes are applied, a little later."""

from dataclasses import dataclass, field
from typing import assert_never

from predictor.rollout.intents import Intent, NoOp, Promote, Remove, RestoreReplicas, SetCanary
from predictor.rollout.observation import Canary, Service
from predictor.rollout.spec import Spec

STABLE_URI = "file:///models/stable"


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster in which the rollout takes place."""

    # Of the stable version.
    pods: int = 4
    # That a pod takes to get ready.
    ready_s: float = 30.0
    # That the gateway takes to apply a weight.
    route_s: float = 2.0
    # Between two scrapes of Prometheus.
    scrape_s: float = 15.0
    # Between two reconciliations of the controller.
    tick_s: float = 5.0
    # A run that takes longer is stopped.
    longest_s: float = 12 * 3600.0


@dataclass(slots=True)
class SimulatedCluster:
    """The InferenceService, its pods and its routes; changes take effect a little later."""

    site: Site
    stable_uri: str = STABLE_URI
    canary_uri: str | None = None
    name: str = ""
    weight: int = 0
    routed: int = 0
    routed_at: float = 0.0
    # When each of the canary's pods is ready, seconds since the run began.
    pods: list[float] = field(default_factory=list)

    def observe(self, now: float) -> Service:
        if now >= self.routed_at:
            self.routed = self.weight
        settled = self.routed == self.weight
        canary = None
        if self.canary_uri is not None:
            ready = sum(now >= ready_at for ready_at in self.pods)
            routed = self.routed if settled and ready else None
            canary = Canary(self.name, self.canary_uri, self.weight, routed, ready)
        return Service("stable", self.stable_uri, "", self.site.pods, canary, settled)

    def apply(self, spec: Spec, intent: Intent, now: float) -> None:
        match intent:
            case SetCanary():
                self.canary_uri, self.name = spec.target.storage_uri, spec.target.name
                missing = intent.replicas - len(self.pods)
                self.pods += [now + self.site.ready_s] * missing
                if intent.weight != self.weight:
                    self.weight, self.routed_at = intent.weight, now + self.site.route_s
            case Promote():
                self.stable_uri, self.canary_uri = spec.target.storage_uri, None
                self.weight = self.routed = 0
            case Remove():
                self.canary_uri = None
            case NoOp() | RestoreReplicas():
                pass
            case _:
                assert_never(intent)
