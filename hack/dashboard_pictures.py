"""Draw the dashboards out of hack/panels.toml from a real Prometheus, one picture each.

Asks what Grafana would ask and draws what it would show, roughly as it would, into
charts/embedding-runtime/docs; hack/dashboard_scene.py makes a Prometheus worth drawing. A panel
without data says why. Prints each panel that a query failed for; exit code 1 then.
"""

import argparse
import io
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from itertools import chain, repeat
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from panels import DASHBOARDS, Dashboard, Panel
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "charts/embedding-runtime/docs"
COLUMNS, DPI = 24, 80
HEIGHTS = {"timeseries": 2.4, "stat": 1.1, "table": 1.9}
HEADING = 0.25  # of a row of panels; inches, as the heights are
ROWS = 8  # most of a table
COLOURS = {"red": "#c4162a", "orange": "#e0752d", "green": "#37872d"}
GREY = "#808080"
Series = dict[str, Any]


class Prometheus:
    """Its HTTP API, over one span of time."""

    def __init__(self, url: str, minutes: float, end: float, deployment: str) -> None:
        self.url, self.start, self.end = url, end - minutes * 60, end
        self.deployment = deployment
        self.step = max(2.0, minutes * 60 / 200)

    def series(self, query: str, *, instant: bool) -> list[Series]:
        """Raises OSError where it does not answer or refuses the query."""
        query = query.replace("$__rate_interval", f"{max(30, int(4 * self.step))}s")
        query = query.replace("$deployment", self.deployment)
        query = re.sub(r"\$(namespace|model|version|rollout)\b", ".*", query)
        asked: dict[str, Any] = {"query": query}
        asked |= (
            {"time": self.end}
            if instant
            else {"start": self.start, "end": self.end, "step": self.step}
        )
        route = "query" if instant else "query_range"
        address = f"{self.url}/api/v1/{route}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            told = json.load(answer)["data"]["result"]
        return sorted(told, key=lambda one: json.dumps(one["metric"], sort_keys=True))


def shown(value: float, unit: str) -> str:
    """As Grafana writes it."""
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    if unit == "bytes":
        for power, name in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
            if abs(value) >= 1024**power:
                return f"{value / 1024**power:.3g} {name}"
        return f"{value:.3g} B"
    suffix = {"reqps": " req/s", "ops": " /s"}.get(unit, "")
    if abs(value) >= 1000:
        return f"{value / 1000:.3g} K{suffix}"
    return f"{value:.6g}{suffix}" if unit == "short" else f"{value:.3g}{suffix}"


def named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


def colour_of(value: float, panel: Panel) -> str:
    name = "green"
    for bound, colour in panel.steps:
        if value >= bound:
            name = colour
    return COLOURS[name]


def with_gaps(
    times: list[float], values: list[float], longest: float
) -> tuple[list[float], list[float]]:
    """With a hole wherever nothing was for longer than that."""
    made: list[tuple[float, float]] = []
    for at, value in zip(times, values, strict=True):
        if made and at - made[-1][0] > longest:
            made.append((at, float("nan")))
        made.append((at, value))
    return [at for at, _ in made], [value for _, value in made]


class Line(NamedTuple):
    """Minutes from the start, and values; a limit is drawn as such."""

    name: str
    minutes: list[float]
    values: list[float]
    is_limit: bool


def lines_of(panel: Panel, prometheus: Prometheus) -> list[Line]:
    lines = []
    for legend, query in panel.queries:
        for one in prometheus.series(query, instant=False):
            minutes = [(at - prometheus.start) / 60 for at, _ in one["values"]]
            values = [float(value) for _, value in one["values"]]
            if not panel.stacked:
                minutes, values = with_gaps(minutes, values, 1.5 * prometheus.step / 60)
            name = named(legend, one["metric"])
            lines.append(Line(name, minutes, values, legend in panel.dashed))
    return lines


def stack(axes: Axes, lines: list[Line]) -> None:
    grid = sorted({at for line in lines for at in line.minutes})
    known = [dict(zip(line.minutes, line.values, strict=True)) for line in lines]
    rows = [[values.get(at, 0.0) for at in grid] for values in known]
    axes.stackplot(grid, rows, labels=[line.name for line in lines], alpha=0.7)


def draw_lines(axes: Axes, panel: Panel, prometheus: Prometheus) -> int:
    """Returns how many series there are, limits not counted."""
    lines = lines_of(panel, prometheus)
    if panel.stacked and lines:
        stack(axes, lines)
    else:
        for line in lines:
            style = {"linestyle": "--", "color": GREY} if line.is_limit else {}
            axes.plot(line.minutes, line.values, label=line.name, linewidth=1, **style)
    shape(axes, panel, lines)
    axes.set_xlim(0, (prometheus.end - prometheus.start) / 60)
    if lines:
        axes.legend(
            ncols=max(1, min(len(lines), panel.width // 4)), fontsize=6, frameon=False,
            loc="upper center", bbox_to_anchor=(0.5, -0.12), columnspacing=1, handlelength=1.5,
        )  # fmt: skip
    return sum(not line.is_limit for line in lines)


def shape(axes: Axes, panel: Panel, lines: list[Line]) -> None:
    """Scale, limits and marks."""
    if panel.from_zero:
        top = max((v for line in lines for v in line.values if not isnan(v)), default=0.0)
        axes.set_ylim(0, None if top > 0 else 1)
    if panel.logarithmic:
        axes.set_yscale("symlog", linthresh=1)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    if panel.maximum is not None:
        axes.set_ylim(top=panel.maximum)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    axes.tick_params(labelsize=7, length=2)
    axes.grid(visible=True, linewidth=0.3)


def draw_stat(axes: Axes, panel: Panel, prometheus: Prometheus) -> int:
    ((legend, query),) = panel.queries
    found = prometheus.series(query, instant=True)
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    for place, one in enumerate(found):
        x, value = (place + 0.5) / len(found), float(one["value"][1])
        colour = colour_of(value, panel)
        axes.text(x, 0.6, shown(value, panel.unit), fontsize=13, color=colour, **centred)
        axes.text(x, 0.2, named(legend, one["metric"]), fontsize=6.5, **centred)
    axes.axis("off")
    return len(found)


def draw_table(axes: Axes, panel: Panel, prometheus: Prometheus) -> int:
    ((_, query),) = panel.queries
    found = prometheus.series(query, instant=True)
    found.sort(key=lambda one: one["metric"].get("alertstate", ""))  # firing before pending
    cells = [one["metric"] | {"pods": one["value"][1]} for one in found]
    rows = [[of_one.get(name, "") for name in panel.columns] for of_one in cells]
    if len(rows) > ROWS:
        more = f"and {len(rows) - ROWS + 1} more"
        rows[ROWS - 1 :] = [[more, *("" for _ in panel.columns[1:])]]
    axes.axis("off")
    if rows:
        table = axes.table(
            rows, colLabels=panel.columns, loc="upper left", cellLoc="left", edges="horizontal"
        )
        table.auto_set_font_size(value=False)
        table.set_fontsize(7)
        table.auto_set_column_width(list(range(len(panel.columns))))
    return len(rows)


DRAW = {"timeseries": draw_lines, "stat": draw_stat, "table": draw_table}


def side_by_side(panels: tuple[Panel, ...]) -> list[list[Panel]]:
    """As many as are as wide as the dashboard."""
    lines: list[list[Panel]] = [[]]
    for panel in panels:
        if sum(one.width for one in lines[-1]) + panel.width > COLUMNS:
            lines.append([])
        lines[-1].append(panel)
    return lines


def draw(figure: Figure, panel: Panel, x: int, y: float, prometheus: Prometheus) -> str:
    """One panel, its upper left corner at column x and y inches; what went wrong, or nothing."""
    total, height = figure.get_figheight(), HEIGHTS[panel.kind]
    has_axes = panel.kind == "timeseries"
    below, left, less = (0.85, 1.3, 1.6) if has_axes else (0.1, 0.5, 0.8)
    bottom, inner = 1 - (y + height - below) / total, (height - below - 0.3) / total
    box = ((x + left) / COLUMNS, bottom, (panel.width - less) / COLUMNS, inner)
    axes = figure.add_axes(box)
    axes.set_title(panel.title, fontsize=8, loc="left", weight="bold")
    try:
        if not DRAW[panel.kind](axes, panel, prometheus):
            words = panel.empty or "no data"
            centre = {"transform": axes.transAxes, "ha": "center"}
            axes.text(0.5, 0.5, words, color=GREY, fontsize=8, **centre)
    except OSError as error:
        return f"{panel.title}: {error}"
    return ""


def picture(board: Dashboard, prometheus: Prometheus) -> tuple[bytes, list[str]]:
    """PNG of a dashboard, and the panels that a query failed for."""
    rows = [
        (title if first else "", line)
        for title, panels in board.rows.items()
        for first, line in zip(chain([True], repeat(False)), side_by_side(panels), strict=False)
    ]
    height = 0.5 + sum(
        (HEADING if title else 0) + max(HEIGHTS[panel.kind] for panel in line)
        for title, line in rows
    )
    figure = plt.figure(figsize=(14, height), dpi=DPI)
    heading: dict[str, Any] = {"weight": "bold", "va": "center"}
    words = f"{board.title} (time in minutes)"
    figure.text(0.02, 1 - 0.25 / height, words, fontsize=12, **heading)
    y, failed = 0.5, []
    for title, line in rows:
        if title:
            figure.text(0.02, 1 - (y + 0.1) / height, title, fontsize=9, color=GREY, **heading)
            y += HEADING
        x = 0
        for panel in line:
            failed.append(draw(figure, panel, x, y, prometheus))
            x += panel.width
        y += max(HEIGHTS[panel.kind] for panel in line)
    kept = io.BytesIO()
    figure.savefig(kept, format="png")
    plt.close(figure)
    return small(kept.getvalue()), [f"{board.name}: {words}" for words in failed if words]


def small(png: bytes) -> bytes:
    """The same with few colours: a picture of lines and letters needs no more."""
    made = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(96, method=Image.Quantize.MAXCOVERAGE).save(
            made, format="PNG", optimize=True
        )
    return made.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", required=True, help="URL of a Prometheus")
    parser.add_argument("--minutes", type=float, default=60.0, help="how much of the past to draw")
    parser.add_argument(
        "--end", type=float, default=time.time(), help="until when, Unix seconds; now"
    )
    names = [board.name for board in DASHBOARDS]
    parser.add_argument("--board", choices=names, help="draw this one alone; all")
    parser.add_argument("--deployment", default=".*", help="whose model to draw; all")
    arguments = parser.parse_args()
    mpl.use("Agg")
    failed = []
    FOLDER.mkdir(exist_ok=True)
    for board in DASHBOARDS:
        if arguments.board not in (None, board.name):
            continue
        deployment = arguments.deployment if board.name == "model" else ".*"
        asked = Prometheus(arguments.prometheus, arguments.minutes, arguments.end, deployment)
        png, of_board = picture(board, asked)
        (FOLDER / f"{board.name}.png").write_bytes(png)
        failed += of_board
    sys.stderr.writelines(f"{line}\n" for line in failed)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
