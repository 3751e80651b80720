"""`predictor drift report`: compare windows of traffic with the reference of a version."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from predictor.cli.arguments import examples
from predictor.cli.plots import drift_plot, figure
from predictor.cli.reports.table import table
from predictor.drift import (
    BadSketch,
    DriftReference,
    Finding,
    Sketch,
    compare,
    reference_from_bytes,
    sketch_from_bytes,
)
from predictor.errors import BadSetting

EXAMPLES = """
REFERENCE and WINDOW are files that a server wrote. The windows of several pods are merged.

examples:
  predictor drift report reference.json window.json
  predictor drift report reference.json pod-*.json --plot drift.png

exit code: 0; 1 if a test found drift.
"""
LABELS = {
    "lengths": "token lengths",
    "truncated": "truncated",
    "unknown": "unknown tokens",
    "scripts": "scripts",
    "broken": "no vector",
    "norms": "norms",
    "direction": "mean direction",
    "spread": "similarity of pairs",
    "mmd": "distribution of vectors",
}
Read = TypeVar("Read")


def add(commands: Any) -> None:
    parser = commands.add_parser("drift", help="report whether traffic and vectors have drifted")
    subparsers = parser.add_subparsers(dest="drift_command", required=True, metavar="COMMAND")
    report = subparsers.add_parser(
        "report",
        help="compare windows of traffic with the reference of the version",
        description="Compare windows of traffic with the reference of the version.",
        **examples(EXAMPLES),
    )
    report.add_argument("reference", metavar="REFERENCE", help="File with the reference.")
    report.add_argument("windows", metavar="WINDOW", nargs="+", help="Files with windows.")
    report.add_argument(
        "--plot", metavar="OUT.png", help="Draw the report into this file (needs matplotlib)."
    )
    report.add_argument(
        "--json", action="store_true", help="Print one JSON object instead of text."
    )
    report.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report.

    Raises:
        BadSetting: a file cannot be read, or the files do not belong together.
    """
    if args.plot:
        figure.check(Path(args.plot))
    reference = _read(args.reference, reference_from_bytes)
    windows = [_read(name, sketch_from_bytes) for name in args.windows]
    try:
        window = reduce(Sketch.merge, windows)
        findings = compare(reference, window)
    except BadSketch as error:
        raise BadSetting(f"drift report: {error}") from error
    write = as_json if args.json else as_text
    print(write(reference, window, findings))
    if args.plot:
        drift_plot.draw(reference.sketch, window, findings, Path(args.plot))
    return 1 if any(finding.drifted for finding in findings) else 0


def _read(name: str, build: Callable[[bytes], Read]) -> Read:
    try:
        return build(Path(name).read_bytes())
    except OSError as error:
        raise BadSetting(f"{name}: cannot be read: {error.strerror}") from error
    except BadSketch as error:
        raise BadSetting(f"{name}: {error}") from error


def as_text(reference: DriftReference, window: Sketch, findings: list[Finding]) -> str:
    """Reference and window, one line per test (the largest effect first), and the verdict."""
    rows = [("", "test", "statistic", "threshold", "effect", "figure", "before", "now", "")]
    for finding in sorted(findings, key=lambda each: -each.effect):
        rows.append(
            (
                LABELS[finding.name],
                finding.test,
                f"{finding.statistic:.3f}",
                f"{finding.threshold:.3f}",
                f"{finding.effect:.2f}",
                finding.figure,
                f"{finding.before:.3g}",
                f"{finding.after:.3g}",
                "DRIFTED" if finding.drifted else "",
            )
        )
    drifted = sum(finding.drifted for finding in findings)
    verdict = f"{drifted} of {len(findings)} tests drifted" if drifted else "no drift"
    sides = [
        f"reference  {_describe(reference.sketch)}, {reference.windows} windows",
        f"window     {_describe(window)}",
    ]
    if reference.sketch.identity != window.identity:
        sides.append(
            "the models differ: the drift may come from the model and not from the traffic"
        )
    return "\n".join([*sides, "", table(rows, left=(0, 1, 5, 8)), "", verdict])


def _describe(sketch: Sketch) -> str:
    model = sketch.identity
    return f"{model.revision}, {model.variant}, {model.dimensions} dimensions: {sketch.rows} rows"


def as_json(reference: DriftReference, window: Sketch, findings: list[Finding]) -> str:
    return json.dumps(
        {
            "reference": {
                **asdict(reference.sketch.identity),
                "rows": reference.sketch.rows,
                "windows": reference.windows,
                "made": reference.made,
            },
            "window": {**asdict(window.identity), "rows": window.rows},
            "findings": [
                {**asdict(finding), "effect": finding.effect, "drifted": finding.drifted}
                for finding in findings
            ],
            "drifted": any(finding.drifted for finding in findings),
        }
    )
