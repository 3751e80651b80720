"""An autoscaler follows a promotion with its query and its selector, not only with its target."""

from typing import Any

from predictor.controller.autoscaler import redirected

OLD, NEW = "emb-v1-predictor", "emb-v2-predictor"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": OLD}


def spec(**more: Any) -> dict[str, Any]:
    return {"spec": {"scaleTargetRef": TARGET, **more}}


def test_a_scaler_on_cpu_changes_its_target_only() -> None:
    cpu = [{"type": "Resource", "resource": {"name": "cpu"}}]
    assert redirected(spec(metrics=cpu), NEW) == {"scaleTargetRef": TARGET | {"name": NEW}}


def test_a_query_names_the_new_deployment_and_no_deployment_with_a_longer_name() -> None:
    query = 'sum(q{deployment="emb-v1-predictor"}) + sum(q{deployment="my-emb-v1-predictor"})'
    (trigger,) = redirected(spec(triggers=[{"metadata": {"query": query}}]), NEW)["triggers"]
    assert trigger["metadata"]["query"] == (
        'sum(q{deployment="emb-v2-predictor"}) + sum(q{deployment="my-emb-v1-predictor"})'
    )


def test_an_external_metric_selects_the_new_deployment() -> None:
    metric = {"name": "tokens", "selector": {"matchLabels": {"deployment": OLD}}}
    (changed,) = redirected(spec(metrics=[{"external": {"metric": metric}}]), NEW)["metrics"]
    assert changed["external"]["metric"]["selector"] == {"matchLabels": {"deployment": NEW}}
