"""The Knative Service that KServe makes of an InferenceService, and what it serves. Pure.

Readiness and traffic are taken from here: KServe writes the *Knative Service's* generation into the
InferenceService's status (inference_service_status.go, PropagateStatus), so the two numbers there
differ after the first change that concerns only one of the two objects.
"""

from dataclasses import dataclass, field
from typing import Any

from predictor.controller.objects import Object, annotations_of

# KServe's annotation of a revision's template.
SOURCE_URI = "internal.serving.kserve.io/storage-initializer-sourceuri"
CONTAINER = "kserve-container"
PERCENT = "canaryTrafficPercent"
# KServe's name of the traffic target that is not the latest revision.
PREVIOUS_TAG = "prev"


@dataclass(frozen=True, slots=True)
class Model:
    """What a revision serves."""

    # Its storageUri.
    uri: str
    # Of the server; empty: the runtime's.
    image: str


def service_name(isvc: Object) -> str:
    """Name of the Knative Service (kserve constants.go, PredictorServiceName)."""
    return f"{isvc['metadata']['name']}-predictor"


def model_of(isvc: Object) -> Model:
    """What the InferenceService asks for: the canary's model while it has a percentage."""
    model = isvc["spec"]["predictor"]["model"]
    return Model(model.get("storageUri", ""), model.get("image", ""))


def percent_of(isvc: Object) -> int | None:
    percent = isvc["spec"]["predictor"].get(PERCENT)
    return None if percent is None else int(percent)


def model_of_template(template: Object) -> Model:
    """What a revision, or the template of the next one, serves."""
    containers = template.get("spec", {}).get("containers", [])
    images = [item.get("image", "") for item in containers if item.get("name") == CONTAINER]
    uri = annotations_of(template).get(SOURCE_URI, "")
    return Model(uri, images[0] if images else "")


@dataclass(frozen=True, slots=True)
class KnativeService:
    """One Knative Service."""

    # As the API server sends it; empty: KServe has not created it.
    item: Object = field(default_factory=dict)

    def asks_for_model(self, isvc: Object) -> bool:
        """Whether KServe has put the model of the InferenceService into the template."""
        requested = model_of(isvc)
        template = self._spec.get("template")
        if template is None:
            return False
        living = model_of_template(template)
        is_image_derived = "runtimeVersion" in isvc["spec"]["predictor"]["model"]
        is_same_image = not requested.image or is_image_derived or living.image == requested.image
        return living.uri == requested.uri and is_same_image

    def asks_for_percent(self, isvc: Object) -> bool:
        """Whether KServe has put the percentage of the InferenceService into the traffic."""
        percent = percent_of(isvc)
        latest = [int(entry.get("percent") or 0) for entry in self._targets if _is_latest(entry)]
        return latest == [100 if percent is None else percent]

    @property
    def is_observed(self) -> bool:
        """Whether Knative has seen this generation."""
        generation = self.item.get("metadata", {}).get("generation")
        return generation is not None and self._status.get("observedGeneration") == generation

    @property
    def is_latest_ready(self) -> bool:
        """Whether the revision of the present template is the one that is ready."""
        is_created = self.latest_created != "" and self.latest_created == self.latest_ready
        return self.is_observed and is_created and self._is_true("ConfigurationsReady")

    @property
    def are_routes_ready(self) -> bool:
        """Whether the gateway sends the traffic as `shares` says."""
        return self.is_observed and self._is_true("RoutesReady")

    @property
    def latest_created(self) -> str:
        return str(self._status.get("latestCreatedRevisionName", ""))

    @property
    def latest_ready(self) -> str:
        return str(self._status.get("latestReadyRevisionName", ""))

    @property
    def previous(self) -> str:
        """The revision beside the latest one; empty: the latest one gets all traffic."""
        names = [
            entry.get("revisionName", "")
            for entry in self._targets
            if entry.get("tag") == PREVIOUS_TAG
        ]
        return str(names[0]) if names else ""

    @property
    def shares(self) -> dict[str, int]:
        """Percent by revision; one that is there twice counts once, one without traffic is not."""
        shares: dict[str, int] = {}
        for entry in self._status.get("traffic", []):
            name = entry.get("revisionName", "")
            shares[name] = shares.get(name, 0) + int(entry.get("percent") or 0)
        return {name: percent for name, percent in shares.items() if percent}

    @property
    def _spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.item.get("spec", {})
        return spec

    @property
    def _targets(self) -> list[Object]:
        targets: list[Object] = self._spec.get("traffic", [])
        return targets

    @property
    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.item.get("status", {})
        return status

    def _is_true(self, condition: str) -> bool:
        return any(
            entry.get("type") == condition and entry.get("status") == "True"
            for entry in self._status.get("conditions", [])
        )


def _is_latest(target: Object) -> bool:
    return bool(target.get("latestRevision"))
