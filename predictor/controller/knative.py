"""Canaries in Knative mode: `canaryTrafficPercent`, split between two revisions. Pure.

There is one predictor, whose model is the canary's while the field is set. What was stable before
stands in annotations, written in the same patch that brings the canary in.

Going back has an order (seen on a living cluster): with the old model and without the field in one
patch, "latest ready" is still the canary and gets all traffic. So: 0 percent; the old model with
the field kept at 0; and without the field only when the revision of the old model is the ready one.
"""

from collections.abc import Mapping
from typing import Any

from predictor.rollout.intents import Shape
from predictor.rollout.seen import Canary, Service
from predictor.rollout.spec import GROUP, Spec, Target

Object = dict[str, Any]

STABLE_URI, STABLE_IMAGE = f"{GROUP}/stable-uri", f"{GROUP}/stable-image"
CANARY = f"{GROUP}/canary"
PERCENT = "canaryTrafficPercent"


def trouble(isvc: Object, spec: Spec) -> str:
    """Why this InferenceService can have no such canary; empty if it can."""
    if spec.compare is not None:
        return "spec.compare: headers choose a version in Standard mode only"
    predictor = isvc["spec"].get("predictor", {})
    if "model" not in predictor:
        return "its predictor has no `model`, whose storageUri a rollout would change"
    if PERCENT in predictor and STABLE_URI not in _annotations(isvc):
        return f"somebody else set {PERCENT}: what was stable is not known"
    return ""


def read(isvc: Object, route: Object | None, deployments: Mapping[str, Object]) -> Service:
    """What there is; Knative's own words in the status say it all."""
    del route, deployments
    model, told = isvc["spec"]["predictor"]["model"], _told(isvc)
    uri, image = model.get("storageUri", ""), model.get("image", "")
    annotations = _annotations(isvc)
    canary = None
    if _percent(isvc) is not None:
        # Knative brings up what the traffic needs: one ready revision is as many pods as it takes.
        canary = Canary(
            name=annotations.get(CANARY, ""),
            uri=uri,
            weight=_percent(isvc) or 0,
            routed=_routed(isvc) if _is_observed(isvc) else None,
            ready=int(_latest_is_ready(isvc)),
        )
        uri, image = annotations.get(STABLE_URI, ""), annotations.get(STABLE_IMAGE, "")
    latest = told.get("latestReadyRevision")
    whole = canary is None and _latest_is_ready(isvc) and _shares(isvc) == {latest: 100}
    return Service(
        stable_name="",
        stable_uri=uri,
        stable_image=image,
        ready=1,
        canary=canary,
        settled=_is_observed(isvc) and (canary is not None or whole),
    )


def shape(isvc: Object, target: Target, wanted: Shape) -> Object | None:
    """The patch that makes it so; None: it is so. Pods are Knative's business."""
    percent = _percent(isvc)
    if percent is not None:
        is_so = percent == wanted.weight
        return None if is_so else {"spec": {"predictor": {PERCENT: wanted.weight}}}
    model = isvc["spec"]["predictor"]["model"]
    changed = {"storageUri": target.storage_uri}
    if target.image:
        changed["image"] = target.image
    return {
        "metadata": {
            "annotations": {
                STABLE_URI: model.get("storageUri", ""),
                STABLE_IMAGE: model.get("image", ""),
                CANARY: target.name,
            }
        },
        "spec": {"predictor": {PERCENT: wanted.weight, "model": changed}},
    }


def promote(isvc: Object) -> Object | None:
    """Without the field, the latest revision has all traffic; None: it is so."""
    return _without_field() if _percent(isvc) is not None else None


def remove(isvc: Object) -> Object | None:
    """The next of the steps back; None: it is done, or Knative is not ready for the next one."""
    if _percent(isvc) is None:
        return None
    annotations, model = _annotations(isvc), isvc["spec"]["predictor"]["model"]
    stable = annotations[STABLE_URI], annotations.get(STABLE_IMAGE, "")
    if (model.get("storageUri", ""), model.get("image", "")) != stable:
        back: Object = {"storageUri": stable[0], "image": stable[1] or None}
        return {"spec": {"predictor": {PERCENT: 0, "model": back}}}
    if not _is_observed(isvc) or not _latest_is_ready(isvc):
        return None
    return _without_field()


def _without_field() -> Object:
    gone = dict.fromkeys((STABLE_URI, STABLE_IMAGE, CANARY))
    return {"metadata": {"annotations": gone}, "spec": {"predictor": {PERCENT: None}}}


def _annotations(isvc: Object) -> dict[str, str]:
    found: dict[str, str] = isvc["metadata"].get("annotations") or {}
    return found


def _percent(isvc: Object) -> int | None:
    found = isvc["spec"]["predictor"].get(PERCENT)
    return None if found is None else int(found)


def _told(isvc: Object) -> Object:
    found: Object = isvc.get("status", {}).get("components", {}).get("predictor", {})
    return found


def _is_observed(isvc: Object) -> bool:
    generation = isvc["metadata"].get("generation")
    return bool(isvc.get("status", {}).get("observedGeneration") == generation)


def _latest_is_ready(isvc: Object) -> bool:
    told = _told(isvc)
    created = told.get("latestCreatedRevision")
    return created is not None and created == told.get("latestReadyRevision")


def _shares(isvc: Object) -> dict[str, int]:
    shares: dict[str, int] = {}
    for one in _told(isvc).get("traffic", []):
        name = one.get("revisionName", "")
        shares[name] = shares.get(name, 0) + int(one.get("percent") or 0)
    return {name: percent for name, percent in shares.items() if percent}


def _routed(isvc: Object) -> int | None:
    """Percent that the newest revision has; of one that is not ready yet, nothing."""
    if not _latest_is_ready(isvc):
        return 0
    return _shares(isvc).get(_told(isvc)["latestReadyRevision"], 0)
