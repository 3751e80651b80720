"""Which of KServe's two ways an InferenceService goes, behind one interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from predictor.controller import knative, standard
from predictor.rollout.intents import Shape
from predictor.rollout.seen import Service
from predictor.rollout.spec import Spec, Target

Object = dict[str, Any]


class Driver(Protocol):
    """Reads an InferenceService, and makes merge patches of it; None: nothing to do (yet)."""

    def trouble(self, isvc: Object, spec: Spec) -> str: ...

    def read(
        self, isvc: Object, route: Object | None, deployments: Mapping[str, Object]
    ) -> Service: ...

    def shape(self, isvc: Object, target: Target, wanted: Shape) -> Object | None: ...

    def promote(self, isvc: Object) -> Object | None: ...

    def remove(self, isvc: Object) -> Object | None: ...


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions. deployment: its target label in Prometheus. url: of its Service."""

    deployment: str
    url: str


def driver_of(isvc: Object) -> Driver:
    """By the annotation, which KServe's webhook always writes; its own default is Knative."""
    mode = (isvc["metadata"].get("annotations") or {}).get(standard.MODE, "Knative")
    return standard if mode in ("Standard", "RawDeployment") else knative


def sides_of(isvc: Object, service: Service) -> tuple[Side, Side]:
    """The stable version and the canary, which there must be."""
    assert service.canary is not None
    own = isvc["metadata"]
    if driver_of(isvc) is standard:
        names = (service.stable_name, service.canary.name)
        stable, canary = (standard.deployment_name(own["name"], name) for name in names)
        return (
            Side(stable, f"http://{stable}.{own['namespace']}.svc"),
            Side(canary, f"http://{canary}.{own['namespace']}.svc"),
        )
    told = isvc.get("status", {}).get("components", {}).get("predictor", {})
    urls = {one.get("tag", ""): one.get("url", "") for one in told.get("traffic", [])}
    return (
        Side(told.get("latestRolledoutRevision", ""), urls.get("prev", "")),
        Side(told.get("latestReadyRevision", ""), urls.get("latest", "")),
    )
