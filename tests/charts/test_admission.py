"""The rules of the admission checker, each with an example that breaks it; then all ci files."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.charts import admission, admitted_silently, helm
from tests.charts.conftest import Rendering

Change = Callable[[Any], object]

GOOD: helm.Object = {
    "kind": "InferenceService",
    "metadata": {
        "name": "emb",
        "namespace": "search",
        "annotations": {
            "serving.kserve.io/deploymentMode": "Standard",
            "serving.kserve.io/autoscalerClass": "external",
        },
    },
    "spec": {
        "predictor": {"minReplicas": 1, "maxReplicas": 3, "model": {"storageUri": "pvc://m/1"}},
        "canary": [
            {
                "trafficPercent": 10,
                "predictor": {"name": "v2", "model": {"storageUri": "pvc://m/2"}},
            }
        ],
    },
}
MODE, CLASS = "serving.kserve.io/deploymentMode", "serving.kserve.io/autoscalerClass"


def notes(service: Any) -> Any:
    return service["metadata"]["annotations"]


def stable(service: Any) -> Any:
    return service["spec"]["predictor"]


def canary(service: Any) -> Any:
    return service["spec"]["canary"][0]


def custom(service: Any, *environment: str, name: str = "kserve-container") -> Any:
    """A plain custom predictor in the model's place."""
    stable(service).pop("model")
    variables = [{"name": variable, "value": "x"} for variable in environment]
    stable(service)["containers"] = [{"name": name, "env": variables}]
    return service


def second_canary(service: Any, name: str, percent: int) -> Any:
    predictor = {"name": name, "model": {"storageUri": "pvc://m/3"}}
    service["spec"]["canary"].append({"trafficPercent": percent, "predictor": predictor})
    return service


# A rule, what breaks it, and the words. Of those with a star the words are the webhook's own.
BROKEN: list[tuple[admission.Rule, Change, str]] = [
    (admission.name_is_a_host, lambda s: s["metadata"].update(name="Emb"), "'Emb' is invalid"),
    (admission.one_implementation, lambda s: stable(s).update(onnx={}), "exactly one"),
    (admission.known_mode, lambda s: notes(s).pop(MODE), "[] is not a deploymentMode"),
    (admission.known_autoscaler, lambda s: notes(s).update({CLASS: "foo"}),
     "[foo] is not a supported autoscaler class type"),  # *
    (admission.replicas_in_order, lambda s: stable(s).update(minReplicas=4),
     "'MinReplicas' cannot be greater than MaxReplicas"),  # *
    (admission.replicas_in_order, lambda s: stable(s).update(minReplicas=-1), "less than 0"),
    (admission.target_in_percent, lambda s: stable(s).update(scaleTarget=101), "1 and 100"),
    (admission.metric_of_the_mode, lambda s: stable(s).update(scaleMetric="rps"), "[rps] is not"),
    (admission.metric_of_the_mode,
     lambda s: (notes(s).update({CLASS: "keda"}), stable(s).update(scaleMetric="cpu")), "keda"),
    (admission.no_pythonpath,
     lambda s: canary(s)["predictor"]["model"].update(env=[{"name": "PYTHONPATH"}]), "PYTHONPATH"),
    (admission.model_without_name, lambda s: stable(s)["model"].update(name="m"), "must be empty"),
    (admission.transformer_without_model,
     lambda s: custom(s, "STORAGE_URI", name="transformer-container"), "STORAGE_URI"),
    (admission.strategy_only_in_standard,
     lambda s: (notes(s).update({MODE: "Knative"}), stable(s).update(deploymentStrategy={})),
     "deploymentStrategy"),
    (admission.known_logger, lambda s: stable(s).update(logger={"mode": "some"}), "logger"),
    (admission.storage_side_by_side,
     lambda s: stable(s).update(storageUris=[{"mountPath": "m"}]), "absolute path"),
    (admission.storage_side_by_side,
     lambda s: stable(s).update(storageUris=[{"mountPath": "/a/m"}, {"mountPath": "/b/m"}]),
     "common parent"),
    (admission.canary_in_standard_mode, lambda s: notes(s).update({MODE: "Knative"}),
     "canary is only supported in Standard deployment mode"),  # *
    (admission.canary_of_a_model,
     lambda s: (custom(s), canary(s)["predictor"].pop("model")), "requires a model"),
    (admission.canary_named, lambda s: canary(s)["predictor"].pop("name"),
     "canary[0] predictor.name is required"),  # *
    (admission.canary_named, lambda s: stable(s).update(name="v2"), "must be unique"),
    (admission.canary_named, lambda s: second_canary(s, "v2", 1), "canary[1]"),
    (admission.canary_weights, lambda s: canary(s).update(trafficPercent=101), "0 and 100"),
    (admission.canary_weights,
     lambda s: (canary(s).update(trafficPercent=60), second_canary(s, "v3", 60)),
     "sum of canary trafficPercent values (120) must be <= 100"),  # *
    (admission.canary_of_fixed_size, lambda s: canary(s)["predictor"].update(maxReplicas=2),
     'canary "v2" must not set maxReplicas (canary uses fixed replicas)'),  # *
    (admission.canary_of_fixed_size, lambda s: canary(s)["predictor"].update(workerSpec={}),
     "workerSpec"),
    (admission.canary_of_fixed_size, lambda s: canary(s)["predictor"].update(minReplicas=3),
     'canary "v2" minReplicas (3) must not exceed stable predictor minReplicas (1)'),  # *
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "change", "words"), BROKEN, ids=[f"{r.__name__}-{w[:20]}" for r, _, w in BROKEN]
)
def test_a_rule_finds_what_breaks_it(rule: admission.Rule, change: Change, words: str) -> None:
    broken = copy.deepcopy(GOOD)
    assert list(rule(broken)) == []
    change(broken)
    messages = list(rule(broken))
    assert any(words in complaint for complaint in messages)
    assert set(messages) <= set(admission.complaints(broken))


def test_every_rule_has_an_example_and_the_good_one_breaks_none() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(admission.RULES)
    assert admission.complaints(GOOD, GOOD) == []


def test_a_mode_stays() -> None:
    after = copy.deepcopy(GOOD)
    after["spec"].pop("canary")
    notes(after)[MODE] = "Knative"
    assert admission.complaints(after, GOOD) == [
        "update rejected: deploymentMode cannot be changed from 'Standard' to 'Knative'"
    ]


def test_a_new_name_wants_a_new_model() -> None:
    after = copy.deepcopy(GOOD)
    after["spec"].pop("canary")
    stable(after)["name"] = "v2"
    assert admission.complaints(after, GOOD) == [
        "predictor.name change requires a model change (e.g. storageUri)"
    ]
    stable(after)["model"] = {"storageUri": "pvc://m/2"}
    assert admission.complaints(after, GOOD) == []


def test_ci_files_are_admitted(chart: str, values: Path, rendered: Rendering) -> None:
    objects = rendered(chart, values)
    for service in admitted_silently.services(objects):
        assert admission.complaints(service, service) == []
    assert admitted_silently.traps(objects) == []


def test_every_step_of_a_rollout_is_admitted() -> None:
    canary_of = ("canary.name=v2", "canary.storageUri=pvc://models/minilm/2")
    promoted = ("predictor.name=v2", "model.storageUri=pvc://models/minilm/2")
    steps = [(), *((*canary_of, f"canary.trafficPercent={p}") for p in (10, 50, 100)), promoted]
    before = None
    for step in steps:
        objects = helm.template(helm.MODEL, *step, "autoscaling.minReplicas=2")
        service = helm.only(objects, "InferenceService")
        assert admission.complaints(service, before) == []
        before = service
