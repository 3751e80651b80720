"""What KServe would do next with an InferenceService: a pure function of what there is.

Source: inferenceservice/components/predictor.go (Reconcile, reconcileCanaryDeployments).
"""

import math
from dataclasses import dataclass
from typing import Literal

from tests.cluster.standin.merge import Invalid, Object, override
from tests.cluster.standin.routes import routes
from tests.cluster.standin.status import Living, predictor_condition, ready_canaries, status_of
from tests.cluster.standin.workload import AUTOSCALER_CLASS, predictor_name, workload

MODE = "serving.kserve.io/deploymentMode"


@dataclass(frozen=True)
class Step:
    """One write; `target` is a whole object to apply, or one to delete."""

    verb: Literal["apply", "delete"]
    target: Object

    @property
    def name(self) -> str:
        return f"{self.verb} {self.target['kind']}/{self.target['metadata']['name']}"


@dataclass(frozen=True)
class Plan:
    """Writes in their order, and the status written after them; conditions have no times yet."""

    steps: tuple[Step, ...]
    status: Object


def desired(isvc: Object, runtime: Object | None, living: Living) -> Plan:
    """One round of the controller.

    The order is KServe's: canaries; deletion of what no predictor needs any more; the stable
    predictor; routes last. A promotion in one step therefore loses requests, as it does there.

    Raises:
        Invalid: KServe would write no object; its reason belongs into the status.
    """
    _refuse_what_is_not_here(isvc)
    name = isvc["metadata"]["name"]
    stable = isvc["spec"]["predictor"]
    canaries = isvc["spec"].get("canary", [])
    ready = ready_canaries(isvc, living)
    steps: list[Step] = []
    for canary in canaries:
        predictor = _canary_predictor(stable, canary)
        made = workload(isvc, predictor, runtime, _canary_replicas(stable, canary))
        steps += [Step("apply", each) for each in made]
    names = {predictor_name(name, stable.get("name", ""))}
    names |= {predictor_name(name, c["predictor"]["name"]) for c in canaries}
    steps += [Step("delete", d) for n, d in living.deployments.items() if n not in names]
    steps += [Step("delete", s) for n, s in living.services.items() if n not in names]
    service, deployment = workload(isvc, stable, runtime, _stable_replicas(isvc, ready))
    steps += [Step("apply", service), Step("apply", deployment)]
    existing = living.deployments.get(deployment["metadata"]["name"], {})
    predictor_ready = predictor_condition(existing)
    if predictor_ready["status"] == "True":
        steps += [Step("apply", route) for route in routes(isvc, service, ready)]
    return Plan(tuple(steps), status_of(isvc, runtime, living, predictor_ready, ready))


def _refuse_what_is_not_here(isvc: Object) -> None:
    annotations = isvc["metadata"].get("annotations", {})
    if annotations.get(MODE) != "Standard":
        raise Invalid("InvalidPredictorSpec", f"{MODE}: this stand-in knows Standard only")
    if annotations.get(AUTOSCALER_CLASS) not in ("external", "none"):
        raise Invalid("InvalidPredictorSpec", f"{AUTOSCALER_CLASS}: only external and none here")


def _canary_replicas(stable: Object, canary: Object) -> int:
    replicas = canary["predictor"].get("minReplicas")
    if replicas is not None:
        return int(replicas)
    return math.ceil(int(stable.get("minReplicas", 1)) * int(canary["trafficPercent"]) / 100)


def _stable_replicas(isvc: Object, ready: set[str]) -> int:
    """Fewer by those of the canaries that are ready, at least one (861-900)."""
    stable = isvc["spec"]["predictor"]
    lent = sum(
        _canary_replicas(stable, c)
        for c in isvc["spec"].get("canary", [])
        if c["predictor"]["name"] in ready
    )
    replicas = int(stable.get("minReplicas", 1))
    return max(replicas - lent, 1) if lent else replicas


def _canary_predictor(stable: Object, canary: Object) -> Object:
    predictor = override(stable, canary["predictor"])
    for scaling in ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"):
        predictor.pop(scaling, None)
    return predictor
