"""The dashboards: made from the panels, whole, and every query one that Prometheus takes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.charts import helm, promtool
from tests.charts.test_metrics import DASHBOARDS, panels, queries
from tests.deadlines import DEADLINE_S

NAMES = [path.name for path in DASHBOARDS]
# Grafana's words; anything else would be written behind the number as it is.
CHOSEN = {"namespace", "deployment"}
UNITS = {"s", "bytes", "percentunit", "reqps", "ops", "short"}
ALL = pytest.mark.parametrize("path", DASHBOARDS, ids=NAMES)


def board(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def run(*arguments: str, folder: Path = helm.ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / "hack/dashboards.py"), *arguments],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip


def test_there_are_three_dashboards() -> None:
    assert NAMES == ["model.json", "overview.json", "rollout.json"]


def test_they_are_what_the_panels_give() -> None:
    done = run("--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_dashboard_is_named(tmp_path: Path) -> None:
    """A file that was changed by hand, one that is missing, one that is too many: a line each."""
    (tmp_path / "hack").mkdir()
    for name in ("dashboards.py", "panels.py", "panels.toml"):
        (tmp_path / "hack" / name).write_text((helm.ROOT / "hack" / name).read_text())
    folder = tmp_path / "charts/embedding-runtime/files/dashboards"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    (folder / "old.json").write_text("{}")
    done = run("--check", folder=tmp_path)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()] == [
        "model.json", "old.json", "overview.json", "rollout.json",
    ]  # fmt: skip
    assert (folder / "model.json").read_text() == "{}"
    assert run(folder=tmp_path).returncode == 0
    assert {path.name for path in folder.iterdir()} == set(NAMES)
    assert run("--check", folder=tmp_path).returncode == 0


@ALL
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard = board(path)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 0
    assert dashboard["uid"] == f"predictor-{path.stem}"
    for panel in (panel for panel in dashboard["panels"] if panel["type"] != "row"):
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)), panel["title"]


@ALL
def test_panels_do_not_overlap(path: Path) -> None:
    covered: set[tuple[int, int]] = set()
    for panel in board(path)["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & covered, panel["title"]
        covered |= cells


@ALL
def test_every_query_heeds_the_variables(path: Path) -> None:
    """Else a panel would show other models than the ones that are chosen."""
    dashboard = board(path)
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {"datasource", "namespace", "deployment"} <= names
    for panel in (panel for panel in dashboard["panels"] if panel["type"] != "row"):
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            query = target["expr"]
            used = set(re.findall(r"[$](\w+)", query)) - {"__rate_interval"}
            assert used <= names, panel["title"]
            if query != "vector(1)":
                assert query.count("{namespace=~") + query.count(', namespace=~"') >= 1
                required = {"namespace"} if "predictor_rollout_" in query else CHOSEN
                assert required <= used, panel["title"]


@ALL
def test_a_legend_names_labels_that_the_query_keeps(path: Path) -> None:
    """A label that was summed away would be empty in every legend."""
    for panel in (panel for panel in board(path)["panels"] if panel["type"] == "timeseries"):
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            (outer, *_) = re.findall(r"by \(([^)]*)\)", target["expr"]) or ["namespace, deployment"]
            assert named <= {name.strip() for name in outer.split(",")}, panel["title"]


def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    if reason := promtool.why_not():
        pytest.skip(reason)
    records = []
    for number, (_, query) in enumerate(queries()):
        whole = query.replace("$__rate_interval", "5m")
        records.append({"record": f"query:{number}", "expr": re.sub(r"[$]\w+", ".*", whole)})
    assert len(records) > 100
    output = promtool.check(tmp_path, {"groups": [{"name": "queries", "rules": records}]})
    assert f"{len(records)} rules found" in output


REQUIRED_PANELS = {
    "overview.json": {
        "Availability", "Error budget left", "Latency budget left", "Alerts", "Requests",
        "Errors by code", "Latency p99", "Queued tokens", "Refused", "Canonical cosine",
        "Drift alarms", "Versions", "GPU busy", "GPU memory",
    },
    "model.json": {
        "Latency p50", "Latency p95", "Latency p99", "Stages p99", "Batch fill", "Padding",
        "Tokens", "Cache hits", "Memory", "Event loop lag p99", "Canonical cosine",
        "Drift score", "Loads", "Restarts", "GPU busy", "GPU memory",
    },
    "rollout.json": {
        "Phase", "Weight", "Last analysis", "Share of requests", "Errors of each", "p99 of each",
        "Ready pods", "Leading",
    },
}  # fmt: skip


@ALL
def test_what_people_look_for_is_there(path: Path) -> None:
    titles = {panel["title"] for name, panel in panels() if name == path.name}
    assert titles >= REQUIRED_PANELS[path.name]


def test_a_dashboard_comes_unchanged_into_its_config_map() -> None:
    objects = helm.template(helm.RUNTIME, "dashboards.enabled=true", "dashboards.namespace=grafana")
    maps = helm.of_kind(objects, "ConfigMap")
    assert len(maps) == len(DASHBOARDS)
    for config_map, path in zip(maps, DASHBOARDS, strict=True):
        assert config_map["metadata"]["namespace"] == "grafana"
        assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config_map["data"][path.name] == path.read_text(encoding="utf-8")


def test_the_package_carries_the_dashboards_and_the_runbook(tmp_path: Path) -> None:
    output = helm.run("package", str(helm.CHARTS / helm.RUNTIME), "--destination", str(tmp_path))
    (package,) = tmp_path.iterdir()
    listed = subprocess.run(
        ["tar", "-tzf", str(package)], capture_output=True, text=True, check=True
    ).stdout
    assert "embedding-runtime/RUNBOOK.md" in listed, output
    for path in DASHBOARDS:
        assert f"/{path.name}" in listed
