"""`minReplicas` and `maxReplicas` of an InferenceService in Standard mode while it has a canary.

With the autoscaler classes `none` and `hpa` KServe takes the canary's pods off the stable
predictor's. So both numbers are raised by them in the patch that asks for the pods, and given back
in the patch that promotes or removes the canary. With class `external` KServe scales nothing. Pure.
"""

from predictor.controller.objects import Object, annotations_of
from predictor.rollout.intents import Intent, NoOp, SetCanary
from predictor.rollout.pods import raised_max, raised_min
from predictor.rollout.state import NO_NUMBER, State

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"


def is_scaled_by_kserve(isvc: Object) -> bool:
    return annotations_of(isvc).get(AUTOSCALER_CLASS) != "external"


def number(predictor: Object, field: str) -> int:
    """A number of pods; `NO_NUMBER`: it is not there."""
    return int(predictor.get(field, NO_NUMBER))


def with_numbers(isvc: Object, patch: Object | None, state: State, intent: Intent) -> Object | None:
    """The patch of an intent, with the numbers that go with it; None: nothing is to be patched."""
    if isinstance(intent, NoOp) or not state.stable_pods or not is_scaled_by_kserve(isvc):
        return patch
    if isinstance(intent, SetCanary):
        changed = _raised(isvc, patch, state)
    else:
        changed = _given_back(isvc, state) if patch is not None else {}
    if not changed:
        return patch
    patch = patch or {}
    spec = patch.setdefault("spec", {})
    spec["predictor"] = spec.get("predictor", {}) | changed
    return patch


def restored(isvc: Object, state: State) -> Object:
    """The patch that gives the numbers back to a service without a canary."""
    return {"spec": {"predictor": _given_back(isvc, state)}}


def _raised(isvc: Object, patch: Object | None, state: State) -> Object:
    """Never lower than they are: what somebody has raised meanwhile stays until the end."""
    (entry,) = (patch or isvc)["spec"]["canary"]
    pods = int(entry["predictor"].get("minReplicas", 1))
    predictor = isvc["spec"]["predictor"]
    changed = {}
    if (least := raised_min(state, pods)) > number(predictor, "minReplicas"):
        changed["minReplicas"] = least
    if (most := raised_max(state, pods)) > number(predictor, "maxReplicas"):
        changed["maxReplicas"] = most
    return changed


def _given_back(isvc: Object, state: State) -> Object:
    """A number that the service did not have is removed."""
    predictor = isvc["spec"]["predictor"]
    numbers = {"minReplicas": state.min_replicas, "maxReplicas": state.max_replicas}
    return {
        field: None if known == NO_NUMBER else known
        for field, known in numbers.items()
        if number(predictor, field) != known
    }
