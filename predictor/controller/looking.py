"""What there is in the cluster for one rollout, and what the two versions are like."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from predictor.controller.cluster import Cluster, Object
from predictor.controller.drivers import Driver, Side, driver_of, sides_of
from predictor.controller.probing import Probe
from predictor.controller.prometheus import Prometheus, PrometheusError
from predictor.controller.standard import ISVC_LABEL
from predictor.rollout.decide import ACTIVE
from predictor.rollout.judge import judge_traffic
from predictor.rollout.seen import Service
from predictor.rollout.spec import ACTION, ACTIONS, Action, Spec, seconds
from predictor.rollout.state import Measure, State, Verdict

# Of the stable version's past, where its present has no traffic, seconds.
BEFORE_S = 600.0


@dataclass(frozen=True, slots=True)
class Found:
    """An InferenceService, how its canaries work, and what there is of it; None: there is none."""

    isvc: Object
    driver: Driver
    service: Service | None
    trouble: str


def find(cluster: Cluster, namespace: str, name: str) -> Found | None:
    """Look at an InferenceService and what KServe made of it. Raises ClusterError."""
    isvc = cluster.get("InferenceService", namespace, name)
    if isvc is None or "deletionTimestamp" in isvc["metadata"]:
        return None
    driver = driver_of(isvc)
    trouble = driver.trouble(isvc)
    if "model" not in isvc["spec"].get("predictor", {}):
        return Found(isvc, driver, None, trouble)
    deployments = {
        found["metadata"]["name"]: found
        for found in cluster.list("Deployment", namespace, f"{ISVC_LABEL}={name}")
    }
    route = cluster.get("HTTPRoute", namespace, name)
    return Found(isvc, driver, driver.read(isvc, route, deployments), trouble)


def action_of(resource: Object) -> Action | None:
    """What a person asked for by annotation; an unknown word is none."""
    word = (resource["metadata"].get("annotations") or {}).get(ACTION)
    return next((action for action in ACTIONS if action == word), None)


def is_due(spec: Spec, state: State, service: Service, now: float) -> bool:
    """Whether the versions should be looked at: the canary answers, and it is time again."""
    if state.phase not in ACTIVE or state.forced or state.target != spec.target.key:
        return False
    canary = service.canary
    if canary is None or not canary.ready or state.arrived is None:
        return False
    return now - state.looked >= seconds(spec.analysis.interval) or now < state.looked


@dataclass(frozen=True, slots=True)
class Analyst:
    """Measures canary and stable version of one look."""

    prometheus: Prometheus
    probe: Probe

    def measures(
        self, spec: Spec, state: State, found: Found, service: Service, now: float
    ) -> tuple[Measure, ...]:
        """Vectors at any weight, traffic where there is some; never raises."""
        stable, canary = sides_of(found.isvc, service)
        own = found.isvc["metadata"]
        measures = [self.probe.measure(spec, own["name"], stable, canary)]
        namespace = own["namespace"]
        measures += self._asked(partial(self._canonical, namespace, canary), "canonical")
        if state.weight > 0 and state.arrived is not None:
            window = now - state.arrived
            ours = partial(self._traffic, spec, namespace, stable, canary, state.weight, window)
            measures += self._asked(ours, "traffic")
        return tuple(measures)

    @staticmethod
    def _asked(ask: Callable[[], tuple[Measure, ...]], name: str) -> tuple[Measure, ...]:
        try:
            return ask()
        except PrometheusError as error:
            return (Measure(name, "Error", f"Prometheus: {error}"),)

    def _traffic(
        self, spec: Spec, namespace: str, stable: Side, canary: Side, weight: int, window: float
    ) -> tuple[Measure, ...]:
        """Both in the same time; a canary with all of it beside the stable version just before."""
        ours = self.prometheus.traffic(namespace, canary.deployment, window)
        before = window if weight == 100 else 0.0
        span = max(window, BEFORE_S) if weight == 100 else window
        theirs = self.prometheus.traffic(namespace, stable.deployment, span, before)
        return judge_traffic(spec.analysis, ours, theirs)

    def _canonical(self, namespace: str, canary: Side) -> tuple[Measure, ...]:
        """The canary's own watch of its canonical texts, if it has one."""
        margin = self.prometheus.canonical_margin(namespace, canary.deployment)
        if margin is None:
            return ()
        verdict: Verdict = "Successful" if margin >= 0 else "Failed"
        return (Measure("canonical", verdict, f"smallest cosine {margin:+.6f} of its tolerance"),)
