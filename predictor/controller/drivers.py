"""KServe's two ways to run canaries, Standard and Knative, behind one interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from predictor.controller import standard
from predictor.controller.knative import KnativeDriver, tag_url
from predictor.controller.objects import Object, annotations_of
from predictor.rollout.intents import SetCanary
from predictor.rollout.observation import Service
from predictor.rollout.spec import Spec, Target


class Driver(Protocol):
    """Reads an InferenceService, and makes merge patches of it; None: nothing to do (yet)."""

    def unsupported_reason(self, isvc: Object, spec: Spec) -> str: ...

    def read(
        self, isvc: Object, route: Object | None, deployments: Mapping[str, Object]
    ) -> Service: ...

    def set_canary(self, isvc: Object, target: Target, intent: SetCanary) -> Object | None: ...

    def promote(self, isvc: Object) -> Object | None: ...

    def remove(self, isvc: Object) -> Object | None: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one of the two versions is found."""

    # Its target label in Prometheus.
    deployment: str
    # Of its Service; empty: it cannot be asked.
    url: str


def driver_of(isvc: Object) -> Driver:
    """By the annotation, which KServe's webhook always writes; its own default is Knative."""
    mode = annotations_of(isvc).get(standard.MODE, "Knative")
    return standard if mode in ("Standard", "RawDeployment") else KnativeDriver()


def endpoints_of(isvc: Object, service: Service) -> tuple[Endpoint, Endpoint]:
    """The stable version and the canary, which must exist."""
    assert service.canary is not None
    if driver_of(isvc) is standard:
        stable = _standard_endpoint(isvc, service.stable_name)
        return stable, _standard_endpoint(isvc, service.canary.name)
    # At 100 percent no name leads to the stable revision.
    url = tag_url(isvc, "prev") if service.canary.weight < 100 else ""
    return (
        Endpoint(service.stable_revision, url),
        Endpoint(service.canary.revision, tag_url(isvc, "latest")),
    )


def _standard_endpoint(isvc: Object, predictor: str) -> Endpoint:
    metadata = isvc["metadata"]
    name = standard.deployment_name(metadata["name"], predictor)
    return Endpoint(name, f"http://{name}.{metadata['namespace']}.svc")
