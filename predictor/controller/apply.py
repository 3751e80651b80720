"""Applies what was decided: patches of the InferenceService, the route by headers, pods of the
canary, and autoscalers.

Every patch names the resourceVersion that was read, so that it never overwrites what was changed
meanwhile.
"""

import logging
from dataclasses import dataclass
from typing import assert_never

from predictor.controller import field_ownership, header_routes, replicas, standard
from predictor.controller.autoscalers import Autoscalers
from predictor.controller.cluster import Cluster
from predictor.controller.drivers import endpoints_of
from predictor.controller.objects import Object, key_of
from predictor.controller.observe import ObservedService
from predictor.rollout.decide import Decision
from predictor.rollout.intents import (
    Intent,
    NoOp,
    Promote,
    Remove,
    RestoreReplicas,
    SetCanary,
)
from predictor.rollout.spec import Target
from predictor.rollout.state import State

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Applier:
    """Writes to one cluster."""

    cluster: Cluster

    def apply(
        self, observed: ObservedService, rollout: Object, target: Target, decision: Decision
    ) -> None:
        """Do what was decided, or the rest of it.

        Args:
            rollout: the custom resource, which owns what is created.

        Raises:
            Conflict: an object was changed since it was read.
            ClusterError: the API server refused, or did not answer.
        """
        intent, state = decision.intent, decision.state
        self._apply_header_route(observed, rollout, intent)
        is_standard = observed.driver is standard
        if isinstance(intent, SetCanary) and is_standard:
            autoscalers = Autoscalers(self.cluster, observed.isvc["metadata"]["namespace"])
            autoscalers.hold(observed.autoscalers, state.stable_pods)
        patch = _patch(observed, target, decision)
        namespace, name = key_of(observed.isvc)
        if patch is not None:
            metadata = patch.setdefault("metadata", {})
            metadata["resourceVersion"] = observed.isvc["metadata"]["resourceVersion"]
            self.cluster.patch("InferenceService", namespace, name, patch)
            logger.info("InferenceService %s/%s: %s", namespace, name, intent)
        if isinstance(intent, SetCanary) and is_standard:
            self._scale(observed, target, intent)

    def _apply_header_route(
        self, observed: ObservedService, rollout: Object, intent: Intent
    ) -> None:
        """Create, change or withdraw the route that chooses by headers."""
        route = observed.header_route
        if route is not None and not header_routes.is_of(route, rollout):
            return
        namespace, service = key_of(observed.isvc)
        name = header_routes.route_name(service)
        spec = _route_spec(observed, intent)
        if route is None and spec is not None:
            created = header_routes.route(observed.isvc, spec, rollout)
            self.cluster.create("HTTPRoute", namespace, created)
            logger.info("HTTPRoute %s/%s: created", namespace, name)
        elif route is not None and spec is None:
            self._withdraw(route)
        elif route is not None and not header_routes.has_fields(route["spec"], spec):
            self.cluster.patch("HTTPRoute", namespace, name, {"spec": spec})
            logger.info("HTTPRoute %s/%s: changed", namespace, name)

    def _withdraw(self, route: Object) -> None:
        """Disarm the route; delete it in a later reconciliation, once the gateway applied that."""
        namespace, name = key_of(route)
        if not header_routes.is_disarmed(route["spec"]):
            spec = header_routes.disarmed(route["spec"])
            self.cluster.patch("HTTPRoute", namespace, name, {"spec": spec})
            logger.info("HTTPRoute %s/%s: disarmed", namespace, name)
        elif standard.is_programmed(route):
            self.cluster.delete("HTTPRoute", namespace, name)
            logger.info("HTTPRoute %s/%s: deleted", namespace, name)

    def _scale(self, observed: ObservedService, target: Target, intent: SetCanary) -> None:
        """Scale a canary that neither KServe nor an autoscaler gives more than one pod."""
        if replicas.is_scaled_by_kserve(observed.isvc):
            return
        namespace, service = key_of(observed.isvc)
        name = standard.deployment_name(service, target.name)
        deployment = self.cluster.get("Deployment", namespace, name)
        if deployment is None or deployment["spec"].get("replicas", 1) >= intent.replicas:
            return
        autoscalers = Autoscalers(self.cluster, namespace)
        if of_canary := autoscalers.of(name):
            autoscalers.hold(of_canary, intent.replicas)
            return
        scale = {"spec": {"replicas": intent.replicas}}
        self.cluster.patch("Deployment", namespace, name, scale, "scale")
        logger.info("Deployment %s/%s: scaled to %d pods", namespace, name, intent.replicas)

    def give_fields_back(self, isvc: Object) -> None:
        """Give up what the controller owns of an InferenceService, for server-side apply.

        Raises:
            Conflict: it was changed since it was read.
            ClusterError: the API server refused, or did not answer.
        """
        namespace, name = key_of(isvc)
        if (patch := field_ownership.released(isvc)) is not None:
            self.cluster.patch("InferenceService", namespace, name, patch)
            logger.info("InferenceService %s/%s: its fields are given back", namespace, name)

    def settle_autoscalers(self, observed: ObservedService, state: State) -> None:
        """Do for the autoscalers what the end of a rollout requires; again does no harm.

        Raises:
            ClusterError: not all of it could be done; doing it again does the rest.
        """
        if observed.driver is not standard:
            return
        namespace, service = key_of(observed.isvc)
        stable = standard.deployment_name(service, state.stable_name)
        canary = standard.deployment_name(service, state.canary)
        if stable != canary:
            Autoscalers(self.cluster, namespace).settle(stable, canary, state)


def _route_spec(observed: ObservedService, intent: Intent) -> Object | None:
    """The specification of the route by headers; None: there should be none."""
    if not isinstance(intent, SetCanary) or intent.compare is None:
        return None
    if observed.weight_route is None or observed.service is None:
        return None  # KServe has not created its route, from which ours is derived
    stable, canary = endpoints_of(observed.isvc, observed.service)
    backends = {header_routes.STABLE: stable.deployment, header_routes.CANARY: canary.deployment}
    return header_routes.spec_of(observed.weight_route, intent.compare, intent.weight, backends)


def _patch(observed: ObservedService, target: Target, decision: Decision) -> Object | None:
    driver, isvc = observed.driver, observed.isvc
    intent = decision.intent
    patch: Object | None
    match intent:
        case NoOp():
            return None
        case SetCanary():
            patch = driver.set_canary(isvc, target, intent)
        case Promote():
            patch = driver.promote(isvc)
        case Remove():
            patch = driver.remove(isvc)
        case RestoreReplicas():
            return replicas.restored(isvc, decision.state)
        case _:
            assert_never(intent)
    if driver is not standard:
        return patch
    return replicas.with_numbers(isvc, patch, decision.state, intent)
