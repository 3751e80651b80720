"""Every metric that a chart names is one that the server has, and the dashboards are whole."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from predictor import metrics
from tests.charts import helm

# Of Prometheus itself.
FOREIGN = {"up"}
DASHBOARDS = sorted((helm.CHARTS / helm.RUNTIME / "files/dashboards").glob("*.json"))
# What may stand in a query and is no metric.
STRING = re.compile(r'"[^"]*"')
LABELS = re.compile(r"\{[^}]*\}|\b(?:by|without|on|ignoring)\s*\([^)]*\)")
WINDOW = re.compile(r"\[[^\]]*\]")
NAME = re.compile(r"\b[a-z_][a-z0-9_:]*\b(?!\s*\()")


def exported() -> set[str]:
    """Every name on /metrics: those of predictor/metrics.py and of the process."""
    assert metrics.REQUESTS  # imported, hence registered
    names = set(FOREIGN)
    for family in REGISTRY.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        names |= {family.name + ending for ending in endings.get(family.type, [""])}
    return names


def named(query: str) -> set[str]:
    """The metrics of a PromQL query."""
    bare = WINDOW.sub("", LABELS.sub("", STRING.sub("", query)))
    return {name for name in NAME.findall(bare) if not name.isdigit()}


def label_names(query: str) -> set[str]:
    """The labels that a query matches or groups by."""
    grouped = re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", query)
    matched = re.findall(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"', query)
    return {name.strip() for part in grouped for name in part.split(",")} | set(matched)


def panels() -> Iterator[tuple[str, Any]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            yield path.name, panel


def queries() -> Iterator[tuple[str, str]]:
    """Where it stands, and the query: dashboards, alerts, ScaledObject, HorizontalPodAutoscaler."""
    for _, panel in panels():
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]:
            if variable["type"] == "query":
                inner = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
                assert inner
                yield variable["name"], inner[1]
    rules = helm.only(helm.template(helm.RUNTIME, "rules.enabled=true"), "PrometheusRule")
    for rule in rules["spec"]["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]
    address = "autoscaling.queue.serverAddress=http://prometheus:9090"
    scaled = helm.template(helm.MODEL, "autoscaling.mode=queue", address)
    trigger = helm.only(scaled, "ScaledObject")["spec"]["triggers"][0]
    yield "ScaledObject", trigger["metadata"]["query"]
    hpa = helm.only(
        helm.template(helm.MODEL, "autoscaling.mode=external"), "HorizontalPodAutoscaler"
    )
    yield "external", hpa["spec"]["metrics"][0]["external"]["metric"]["name"]


def test_every_metric_that_is_named_exists() -> None:
    known, seen = exported(), set()
    for place, query in queries():
        assert named(query), place
        assert named(query) <= known, place
        seen |= named(query)
    assert {"predictor_requests_total", "predictor_queue_tokens", "up"} <= seen


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ('sum by (a, b) (rate(x_total{c=~"5.."}[5m])) / sum(y) > 0.01', {"x_total", "y"}),
        ("histogram_quantile(0.9, sum by (le) (rate(z_bucket[$__rate_interval])))", {"z_bucket"}),
    ],
)  # fmt: skip
def test_names_are_read_out_of_queries(query: str, wanted: set[str]) -> None:
    assert named(query) == wanted


def test_every_label_that_is_used_exists() -> None:
    """The server's own labels, and those that the ServiceMonitor and Prometheus add."""
    added = {"namespace", "deployment", "pod", "job", "le"}
    own = {
        name
        for metric in vars(metrics).values()
        for name in getattr(metric, "_labelnames", ())
    }  # fmt: skip
    for place, query in queries():
        assert label_names(query) <= own | added, place


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 0
    assert dashboard["uid"]
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)), panel["title"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_panels_do_not_overlap(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_what_people_look_for_is_on_the_dashboard() -> None:
    titles = {panel["title"] for _, panel in panels()}
    assert titles >= {
        "Requests", "Errors", "Latency", "Queued tokens", "Batch fill", "Cache hits", "Versions",
        "Memory",
    }  # fmt: skip


def test_a_dashboard_comes_unchanged_into_its_config_map() -> None:
    objects = helm.template(helm.RUNTIME, "dashboards.enabled=true", "dashboards.namespace=grafana")
    maps = helm.of_kind(objects, "ConfigMap")
    assert len(maps) == len(DASHBOARDS)
    for found, path in zip(maps, DASHBOARDS, strict=True):
        assert found["metadata"]["namespace"] == "grafana"
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["data"][path.name] == path.read_text(encoding="utf-8")
