"""Every metric and label that a chart names is one that the server has."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from predictor import metrics
from predictor.controller import metrics as rollouts
from tests.charts import helm

# Of Prometheus itself.
FOREIGN = {"up", "ALERTS"}
# What the alerts have beyond labels of series.
OF_ALERTS = {"alertname", "alertstate", "severity"}
DASHBOARDS = sorted((helm.CHARTS / helm.RUNTIME / "files/dashboards").glob("*.json"))
# What may stand in a query and is no metric.
STRING = re.compile(r'"[^"]*"')
LABELS = re.compile(r"\{[^}]*\}|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
WINDOW = re.compile(r"\[[^\]]*\]")
NAME = re.compile(r"\b[A-Za-z_][A-Za-z0-9_:]*\b(?!\s*\()")
OPERATORS = {"and", "or", "unless", "bool", "offset"}
PLAIN = re.compile(r"\bpredictor_[a-z0-9_]+")


def exported() -> set[str]:
    """Every name on /metrics, of the server and of the rollout controller, and of the process."""
    assert metrics.REQUESTS  # imported, hence registered
    assert rollouts.PHASE
    names = set(FOREIGN)
    for family in REGISTRY.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        names |= {family.name + ending for ending in endings.get(family.type, [""])}
    return names


def rules() -> list[Any]:
    """Of all groups."""
    made = helm.only(helm.template(helm.RUNTIME, "rules.enabled=true"), "PrometheusRule")
    return [rule for group in made["spec"]["groups"] for rule in group["rules"]]


def recorded() -> set[str]:
    """The names that recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def named(query: str) -> set[str]:
    """The metrics of a PromQL query."""
    bare = WINDOW.sub("", LABELS.sub("", STRING.sub("", query)))
    return set(NAME.findall(bare)) - OPERATORS


def label_names(query: str) -> set[str]:
    """The labels that a query matches or groups by."""
    grouped = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", query)
    matched = re.findall(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"', query)
    return {name.strip() for part in grouped for name in part.split(",")} | set(matched)


def panels() -> Iterator[tuple[str, Any]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            if panel["type"] != "row":
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
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    address = "autoscaling.queue.serverAddress=http://prometheus:9090"
    scaled = helm.template(helm.MODEL, "autoscaling.mode=queue", address)
    trigger = helm.only(scaled, "ScaledObject")["spec"]["triggers"][0]
    yield "ScaledObject", trigger["metadata"]["query"]
    hpa = helm.only(
        helm.template(helm.MODEL, "autoscaling.mode=external"), "HorizontalPodAutoscaler"
    )
    yield "external", hpa["spec"]["metrics"][0]["external"]["metric"]["name"]


def test_every_metric_that_is_named_exists() -> None:
    known, used = exported() | recorded(), set()
    for place, query in queries():
        assert named(query) or query == "vector(1)", place
        assert named(query) <= known, place
        used |= named(query)
    assert {"predictor_requests_total", "predictor_queue_tokens", "up"} <= used
    assert used & recorded()


def test_what_is_recorded_is_used() -> None:
    """By an alert, a panel or another record: what nobody asks for costs for nothing."""
    used = {name for _, query in queries() for name in named(query)}
    assert recorded() <= used


def test_every_metric_that_is_mentioned_exists() -> None:
    """In the texts of alerts and panels, and in the runbook: by its family's name or a sample's."""
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported()}
    known = families | exported()
    texts = [(panel["title"], panel["description"]) for _, panel in panels()]
    texts += [
        (rule["alert"], text) for rule in rules() for text in rule.get("annotations", {}).values()
    ]
    texts.append(("RUNBOOK.md", (helm.CHARTS / helm.RUNTIME / "RUNBOOK.md").read_text()))
    records = "|".join(re.escape(name) for name in recorded())
    for place, text in texts:
        assert set(PLAIN.findall(re.sub(records, "", text))) <= known, place


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('sum by (a, b) (rate(x_total{c=~"5.."}[5m])) / sum(y) > 0.01', {"x_total", "y"}),
        ("histogram_quantile(0.9, sum by (le) (rate(z_bucket[$__rate_interval])))", {"z_bucket"}),
        ("a:b_c:rate5m / on (d) group_left () (e and f > 0)", {"a:b_c:rate5m", "e", "f"}),
    ],
)  # fmt: skip
def test_names_are_read_out_of_queries(query: str, names: set[str]) -> None:
    assert named(query) == names


def test_every_label_that_is_used_exists() -> None:
    """The server's own labels, and those that the ServiceMonitor and Prometheus add."""
    added = {"namespace", "deployment", "pod", "job", "le"}
    exported_labels = {
        name
        for metric in (*vars(metrics).values(), *vars(rollouts).values())
        for name in getattr(metric, "_labelnames", ())
    }  # fmt: skip
    for place, query in queries():
        allowed = exported_labels | added | (OF_ALERTS if "ALERTS" in query else set())
        assert label_names(query) <= allowed, place
