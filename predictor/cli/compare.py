"""`predictor compare`: how much the vectors of two models differ."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from predictor.bundle.corpus import verification
from predictor.bundle.manifest import VARIANTS
from predictor.cli.arguments import examples, number, variant
from predictor.cli.plots import comparison_plot, figure
from predictor.cli.reports.comparison_report import as_text
from predictor.comparison.report import Comparison, as_json, compare
from predictor.comparison.vectors import find, vectors_of
from predictor.errors import BadSetting
from predictor.progress import Progress

EXAMPLES = """
A and B are each a bundle, a directory of numbered versions, a Hugging Face directory (it is
converted temporarily), or a running server: http://host:port or http://host:port/v2/models/NAME.

examples:
  predictor compare ./bundles/minilm/1 ./bundles/minilm/2 --min-cosine 0.9999
  predictor compare ./bundles/minilm ./bundles/minilm --variant-a fp32 --variant-b int8
  predictor compare http://old:8080 http://new:8080 --texts queries.txt --plot moved.png

exit code: 0; 1 if a threshold is missed. Without a threshold it is always 0.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare the vectors of two models or servers",
        description="Compare the vectors that two models give for the same texts.",
        **examples(EXAMPLES),
    )
    parser.add_argument("a", metavar="A", help="First model or server.")
    parser.add_argument("b", metavar="B", help="Second model or server.")
    parser.add_argument(
        "--texts",
        metavar="FILE",
        help="File with one text per line; - reads standard input. [default: built-in texts]",
    )
    for letter in "ab":
        parser.add_argument(
            f"--variant-{letter}",
            default="auto",
            metavar="V",
            help=f"Variant of {letter.upper()}: {', '.join(VARIANTS)}. "
            "[default: the one that would be served]",
        )
    parser.add_argument(
        "--plot", metavar="OUT.png", help="Draw the comparison into this file (needs matplotlib)."
    )
    parser.add_argument(
        "--json", action="store_true", help="Print one JSON object instead of text."
    )
    parser.add_argument("--min-cosine", metavar="X", help="Smallest cosine that any text may have.")
    parser.add_argument(
        "--min-overlap",
        metavar="Y",
        help="Smallest mean share of nearest neighbours that both models have in common.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the comparison.

    Raises:
        BadModel: a model cannot be run, or a server gives no vectors.
        BadSetting: an argument is wrong.
    """
    limits = (_limit("--min-cosine", args.min_cosine), _limit("--min-overlap", args.min_overlap))
    chosen_models = (
        (args.a, variant("--variant-a", args.variant_a)),
        (args.b, variant("--variant-b", args.variant_b)),
    )
    if args.plot:
        figure.check(Path(args.plot))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    texts = read_texts(args.texts) if args.texts else list(dict.fromkeys(verification()))
    places = [find(name, chosen) for name, chosen in chosen_models]
    a, b = (vectors_of(place, texts, Progress()) for place in places)
    comparison = compare(a, b, texts)
    if args.plot:
        comparison_plot.draw(comparison, Path(args.plot))
    return _report(comparison, limits, args.json)


def _limit(flag: str, text: str | None) -> float | None:
    return None if text is None else number(flag, text, minimum=-1, maximum=1)


def _report(
    comparison: Comparison, limits: tuple[float | None, float | None], in_json: bool
) -> int:
    missed = comparison.missed_thresholds(*limits)
    has_limits = limits != (None, None)
    if in_json:
        thresholds = {"min_cosine": limits[0], "min_overlap": limits[1]}
        content = as_json(comparison) | {
            "thresholds": thresholds,
            "missed": missed,
        }
        print(json.dumps(content, ensure_ascii=False))
    else:
        print(as_text(comparison))
        if not missed:
            print("\n" + ("all thresholds are met" if has_limits else "no threshold was given"))
    if missed:
        sys.stdout.flush()
        sys.stderr.write(f"predictor: thresholds missed: {'; '.join(missed)}\n")
    return 1 if missed else 0


def read_texts(name: str) -> list[str]:
    """The lines of a file or of standard input that are not empty, without duplicates.

    Raises:
        BadSetting: the file cannot be read, is not UTF-8, or has no text.
    """
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise BadSetting(f"--texts {name}: cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise BadSetting(f"--texts {name}: the content is not UTF-8") from error
    texts = list(dict.fromkeys(line.removesuffix("\r") for line in lines if line.strip()))
    if not texts:
        raise BadSetting(f"--texts {name}: the file has no texts; it must have one per line")
    return texts
