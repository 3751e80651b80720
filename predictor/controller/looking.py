"""What there is in the cluster for one rollout, and what the two versions are like."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from predictor.controller import splitting, standard
from predictor.controller.cluster import Cluster, Object
from predictor.controller.drivers import Driver, Side, driver_of, sides_of
from predictor.controller.probing import Probe
from predictor.controller.prometheus import Prometheus, PrometheusError
from predictor.controller.shadowing import Between, Shadowing
from predictor.controller.standard import ISVC_LABEL
from predictor.rollout.judge import judge_traffic
from predictor.rollout.seen import Service
from predictor.rollout.spec import ACTION, ACTIONS, Action, Spec
from predictor.rollout.state import Measure, State, Verdict
from predictor.rollout.windows import Windows, windows


@dataclass(frozen=True, slots=True)
class Found:
    """An InferenceService, how its canaries work, and what there is of it; None: there is none.

    route: KServe's, with the weights. split: ours, which chooses by headers.
    """

    isvc: Object
    driver: Driver
    service: Service | None
    trouble: str
    route: Object | None = None
    split: Object | None = None


def find(cluster: Cluster, namespace: str, spec: Spec) -> Found | None:
    """Look at an InferenceService and what KServe made of it. Raises ClusterError."""
    name = spec.inference_service
    isvc = cluster.get("InferenceService", namespace, name)
    if isvc is None or "deletionTimestamp" in isvc["metadata"]:
        return None
    driver = driver_of(isvc)
    trouble = driver.trouble(isvc, spec)
    if "model" not in isvc["spec"].get("predictor", {}):
        return Found(isvc, driver, None, trouble)
    deployments = {
        found["metadata"]["name"]: found
        for found in cluster.list("Deployment", namespace, f"{ISVC_LABEL}={name}")
    }
    route = cluster.get("HTTPRoute", namespace, name)
    split = cluster.get("HTTPRoute", namespace, splitting.route_name(name))
    service = replace(driver.read(isvc, route, deployments), by_header=split is not None)
    return Found(isvc, driver, service, trouble, route, split)


def served_name(isvc: Object) -> str:
    """What requests call the model: the service's name, or its own flag, which counts more."""
    flag = "--model_name="
    arguments = isvc["spec"]["predictor"].get("model", {}).get("args") or []
    own = [one.removeprefix(flag) for one in arguments if one.startswith(flag)]
    name: str = own[-1] if own else isvc["metadata"]["name"]
    return name


def action_of(resource: Object) -> Action | None:
    """What a person asked for by annotation; an unknown word is none."""
    word = (resource["metadata"].get("annotations") or {}).get(ACTION)
    return next((action for action in ACTIONS if action == word), None)


def pods_of(driver: Driver, side: Side) -> str:
    """A selector of one version's pods, by the labels that KServe and Knative give them."""
    if driver is standard:
        return f"app=isvc.{side.deployment}"
    return f"serving.knative.dev/revision={side.deployment}"


@dataclass(frozen=True, slots=True)
class Analyst:
    """Measures canary and stable version of one look."""

    prometheus: Prometheus
    probe: Probe
    shadowing: Shadowing

    def measures(
        self, spec: Spec, state: State, found: Found, service: Service, now: float
    ) -> tuple[Measure, ...]:
        """Vectors at any weight, copies before there is traffic, then traffic; never raises."""
        stable, canary = sides_of(found.isvc, service)
        own = found.isvc["metadata"]
        namespace, model = own["namespace"], served_name(found.isvc)
        measures = [self.probe.measure(spec, model, stable, canary)]
        measures += self._asked(partial(self._canonical, namespace, canary), "canonical")
        between = Between(pods_of(found.driver, stable), canary.url, model)
        measures += self.shadowing.measure(spec, state, found.isvc, between)
        if (spans := windows(state, now)) is not None:
            ours = partial(self._traffic, spec, namespace, (canary, stable), spans, now)
            measures += self._asked(ours, "traffic")
        return tuple(measures)

    def prepared(self, found: Found) -> None:
        """The canary is not, or not any more, one that nobody depends on: no copies for it."""
        self.shadowing.end(found.isvc)

    @staticmethod
    def _asked(ask: Callable[[], tuple[Measure, ...]], name: str) -> tuple[Measure, ...]:
        try:
            return ask()
        except PrometheusError as error:
            return (Measure(name, "Error", f"Prometheus: {error}"),)

    def _traffic(
        self, spec: Spec, namespace: str, sides: tuple[Side, Side], spans: Windows, now: float
    ) -> tuple[Measure, ...]:
        """Canary and stable version, each in its window."""
        ours, theirs = (
            self.prometheus.traffic(namespace, side.deployment, end - start, now - end)
            for side, (start, end) in zip(sides, (spans.canary, spans.stable), strict=True)
        )
        return judge_traffic(spec.analysis, ours, theirs, apart=spans.apart)

    def _canonical(self, namespace: str, canary: Side) -> tuple[Measure, ...]:
        """The canary's own watch of its canonical texts, if it has one."""
        margin = self.prometheus.canonical_margin(namespace, canary.deployment)
        if margin is None:
            return ()
        verdict: Verdict = "Successful" if margin >= 0 else "Failed"
        return (Measure("canonical", verdict, f"smallest cosine {margin:+.6f} of its tolerance"),)
