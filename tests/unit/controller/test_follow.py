"""An autoscaler follows a promotion with its query and its selector, not only with its target."""

from typing import Any

from predictor.controller.standard import follow

OLD, NEW = "emb-v1-predictor", "emb-v2-predictor"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": OLD}


def spec(**more: Any) -> dict[str, Any]:
    return {"spec": {"scaleTargetRef": TARGET, **more}}


def test_a_scaler_on_cpu_changes_its_target_only() -> None:
    cpu = [{"type": "Resource", "resource": {"name": "cpu"}}]
    assert follow(spec(metrics=cpu), NEW) == {"spec": {"scaleTargetRef": TARGET | {"name": NEW}}}


def test_a_query_names_the_new_deployment_and_no_longer_one() -> None:
    query = 'sum(q{deployment="emb-v1-predictor"}) + sum(q{deployment="my-emb-v1-predictor"})'
    (trigger,) = follow(spec(triggers=[{"metadata": {"query": query}}]), NEW)["spec"]["triggers"]
    assert trigger["metadata"]["query"] == (
        'sum(q{deployment="emb-v2-predictor"}) + sum(q{deployment="my-emb-v1-predictor"})'
    )


def test_an_external_metric_selects_the_new_deployment() -> None:
    metric = {"name": "tokens", "selector": {"matchLabels": {"deployment": OLD}}}
    (found,) = follow(spec(metrics=[{"external": {"metric": metric}}]), NEW)["spec"]["metrics"]
    assert found["external"]["metric"]["selector"] == {"matchLabels": {"deployment": NEW}}
