"""The autoscalers of the two versions' Deployments during a rollout and at its end.

While a rollout runs, the stable version keeps the pods that it had before, although its traffic
leaves it: the least number of its autoscaler is held there, and given back at the end.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from predictor.controller import field_ownership
from predictor.controller.autoscaler import (
    LIMITS,
    Autoscaler,
    is_foreign,
    is_of_kserve,
    min_pods,
    redirected,
    released,
    with_min,
)
from predictor.controller.cluster import Cluster
from predictor.controller.objects import Object
from predictor.rollout.state import ENDING, TERMINAL, State

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Autoscalers:
    """Those of one namespace."""

    cluster: Cluster
    namespace: str

    def of(self, deployment: str) -> list[Autoscaler]:
        """Kind and object, without the HorizontalPodAutoscalers that KEDA manages.

        Raises ClusterError.
        """
        return [
            (kind, autoscaler)
            for kind in LIMITS
            for autoscaler in self.cluster.list(kind, self.namespace)
            if autoscaler["spec"]["scaleTargetRef"].get("name") == deployment
            and not autoscaler["metadata"]["name"].startswith("keda-hpa-")
        ]

    def hold(self, autoscalers: Iterable[Autoscaler], pods: int) -> None:
        """Let autoscalers, other than KServe's, have no fewer pods than these.

        Raises ClusterError.
        """
        for autoscaler in autoscalers:
            if is_foreign(autoscaler) and min_pods(autoscaler) < pods:
                self._patch(autoscaler, with_min(autoscaler, pods))

    def settle(self, stable: str, canary: str, state: State) -> None:
        """Do what the end of a rollout requires, once one of the two Deployments is removed.

        After a promotion a person's own autoscaler scales the new Deployment. KServe's of the
        removed one would stay for ever and report errors (predictor.go: only Deployments and
        Services are cleaned up). The stable version's gets its least number back.

        Raises:
            ClusterError: not all of it could be done; doing it again does the rest.
        """
        is_promoted = state.phase == "Promoting"
        if state.phase in ENDING:
            self._retire(stable if is_promoted else canary, canary if is_promoted else "", state)
        if not is_promoted:
            for autoscaler in self.of(stable):
                self._patch(autoscaler, released(autoscaler, state))
        if state.phase in TERMINAL:
            for deployment in (stable, canary):
                self.give_fields_back(deployment)

    def give_fields_back(self, deployment: str) -> None:
        """Give up what the controller owns of a Deployment's autoscalers, for server-side apply.

        Raises ClusterError.
        """
        for kind, autoscaler in self.of(deployment):
            if (patch := field_ownership.released(autoscaler)) is not None:
                name = autoscaler["metadata"]["name"]
                self.cluster.patch(kind, self.namespace, name, patch)

    def _retire(self, removed: str, successor: str, state: State) -> None:
        """Empty successor: a person's own autoscaler stays as it is."""
        for autoscaler in self.of(removed):
            kind, target = autoscaler
            name = target["metadata"]["name"]
            if is_of_kserve(target):
                self.cluster.delete(kind, self.namespace, name)
                logger.info("%s %s/%s: deleted with %s", kind, self.namespace, name, removed)
            elif successor:
                changed = redirected(target, successor) | released(autoscaler, state)
                self._patch(autoscaler, changed)

    def _patch(self, autoscaler: Autoscaler, changed: Object) -> None:
        if changed:
            kind, target = autoscaler
            name = target["metadata"]["name"]
            self.cluster.patch(kind, self.namespace, name, {"spec": changed})
            logger.info("%s %s/%s: %s", kind, self.namespace, name, changed)
