"""Figures, and the one table that they end in. Every figure names its unit.

A figure is the median of its samples, one a round. A ratio is the ratio of two medians. A figure
whose load met errors is printed as invalid: a server that refuses is fast.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

OURS = "ours"
OURS_INT8 = "ours, int8"
INFINITY = "Infinity"
NAIVE_ORT = "naive ORT"
NAIVE_ST = "naive ST"
IN_PROCESS = "no server"
COLUMNS = (OURS, OURS_INT8, INFINITY, NAIVE_ORT, NAIVE_ST, IN_PROCESS)


def log(line: str) -> None:
    """Progress goes to stderr: stdout is the table."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


def number(value: float) -> str:
    """A value as tables show it: three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Figure:
    samples: tuple[float, ...]
    errors: int = 0

    @property
    def median(self) -> float:
        return median(self.samples)

    def over(self, other: "Figure") -> "Figure":
        """The ratio of the medians."""
        quotient = self.median / other.median if other.median else math.nan
        return Figure((quotient,), self.errors + other.errors)

    def __str__(self) -> str:
        if self.errors:
            return f"invalid ({self.errors} errors)"
        return number(self.median)


@dataclass(frozen=True)
class TableRow:
    """One line: what was measured, in which unit, and the figure of each column that has one."""

    section: str
    name: str
    unit: str
    figures: Mapping[str, Figure]


@dataclass
class PeerReport:
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: list[TableRow] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    busy_cores: float = 0.0

    @property
    def valid(self) -> bool:
        figures = [figure for row in self.rows for figure in row.figures.values()]
        return not self.failures and not any(figure.errors for figure in figures)

    def table(self) -> str:
        head = [["section", "figure", "unit", *COLUMNS]]
        body = [
            [r.section, r.name, r.unit, *(str(r.figures.get(c, "")) for c in COLUMNS)]
            for r in self.rows
        ]
        lines = [
            f"CPU: {self.machine['cpu']}, {self.machine['cores']} cores, "
            f"{' '.join(self.machine['instruction_sets'])}",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"other processes before the sections: at most {self.busy_cores:.2f} cores busy",
            "",
            *aligned(head + body, left=3),
        ]
        lines += [f"{name} did not run: {why}" for name, why in self.failures.items()]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        rows = [
            {
                "section": row.section,
                "figure": row.name,
                "unit": row.unit,
                "values": {
                    column: {
                        "median": figure.median,
                        "samples": figure.samples,
                        "errors": figure.errors,
                    }
                    for column, figure in row.figures.items()
                },
            }
            for row in self.rows
        ]
        whole = {
            "machine": self.machine,
            "versions": self.versions,
            "busy_cores_before": self.busy_cores,
            "rows": rows,
            "failures": self.failures,
        }
        path.write_text(json.dumps(whole, indent=2) + "\n")


def aligned(cells: Sequence[Sequence[str]], left: int) -> Iterable[str]:
    """A Markdown table that reads as well unrendered; from the column `left` on to the right."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]

    def line(row: Sequence[str]) -> str:
        texts = [cell.ljust(width) for cell, width in zip(row[:left], widths[:left], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[left:], widths[left:], strict=True)]
        return f"| {' | '.join(texts + numbers)} |"

    yield line(cells[0])
    rules = [
        "-" * (width + 2) if i < left else "-" * (width + 1) + ":" for i, width in enumerate(widths)
    ]
    yield f"|{'|'.join(rules)}|"
    yield from map(line, cells[1:])
