"""Does what was decided: patches of the InferenceService, a route by headers, pods of the canary,
autoscalers after it.

Every patch names the resourceVersion that was looked at: what somebody else wrote meanwhile is
looked at first.
"""

import logging
from dataclasses import dataclass
from typing import assert_never

from predictor.controller import splitting, standard
from predictor.controller.cluster import Cluster, Object
from predictor.controller.drivers import Driver, sides_of
from predictor.controller.looking import Found
from predictor.rollout.intents import Intent, Keep, Promote, Remove, Shape
from predictor.rollout.spec import Target
from predictor.rollout.state import State

logger = logging.getLogger(__name__)

SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"


@dataclass(frozen=True, slots=True)
class Actor:
    """Writes to one cluster."""

    cluster: Cluster

    def act(self, found: Found, rollout: Object, target: Target, intent: Intent) -> None:
        """Do it, or what of it is not done yet.

        Args:
            rollout: the custom resource, which owns what is made.

        Raises:
            Conflict: somebody else wrote since; look again.
            ClusterError: the API server refused, or was not there.
        """
        self._route(found, rollout, intent)
        patch = _patch(found.driver, found.isvc, target, intent)
        own = found.isvc["metadata"]
        if patch is not None:
            metadata = patch.setdefault("metadata", {})
            metadata["resourceVersion"] = own["resourceVersion"]
            self.cluster.patch("InferenceService", own["namespace"], own["name"], patch)
            logger.info("%s/%s: %s", own["namespace"], own["name"], intent)
        if isinstance(intent, Shape) and found.driver is standard and intent.weight:
            self._scale(found, target, intent)

    def _route(self, found: Found, rollout: Object, intent: Intent) -> None:
        """The route that chooses by headers: as it should be, or gone."""
        there, own = found.split, found.isvc["metadata"]
        if there is not None and not splitting.is_of(there, rollout):
            return
        namespace, name = own["namespace"], splitting.route_name(own["name"])
        wanted = _split(found, intent)
        if there is None and wanted is not None:
            made = splitting.route(found.isvc, wanted, rollout)
            self.cluster.create("HTTPRoute", namespace, made)
            logger.info("%s/%s: made", namespace, name)
        elif there is not None and wanted is None:
            self._withdraw(there)
        elif there is not None and not splitting.is_as_wanted(there["spec"], wanted):
            self.cluster.patch("HTTPRoute", namespace, name, {"spec": wanted})
            logger.info("%s/%s: changed", namespace, name)

    def _withdraw(self, split: Object) -> None:
        """In two rounds: no request goes by it any more, and the gateway says so; then it goes."""
        namespace, name = split["metadata"]["namespace"], split["metadata"]["name"]
        if not splitting.is_disarmed(split["spec"]):
            spec = splitting.disarmed(split["spec"])
            self.cluster.patch("HTTPRoute", namespace, name, {"spec": spec})
            logger.info("%s/%s: disarmed", namespace, name)
        elif standard.is_programmed(split):
            self.cluster.delete("HTTPRoute", namespace, name)
            logger.info("%s/%s: gone", namespace, name)

    def _scale(self, found: Found, target: Target, wanted: Shape) -> None:
        """Pods for a canary that neither KServe nor an autoscaler gives more than one."""
        own = found.isvc["metadata"]
        namespace = own["namespace"]
        if (own.get("annotations") or {}).get(AUTOSCALER_CLASS) != "external":
            return  # KServe sets them by minReplicas
        name = standard.deployment_name(own["name"], target.name)
        deployment = self.cluster.get("Deployment", namespace, name)
        if deployment is None or deployment["spec"].get("replicas", 1) >= wanted.replicas:
            return
        if not self._scalers(namespace, name):
            replicas = {"spec": {"replicas": wanted.replicas}}
            self.cluster.patch("Deployment", namespace, name, replicas, "scale")
            logger.info("%s/%s: %d pods", namespace, name, wanted.replicas)

    def retire(self, found: Found, state: State) -> None:
        """What scaled the Deployment that is gone, after a promotion or a rollback.

        After a promotion a person's own scales the new Deployment. KServe's own would stay for ever
        and complain (predictor.go: only Deployments and Services are cleaned up).

        Raises:
            ClusterError: it could not be done, or not all of it; doing it again does the rest.
        """
        if found.driver is not standard:
            return
        own = found.isvc["metadata"]
        stable, canary = (
            standard.deployment_name(own["name"], name)
            for name in (state.stable_name, state.canary)
        )
        is_promoted = state.phase == "Promoting"
        gone, heir = (stable, canary) if is_promoted else (canary, stable)
        if gone == heir:
            return
        for kind, scaler in self._scalers(own["namespace"], gone):
            name = scaler["metadata"]["name"]
            if standard.is_kserves(scaler):
                self.cluster.delete(kind, own["namespace"], name)
                logger.info("%s/%s: gone, as what it scaled", own["namespace"], name)
            elif is_promoted:
                patch = standard.follow(scaler, heir)
                self.cluster.patch(kind, own["namespace"], name, patch)
                logger.info("%s/%s scales %s now", own["namespace"], name, heir)

    def _scalers(self, namespace: str, deployment: str) -> list[tuple[str, Object]]:
        """Autoscalers of a Deployment; KEDA's own HorizontalPodAutoscalers are KEDA's business."""
        found = [(kind, one) for kind in SCALERS for one in self.cluster.list(kind, namespace)]
        return [
            (kind, one) for kind, one in found
            if one["spec"]["scaleTargetRef"].get("name") == deployment
            and not one["metadata"]["name"].startswith("keda-hpa-")
        ]  # fmt: skip


def _split(found: Found, intent: Intent) -> Object | None:
    """The specification of the route by headers; None: there should be none."""
    if not isinstance(intent, Shape) or intent.compare is None:
        return None
    if found.route is None or found.service is None:
        return None  # KServe has not made its own, of which it is made
    stable, canary = sides_of(found.isvc, found.service)
    sides = {splitting.STABLE: stable.deployment, splitting.CANARY: canary.deployment}
    return splitting.spec_of(found.route, intent.compare, intent.weight, sides)


def _patch(driver: Driver, isvc: Object, target: Target, intent: Intent) -> Object | None:
    match intent:
        case Keep():
            return None
        case Shape():
            return driver.shape(isvc, target, intent)
        case Promote():
            return driver.promote(isvc)
        case Remove():
            return driver.remove(isvc)
        case _:
            assert_never(intent)
