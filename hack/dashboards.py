"""Write the Grafana dashboards of charts/embedding-runtime, out of hack/panels.toml.

`--check` writes nothing: one line a file that is not what the panels give, exit code 1 if there is
one. Run by hack/verify.sh, from any folder. Nothing but the standard library.
"""

import argparse
import json
import sys
from math import inf
from pathlib import Path
from typing import Any

from panels import DASHBOARDS, Dashboard, Panel

FOLDER = Path(__file__).resolve().parents[1] / "charts/embedding-runtime/files/dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
HEIGHT = {"timeseries": 8, "stat": 5, "table": 6}
COLUMNS = 24
LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True}
Json = dict[str, Any]


def variable(name: str, query: str) -> Json:
    """A choice of label values; all of them at first."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({query}, {name})", "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def target(panel: Panel, place: int, legend: str, query: str) -> Json:
    made = {"refId": "ABCDEF"[place], "expr": query, "legendFormat": legend}
    if panel.kind == "table":
        return made | {"format": "table", "instant": True}
    if panel.kind == "stat":
        return made | {"instant": True}
    # The server's histograms carry traces where tracing is on.
    return made | ({"exemplar": True} if "predictor_request_seconds_bucket" in query else {})


def defaults(panel: Panel) -> Json:
    """Unit, limits, colours and lines of all its series."""
    made: Json = {"unit": panel.unit}
    if panel.from_zero and panel.kind == "timeseries":
        made["min"] = 0
    if panel.maximum is not None:
        made["max"] = panel.maximum
    if panel.empty:
        made["noValue"] = panel.empty
    if panel.steps:
        steps = [
            {"value": None if value == -inf else value, "color": colour}
            for value, colour in panel.steps
        ]
        made["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "timeseries":
        made["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
        }
        if panel.logarithmic:
            scale = {"type": "symlog", "log": 10, "linearThreshold": 1}
            made["custom"]["scaleDistribution"] = scale
        if panel.stacked:
            made["custom"]["stacking"] = {"mode": "normal", "group": "A"}
    return made


def limits(panel: Panel) -> list[Json]:
    """Overrides of the queries whose series are limits: grey and dashed."""
    ids = [target["refId"] for target in targets(panel) if target["legendFormat"] in panel.dashed]
    style = {"fill": "dash", "dash": [6, 6]}
    properties = [
        {"id": "custom.lineStyle", "value": style},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "#808080"}},
        {"id": "custom.fillOpacity", "value": 0},
    ]
    return [
        {"matcher": {"id": "byFrameRefID", "options": i}, "properties": properties} for i in ids
    ]


def targets(panel: Panel) -> list[Json]:
    return [target(panel, place, *query) for place, query in enumerate(panel.queries)]


def options(panel: Panel) -> Json:
    if panel.kind == "stat":
        calculated = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {
            "reduceOptions": calculated,
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "value_and_name",
        }
    if panel.kind == "table":
        return {"showHeader": True}
    return {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}}


def organized(panel: Panel) -> list[Json]:
    """Of a table: its columns in order, and nothing else."""
    names = ["Value" if column == "pods" else column for column in panel.columns]
    return [
        {"id": "filterFieldsByName", "options": {"include": {"names": names}}},
        {
            "id": "organize",
            "options": {
                "indexByName": {name: place for place, name in enumerate(names)},
                "renameByName": {"Value": "pods"},
            },
        },
    ]


def drawn(panel: Panel, number: int, x: int, y: int) -> Json:
    """A panel as Grafana has it."""
    made = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT[panel.kind]},
        "fieldConfig": {"defaults": defaults(panel), "overrides": limits(panel)},
        "options": options(panel),
        "targets": targets(panel),
    }
    return made | ({"transformations": organized(panel)} if panel.columns else {})


def placed(dashboard: Dashboard) -> list[Json]:
    """All panels from left to right, each row below a heading."""
    made: list[Json] = []
    y = 0
    for title, panels in dashboard.rows.items():
        grid = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": grid,
                "panels": [],
            }
        )
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            made.append(drawn(panel, len(made) + 1, x, y))
            x, height = x + panel.width, max(height, HEIGHT[panel.kind])
        y += height
    return made


def grafana(dashboard: Dashboard) -> Json:
    """The whole of it."""
    source = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }
    link = {
        "type": "dashboards",
        "title": "Embedding models",
        "tags": ["predictor"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "icon": "external link",
    }
    return {
        "uid": f"predictor-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["predictor", "kserve"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [link],
        "templating": {"list": [source, *(variable(*pair) for pair in dashboard.variables)]},
        "annotations": {"list": []},
        "panels": placed(dashboard),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, report what is stale")
    check = parser.parse_args(arguments).check
    made = {
        f"{board.name}.json": json.dumps(grafana(board), indent=1) + "\n" for board in DASHBOARDS
    }
    existing = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    stale = sorted(
        name for name in made.keys() | existing.keys() if made.get(name) != existing.get(name)
    )
    if check:
        sys.stderr.writelines(f"{name} is stale: run hack/dashboards.py\n" for name in stale)
        return int(bool(stale))
    for name in stale:
        (FOLDER / name).unlink(missing_ok=True)
        if name in made:
            (FOLDER / name).write_text(made[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
