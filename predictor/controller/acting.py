"""Does what was decided: patches of the InferenceService, pods of the canary, autoscalers after it.

Every patch names the resourceVersion that was looked at: what somebody else wrote meanwhile is
looked at first.
"""

import logging
from dataclasses import dataclass
from typing import assert_never

from predictor.controller import standard
from predictor.controller.cluster import Cluster, Object
from predictor.controller.drivers import Driver
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

    def act(self, found: Found, target: Target, intent: Intent) -> None:
        """Do it, or what of it is not done yet.

        Raises:
            Conflict: somebody else wrote since; look again.
            ClusterError: the API server refused, or was not there.
        """
        patch = _patch(found.driver, found.isvc, target, intent)
        own = found.isvc["metadata"]
        if patch is not None:
            metadata = patch.setdefault("metadata", {})
            metadata["resourceVersion"] = own["resourceVersion"]
            self.cluster.patch("InferenceService", own["namespace"], own["name"], patch)
            logger.info("%s/%s: %s", own["namespace"], own["name"], intent)
        if isinstance(intent, Shape) and found.driver is standard and intent.weight:
            self._scale(found, target, intent)

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

    def follow(self, found: Found, state: State) -> None:
        """After a promotion: what scaled the old Deployment scales the new one.

        Raises:
            ClusterError: it could not be done, or not all of it; doing it again does the rest.
        """
        own = found.isvc["metadata"]
        if found.driver is not standard:
            return
        new = standard.deployment_name(own["name"], state.canary)
        old = standard.deployment_name(own["name"], state.stable_name)
        if old == new:
            return
        for kind, scaler in self._scalers(own["namespace"], old):
            patch = standard.follow(scaler, new)
            name = scaler["metadata"]["name"]
            self.cluster.patch(kind, own["namespace"], name, patch)
            logger.info("%s/%s scales %s now", own["namespace"], name, new)

    def _scalers(self, namespace: str, deployment: str) -> list[tuple[str, Object]]:
        """Autoscalers of a Deployment; KEDA's own HorizontalPodAutoscalers are KEDA's business."""
        found = [(kind, one) for kind in SCALERS for one in self.cluster.list(kind, namespace)]
        return [
            (kind, one) for kind, one in found
            if one["spec"]["scaleTargetRef"].get("name") == deployment
            and not one["metadata"]["name"].startswith("keda-hpa-")
        ]  # fmt: skip


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
