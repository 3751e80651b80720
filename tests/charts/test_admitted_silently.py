"""The rules for what nobody refuses, each with an example that breaks it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.charts import admitted_silently as silent
from tests.charts.test_admission import CLASS, GOOD, canary, custom, notes, stable

Objects = list[Any]

RUNTIME: dict[str, Any] = {
    "kind": "ServingRuntime",
    "metadata": {"name": "embedding-cpu"},
    "spec": {
        "supportedModelFormats": [{"name": "embedding", "version": "1", "autoSelect": True}],
        "protocolVersions": ["v2"],
        "containers": [{"name": "kserve-container", "ports": [{"name": "http1"}]}],
    },
}
SCALER: dict[str, Any] = {
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "emb-autoscale"},
    "spec": {"scaleTargetRef": {"name": "emb-predictor"}},
}


def objects() -> Objects:
    return copy.deepcopy([GOOD, RUNTIME, SCALER])


def twin(objects: Objects) -> None:
    objects.append({**copy.deepcopy(RUNTIME), "metadata": {"name": "another"}})


def ours(kind: str) -> dict[str, Any]:
    labels = {"serving.kserve.io/inferenceservice": "emb", "component": "predictor"}
    return {"kind": kind, "metadata": {"name": "emb-metrics", "labels": labels}}


BROKEN: list[tuple[silent.Rule, Callable[[Objects], object], str]] = [
    (silent.container_of_kserve, lambda o: o[1]["spec"]["containers"][0].update(name="server"),
     "runtime embedding-cpu has no container kserve-container"),
    (silent.container_of_kserve, lambda o: custom(o[0], name="server"), "custom predictor"),
    (silent.runtimes_do_not_quarrel, twin, "embedding-cpu and another"),
    (silent.namespace_with_pod_webhook,
     lambda o: o.append({"kind": "Namespace",
                         "metadata": {"name": "search", "labels": {"control-plane": "x"}}}),
     "namespace search"),
    (silent.percent_only_in_knative, lambda o: stable(o[0]).update(canaryTrafficPercent=10),
     "canaryTrafficPercent is ignored"),
    (silent.labels_fit, lambda o: canary(o[0])["predictor"].update(name="v" * 45), "64 characters"),
    (silent.hosts_fit, lambda o: o[0]["metadata"].update(name="e" * 47), "over 63"),
    (silent.no_keda_class_with_canary, lambda o: notes(o[0]).update({CLASS: "keda"}), "triggers"),
    (silent.model_has_a_uri, lambda o: stable(o[0])["model"].clear(), "agent"),
    (silent.knative_takes_one_port,
     lambda o: o[1]["spec"]["containers"][0]["ports"].append({"name": "h2c"}), "one port"),
    (silent.scalers_are_ours, lambda o: o[2]["metadata"].update(name="emb-predictor"),
     "overwrites"),
    (silent.scalers_are_ours, lambda o: stable(o[0]).update(name="v1"), "no Deployment"),
    (silent.scalers_are_ours, lambda o: notes(o[0]).update({CLASS: "hpa"}), "of its own"),
    (silent.nothing_looks_like_an_orphan, lambda o: o.append(ours("Service")), "as an orphan"),
    (silent.nothing_looks_like_an_orphan, lambda o: o.append(ours("Deployment")), "as an orphan"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "change", "words"), BROKEN, ids=[f"{r.__name__}-{w[:20]}" for r, _, w in BROKEN]
)
def test_a_rule_finds_what_breaks_it(
    rule: silent.Rule, change: Callable[[Objects], object], words: str
) -> None:
    broken = objects()
    assert list(rule(broken)) == []
    change(broken)
    messages = list(rule(broken))
    assert any(words in complaint for complaint in messages)
    assert set(messages) <= set(silent.traps(broken))


def test_every_rule_has_an_example_and_the_good_ones_break_none() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(silent.RULES)
    assert silent.traps(objects()) == []
