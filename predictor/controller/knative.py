"""Canaries in Knative mode: `canaryTrafficPercent`, split between two revisions. Pure.

There is one predictor, whose model is the canary's while the field is set. What the stable version
is, the rollout's state remembers. Nothing is written to the annotations of the InferenceService:
KServe copies them into the template, and each change there starts all pods anew.

A rollback has an order, as seen on a live cluster: with the old model and without the field in one
patch, "latest ready" is still the canary and gets all traffic. So the steps are: 0 percent; the old
model with the field kept at 0; no field, once the revision of the old model is the ready one.

At 100 percent KServe names no other revision. The stable one is not asked any more then, and its
traffic is that of the time before; a rollback to 0 works as from any other step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from predictor.controller.knative_service import (
    PERCENT,
    KnativeService,
    Model,
    model_of,
    model_of_template,
    percent_of,
    service_name,
)
from predictor.controller.objects import Object, annotations_of
from predictor.rollout.intents import SetCanary
from predictor.rollout.observation import Canary, Service
from predictor.rollout.spec import GROUP, Spec, Target
from predictor.rollout.state import ACTIVE, ENDING, State

TAG_ROUTING = "serving.kserve.io/enable-tag-routing"
# Written by earlier versions of the controller.
OLD_ANNOTATIONS = tuple(f"{GROUP}/{name}" for name in ("stable-uri", "stable-image", "canary"))


@dataclass(frozen=True, slots=True)
class KnativeDriver:
    """One InferenceService in Knative mode, with what is known beside it."""

    service: KnativeService = field(default_factory=KnativeService)
    # Of the rollout.
    state: State = field(default_factory=State)
    # That of the rollout's specification.
    target: Target | None = None
    # The stable revision, where the state does not know it (`unknown_revision`).
    revision: Object | None = None

    def unsupported_reason(self, isvc: Object, spec: Spec) -> str:
        """Why this InferenceService cannot have a canary; empty if it can."""
        if spec.compare is not None:
            return "spec.compare: headers choose a version in Standard mode only"
        if "model" not in isvc["spec"].get("predictor", {}):
            return "its predictor has no `model`, whose storageUri a rollout changes"
        if annotations_of(isvc).get(TAG_ROUTING) != "true":
            return f'annotation {TAG_ROUTING} is not "true": the canary could not be asked'
        if percent_of(isvc) is not None and not self._stable_model().uri:
            return f"{PERCENT} was set externally, and the stable version is not known"
        return ""

    def read(
        self, isvc: Object, route: Object | None, deployments: Mapping[str, Object]
    ) -> Service:
        """The versions and their weights; neither routes nor Deployments are KServe's here."""
        del route, deployments
        percent = percent_of(isvc)
        is_asked_for = self.service.asks_for_model(isvc) and self.service.asks_for_percent(isvc)
        is_routed = is_asked_for and self.service.are_routes_ready
        if percent is None:
            model = model_of(isvc)
            is_whole = is_routed and _is_rolled_out(isvc, self.service)
            stable_revision = self.service.latest_ready if is_whole else ""
            return _service(model, None, stable_revision, settled=is_whole)
        is_ready = self.service.asks_for_model(isvc) and self.service.is_latest_ready
        # Knative scales by traffic: one ready revision stands for as many pods as it needs.
        canary = Canary(
            name=self._canary_name(model_of(isvc).uri),
            uri=model_of(isvc).uri,
            weight=percent,
            routed=self.service.shares.get(self.service.latest_created, 0) if is_routed else None,
            ready=int(is_ready),
            revision=self.service.latest_ready if is_ready else "",
        )
        return _service(
            self._stable_model(), canary, self._stable_revision(isvc), settled=is_routed
        )

    def unknown_revision(self, isvc: Object) -> str:
        """The stable revision, if its model has to be read from it; empty: the state knows it.

        While a canary has some traffic, KServe names the other revision. If that is not the one of
        the state, somebody else has changed the service, or KServe has lost its way (its issue
        2130): then its model says whether it is another version.
        """
        if percent_of(isvc) is None or self.state.phase in ENDING:
            return ""
        if self.state.phase not in ACTIVE:
            return stable_revision_of(isvc, self.service)
        expected = ("", self.state.stable_revision, self.service.latest_ready)
        if not self.state.stable_revision or self.service.previous in expected:
            return ""
        return self.service.previous

    def _stable_model(self) -> Model:
        """The stable version's while there is a canary; an empty URI: it is not known."""
        if self.revision is not None:
            return model_of_template(self.revision)
        if self.state.phase in ACTIVE or self.state.phase in ENDING:
            return Model(self.state.stable_uri, self.state.stable_image)
        return Model("", "")

    def _stable_revision(self, isvc: Object) -> str:
        is_known = self.state.phase in ACTIVE or self.state.phase in ENDING
        if is_known and self.state.stable_revision:
            return self.state.stable_revision
        return stable_revision_of(isvc, self.service)

    def _canary_name(self, uri: str) -> str:
        """No object in the cluster has it: the model tells whose the canary is."""
        if self.state.phase in ENDING or uri == self.state.target_uri:
            return self.state.canary
        is_target = self.target is not None and uri == self.target.storage_uri
        return self.target.name if self.target is not None and is_target else ""

    def set_canary(self, isvc: Object, target: Target, intent: SetCanary) -> Object | None:
        """The patch for the intended canary; None: the service has it, or the service is not ready.

        A canary is created beside one revision that has all traffic: KServe gives what the canary
        does not get to the revision that had 100 percent last.
        """
        percent = percent_of(isvc)
        if percent == intent.weight:
            return None
        if percent is not None:
            return {"spec": {"predictor": {PERCENT: intent.weight}}}
        if not self.read(isvc, None, {}).settled:
            return None
        changed = {"storageUri": target.storage_uri}
        if target.image:
            changed["image"] = target.image
        patch: Object = {"spec": {"predictor": {PERCENT: intent.weight, "model": changed}}}
        old = [name for name in OLD_ANNOTATIONS if name in annotations_of(isvc)]
        if old:  # the model makes a revision in any case
            patch["metadata"] = {"annotations": dict.fromkeys(old)}
        return patch

    def promote(self, isvc: Object) -> Object | None:
        """The patch without the field: the latest revision keeps all traffic; None: it is gone."""
        return _without_field() if percent_of(isvc) is not None else None

    def remove(self, isvc: Object) -> Object | None:
        """The patch for the next step of the rollback; None: it is done, or Knative is not."""
        if percent_of(isvc) is None:
            return None
        stable = self._stable_model()
        if model_of(isvc) != stable:
            model: Object = {"storageUri": stable.uri, "image": stable.image or None}
            return {"spec": {"predictor": {PERCENT: 0, "model": model}}}
        canary = self.read(isvc, None, {}).canary
        if canary is None or not canary.ready or canary.routed != 0:
            return None
        return _without_field()


def stable_revision_of(isvc: Object, service: KnativeService) -> str:
    """The stable revision beside a canary, by what KServe shows; empty: it cannot be told."""
    status = isvc.get("status", {}).get("components", {}).get("predictor", {})
    rolled_out = str(status.get("latestRolledoutRevision", ""))
    before = str(status.get("previousRolledoutRevision", ""))
    if service.previous:
        # For a moment after 100 percent, KServe names the canary itself.
        is_canary = service.is_latest_ready and service.previous == service.latest_created
        return before if is_canary else service.previous
    if not service.is_latest_ready:
        return ""
    return before if rolled_out == service.latest_ready else rolled_out


def tag_url(isvc: Object, tag: str) -> str:
    """The name within the cluster of a traffic target; the public one may not resolve there."""
    namespace = isvc["metadata"]["namespace"]
    return f"http://{tag}-{service_name(isvc)}.{namespace}.svc.cluster.local"


def _service(model: Model, canary: Canary | None, revision: str, *, settled: bool) -> Service:
    return Service(
        stable_name="",
        stable_uri=model.uri,
        stable_image=model.image,
        ready=1,
        canary=canary,
        settled=settled,
        stable_revision=revision,
    )


def _is_rolled_out(isvc: Object, service: KnativeService) -> bool:
    """Whether the latest revision is ready, has all traffic, and KServe knows that it has."""
    status = isvc.get("status", {}).get("components", {}).get("predictor", {})
    return (
        service.is_latest_ready
        and service.shares == {service.latest_ready: 100}
        and status.get("latestRolledoutRevision") == service.latest_ready
    )


def _without_field() -> Object:
    return {"spec": {"predictor": {PERCENT: None}}}
