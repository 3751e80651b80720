"""What panels.toml holds, as objects."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("panels.toml")
# What stands for more in its queries. The longer name first: PODS is a part of VERSIONS.
PODS = 'namespace=~"$namespace", deployment=~"$deployment"'
MEANINGS = {
    "VERSIONS": f'{PODS}, model=~"$model", version=~"$version"',
    "PODS": PODS,
    "RATE": "$__rate_interval",
}


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        text: what it shows and what that means, for the reader of the dashboard.
        unit: Grafana's word for it.
        queries: pairs of legend and PromQL.
        kind: timeseries, stat (the latest value), or table (the latest labels and values).
        width: of 24 columns.
        logarithmic: from 1 on.
        steps: from which value on which colour.
        dashed: legends that are limits, drawn as such.
        columns: of a table, its labels; `pods` is the value.
        empty: why there may be nothing to see.
    """

    title: str
    text: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    from_zero: bool = True
    logarithmic: bool = False
    maximum: float | None = None
    steps: tuple[tuple[float, str], ...] = ()
    dashed: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    empty: str = ""


@dataclass(frozen=True)
class Dashboard:
    """`name` is the file's. variables: name, and the series whose labels are its values."""

    name: str
    title: str
    variables: tuple[tuple[str, str], ...]
    rows: dict[str, tuple[Panel, ...]]


def meant(text: str) -> str:
    """A query as Grafana gets it."""
    for name, meaning in MEANINGS.items():
        text = text.replace(name, meaning)
    return text.strip()


def panel(content: dict[str, Any], shared: dict[str, dict[str, Any]]) -> Panel:
    """Raises KeyError or TypeError where a name is wrong."""
    if "use" in content:
        content = shared[content["use"]]
    queries = tuple((legend, meant(query)) for legend, query in content["queries"])
    lists = ("steps", "dashed", "columns")
    tuples = {key: tuple(content[key]) for key in lists if key in content}
    return Panel(**{**content, **tuples, "queries": queries})


def read() -> tuple[Dashboard, ...]:
    content = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    shared = {entry["title"]: entry for entry in content["shared"]}
    return tuple(
        Dashboard(
            name,
            board["title"],
            tuple((variable, meant(series)) for variable, series in board["variables"]),
            {row: tuple(panel(entry, shared) for entry in ps) for row, ps in board["rows"].items()},
        )
        for name, board in content["dashboards"].items()
    )


DASHBOARDS = read()
