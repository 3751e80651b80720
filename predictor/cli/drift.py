"""`predictor drift report`: a window of a version's traffic beside its reference."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from predictor.cli.arguments import examples
from predictor.cli.table import table
from predictor.comparison import drift_plot, plot
from predictor.drift import (
    BadSketch,
    Finding,
    Reference,
    Sketch,
    compare,
    reference_from_bytes,
    sketch_from_bytes,
)
from predictor.errors import BadSetting

EXAMPLES = """
REFERENCE and WINDOW are files that a server wrote; the windows of several pods are put together.

examples:
  predictor drift report reference.json window.json
  predictor drift report reference.json pod-*.json --plot drift.png

exit code: 0, or 1 if a test drifted.
"""
WORDS = {
    "lengths": "token lengths",
    "truncated": "truncated",
    "unknown": "unknown tokens",
    "scripts": "scripts",
    "broken": "no vector",
    "norms": "norms",
    "direction": "mean direction",
    "spread": "similarity of pairs",
    "cloud": "the cloud of vectors",
}
Read = TypeVar("Read")


def add(commands: Any) -> None:
    parser = commands.add_parser("drift", help="see whether traffic and vectors have drifted")
    below = parser.add_subparsers(dest="drift_command", required=True, metavar="COMMAND")
    report = below.add_parser(
        "report",
        help="compare windows of traffic with the version's reference",
        description="Compare windows of traffic with the reference saved with the version.",
        **examples(EXAMPLES),
    )
    report.add_argument("reference", metavar="REFERENCE")
    report.add_argument("windows", metavar="WINDOW", nargs="+")
    report.add_argument("--plot", metavar="OUT.png", help="draw it (needs matplotlib)")
    report.add_argument("--json", action="store_true", help="one JSON object instead of words")
    report.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the report; raises BadSetting."""
    if given.plot:
        plot.check(Path(given.plot))
    reference = _read(given.reference, reference_from_bytes)
    windows = [_read(name, sketch_from_bytes) for name in given.windows]
    try:
        window = reduce(Sketch.merge, windows)
        findings = compare(reference, window)
    except BadSketch as error:
        raise BadSetting(f"drift report: {error}") from error
    words = as_json if given.json else as_text
    print(words(reference, window, findings))
    if given.plot:
        drift_plot.draw(reference.sketch, window, findings, Path(given.plot))
    return 1 if any(finding.drifted for finding in findings) else 0


def _read(name: str, build: Callable[[bytes], Read]) -> Read:
    try:
        return build(Path(name).read_bytes())
    except OSError as error:
        raise BadSetting(f"{name}: cannot be read: {error.strerror}") from error
    except BadSketch as error:
        raise BadSetting(f"{name}: {error}") from error


def as_text(reference: Reference, window: Sketch, findings: list[Finding]) -> str:
    """Both sides, a line a test, the worst first, and the verdict."""
    rows = [("", "test", "statistic", "threshold", "effect", "figure", "before", "now", "")]
    for one in sorted(findings, key=lambda finding: -finding.effect):
        rows.append(
            (
                WORDS[one.name],
                one.test,
                f"{one.statistic:.3f}",
                f"{one.threshold:.3f}",
                f"{one.effect:.2f}",
                one.figure,
                f"{one.before:.3g}",
                f"{one.after:.3g}",
                "DRIFTED" if one.drifted else "",
            )
        )
    drifted = sum(finding.drifted for finding in findings)
    verdict = f"{drifted} of {len(findings)} tests drifted" if drifted else "no drift"
    sides = [
        f"reference  {_subject(reference.sketch)}, {reference.windows} windows",
        f"window     {_subject(window)}",
    ]
    if reference.sketch.subject != window.subject:
        sides.append("two models: what moved may be the model and not the traffic")
    return "\n".join([*sides, "", table(rows, left=(0, 1, 5, 8)), "", verdict])


def _subject(sketch: Sketch) -> str:
    one = sketch.subject
    return f"{one.revision}, {one.variant}, {one.dimensions} dimensions: {sketch.rows} rows"


def as_json(reference: Reference, window: Sketch, findings: list[Finding]) -> str:
    return json.dumps(
        {
            "reference": {
                **asdict(reference.sketch.subject),
                "rows": reference.sketch.rows,
                "windows": reference.windows,
                "made": reference.made,
            },
            "window": {**asdict(window.subject), "rows": window.rows},
            "findings": [
                {**asdict(one), "effect": one.effect, "drifted": one.drifted} for one in findings
            ],
            "drifted": any(one.drifted for one in findings),
        }
    )
