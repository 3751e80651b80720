"""What the cluster shows for one rollout, and how the two versions measure up."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from predictor.controller import header_routes, standard
from predictor.controller.autoscaler import Autoscaler, is_foreign, min_pods
from predictor.controller.autoscalers import Autoscalers
from predictor.controller.cluster import Cluster, ClusterError
from predictor.controller.drivers import Driver, Endpoint, driver_of, endpoints_of
from predictor.controller.knative import KnativeDriver
from predictor.controller.knative_service import KnativeService, service_name
from predictor.controller.mirror import Mirror, MirrorTarget
from predictor.controller.objects import Object, annotations_of, key_of
from predictor.controller.pod_problems import MOST_PROBLEM, problem_of
from predictor.controller.probe import Probe
from predictor.controller.prometheus import Prometheus, PrometheusError
from predictor.controller.standard import ISVC_LABEL
from predictor.rollout.judge import judge_traffic
from predictor.rollout.observation import Service
from predictor.rollout.spec import ACTION, ACTIONS, Action, Spec
from predictor.rollout.state import NO_NUMBER, TERMINAL, Measurement, State, Verdict
from predictor.rollout.windows import Windows, windows


@dataclass(frozen=True, slots=True)
class ObservedService:
    """An InferenceService and what belongs to it."""

    isvc: Object
    # How its canaries work.
    driver: Driver
    # None: it has no `model`, hence no versions.
    service: Service | None
    # Why it cannot be rolled out at all; empty: it can.
    unsupported_reason: str
    # KServe's HTTPRoute with the weights; None: there is none.
    weight_route: Object | None = None
    # The controller's HTTPRoute that chooses by headers; None: there is none.
    header_route: Object | None = None
    # Of the stable Deployment.
    autoscalers: tuple[Autoscaler, ...] = ()

    @property
    def is_without_canary(self) -> bool:
        return self.service is not None and self.service.canary is None


def observe_service(
    cluster: Cluster, namespace: str, spec: Spec, state: State
) -> ObservedService | None:
    """Read an InferenceService and what KServe made of it. Raises ClusterError."""
    name = spec.inference_service
    isvc = cluster.get("InferenceService", namespace, name)
    if isvc is None or "deletionTimestamp" in isvc["metadata"]:
        return None
    driver = driver_of(isvc)
    if "model" not in isvc["spec"].get("predictor", {}):
        return ObservedService(isvc, driver, None, driver.unsupported_reason(isvc, spec))
    if driver is not standard:
        return _observe_knative(cluster, isvc, spec, state)
    deployments = {
        deployment["metadata"]["name"]: deployment
        for deployment in cluster.list("Deployment", namespace, f"{ISVC_LABEL}={name}")
    }
    weight_route = cluster.get("HTTPRoute", namespace, name)
    header_route = cluster.get("HTTPRoute", namespace, header_routes.route_name(name))
    service = driver.read(isvc, weight_route, deployments)
    autoscalers: list[Autoscaler] = []
    is_at_rest = state.phase in TERMINAL and state.target == spec.target.key
    if not is_at_rest:
        deployment = standard.deployment_name(name, service.stable_name)
        autoscalers = Autoscalers(cluster, namespace).of(deployment)
    least = [min_pods(item) for item in autoscalers if is_foreign(item)]
    return ObservedService(
        isvc=isvc,
        driver=driver,
        service=replace(
            service,
            by_header=header_route is not None,
            autoscaler_min=min(least, default=NO_NUMBER),
        ),
        unsupported_reason=driver.unsupported_reason(isvc, spec),
        weight_route=weight_route,
        header_route=header_route,
        autoscalers=tuple(autoscalers),
    )


def _observe_knative(cluster: Cluster, isvc: Object, spec: Spec, state: State) -> ObservedService:
    """Read the Knative Service, and a revision if the state does not know what it serves.

    Raises:
        ClusterError: one of them could not be read.
    """
    namespace, _ = key_of(isvc)
    item = cluster.get("KnativeService", namespace, service_name(isvc))
    driver = KnativeDriver(KnativeService(item or {}), state, spec.target)
    if revision := driver.unknown_revision(isvc):
        driver = replace(driver, revision=cluster.get("Revision", namespace, revision))
    service = driver.read(isvc, None, {})
    return ObservedService(isvc, driver, service, driver.unsupported_reason(isvc, spec))


def served_name(isvc: Object) -> str:
    """The model's name in requests: that of its flag, else the service's."""
    flag = "--model_name="
    arguments = isvc["spec"]["predictor"].get("model", {}).get("args") or []
    names = [item.removeprefix(flag) for item in arguments if item.startswith(flag)]
    name: str = names[-1] if names else isvc["metadata"]["name"]
    return name


def canary_problem(cluster: Cluster, observed: ObservedService) -> str:
    """Why pods of the canary are not ready; never raises."""
    isvc, service = observed.isvc, observed.service
    if service is None or service.canary is None:
        return ""
    name = isvc["metadata"]["name"]
    if observed.driver is standard:
        selector = f"app=isvc.{standard.deployment_name(name, service.canary.name)}"
    else:  # the newest revision, which need not be ready
        status = isvc.get("status", {}).get("components", {}).get("predictor", {})
        selector = f"serving.knative.dev/revision={status.get('latestCreatedRevision', '')}"
    try:
        return problem_of(cluster.list("Pod", isvc["metadata"]["namespace"], selector), isvc)
    except ClusterError as error:
        return f"its pods cannot be listed: {error}"[:MOST_PROBLEM]


def action_of(rollout: Object) -> Action | None:
    """The command in the annotation; None if there is none, or an unknown one."""
    command = annotations_of(rollout).get(ACTION)
    return next((action for action in ACTIONS if action == command), None)


def pod_selector(driver: Driver, endpoint: Endpoint) -> str:
    """A selector of one version's pods, by the labels that KServe and Knative give them."""
    if driver is standard:
        return f"app=isvc.{endpoint.deployment}"
    return f"serving.knative.dev/revision={endpoint.deployment}"


@dataclass(frozen=True, slots=True)
class Analyzer:
    """Measures canary and stable version."""

    prometheus: Prometheus
    probe: Probe
    mirror: Mirror

    def measure(
        self, spec: Spec, state: State, observed: ObservedService, service: Service, now: float
    ) -> tuple[Measurement, ...]:
        """Vectors at any weight, the shadow before there is traffic, then traffic; never raises."""
        stable, canary = endpoints_of(observed.isvc, service)
        namespace = observed.isvc["metadata"]["namespace"]
        model = served_name(observed.isvc)
        measurements: list[Measurement] = []
        if stable.url:
            measurements.append(self.probe.measure(spec, model, stable, canary))
        measurements += self._query(partial(self._canonical, namespace, canary), "canonical")
        target = MirrorTarget(pod_selector(observed.driver, stable), canary.url, model)
        measurements += self.mirror.measure(spec, state, observed.isvc, target)
        if (spans := windows(state, now)) is not None:
            traffic = partial(self._traffic, spec, namespace, canary, stable, spans, now)
            measurements += self._query(traffic, "traffic")
        return tuple(measurements)

    def end_shadow(self, observed: ObservedService) -> None:
        """The canary is not in preparation any more: no more live texts are mirrored to it."""
        self.mirror.end(observed.isvc)

    @staticmethod
    def _query(
        measure: Callable[[], tuple[Measurement, ...]], name: str
    ) -> tuple[Measurement, ...]:
        try:
            return measure()
        except PrometheusError as error:
            return (Measurement(name, "Error", f"Prometheus: {error}"),)

    def _traffic(
        self,
        spec: Spec,
        namespace: str,
        canary: Endpoint,
        stable: Endpoint,
        spans: Windows,
        now: float,
    ) -> tuple[Measurement, ...]:
        """Canary and stable version, each in its window."""
        canary_traffic, stable_traffic = (
            self.prometheus.traffic(namespace, endpoint.deployment, end - start, now - end)
            for endpoint, (start, end) in ((canary, spans.canary), (stable, spans.stable))
        )
        return judge_traffic(spec.analysis, canary_traffic, stable_traffic, apart=spans.apart)

    def _canonical(self, namespace: str, canary: Endpoint) -> tuple[Measurement, ...]:
        """The canary's own check of its canonical texts, if it has one."""
        margin = self.prometheus.canonical_margin(namespace, canary.deployment)
        if margin is None:
            return ()
        verdict: Verdict = "Successful" if margin >= 0 else "Failed"
        message = f"smallest cosine {margin:+.6f} of its tolerance"
        return (Measurement("canonical", verdict, message),)
