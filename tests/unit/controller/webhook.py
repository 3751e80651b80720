"""What KServe's webhook refuses of an InferenceService, in its words.

Source: pkg/apis/serving/v1beta1/inference_service_validation.go.
"""

from typing import Any

Object = dict[str, Any]


def refusal(before: Object, after: Object) -> str:
    """Why the change is refused; empty if it is admitted."""
    stable, old = after["spec"]["predictor"], before["spec"]["predictor"]
    least, most = int(stable.get("minReplicas", 1)), int(stable.get("maxReplicas", 0))
    if most and least > most:
        return "'MinReplicas' cannot be greater than MaxReplicas"
    is_renamed = stable.get("name", "") != old.get("name", "")
    if is_renamed and stable["model"].get("storageUri") == old["model"].get("storageUri"):
        return "predictor.name change requires a model change (e.g. storageUri)"
    for entry in after["spec"].get("canary") or []:
        if reason := _of_canary(entry["predictor"], stable.get("name", ""), least):
            return reason
    weights = [int(entry["trafficPercent"]) for entry in after["spec"].get("canary") or []]
    if sum(weights) > 100:
        return f"sum of canary trafficPercent values ({sum(weights)}) must be <= 100"
    return ""


def _of_canary(canary: Object, stable_name: str, stable_least: int) -> str:
    name = canary.get("name", "")
    if not name:
        return "canary[0] predictor.name is required"
    if name == stable_name:
        return f'canary predictor.name "{name}" conflicts with stable predictor name'
    if "maxReplicas" in canary:
        return f'canary "{name}" must not set maxReplicas (canary uses fixed replicas)'
    if (least := int(canary.get("minReplicas", 0))) > stable_least:
        return (
            f'canary "{name}" minReplicas ({least}) must not exceed '
            f"stable predictor minReplicas ({stable_least})"
        )
    return ""
