"""`predictor compare`: how far two models are apart, on texts."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from predictor.cli.arguments import examples, number, variant
from predictor.comparison import plot
from predictor.comparison.report import Comparison, as_json, compare
from predictor.comparison.vectors import find, vectors_of
from predictor.comparison.words import as_text
from predictor.engine.bundle import VARIANTS
from predictor.errors import BadSetting
from predictor.export.corpus import verification
from predictor.progress import Progress

EXAMPLES = """
A and B are each a bundle, numbered versions of one, a Hugging Face directory (converted for the
moment), or a running server: http://host:port, http://host:port/v2/models/NAME.

examples:
  predictor compare ./bundles/minilm/1 ./bundles/minilm/2 --min-cosine 0.9999
  predictor compare ./bundles/minilm ./bundles/minilm --variant-a fp32 --variant-b int8
  predictor compare http://old:8080 http://new:8080 --texts queries.txt --plot moved.png

exit code: 0, or 1 if a threshold is missed; without a threshold always 0.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare the vectors of two models or servers",
        description="Compare two models by their vectors of the same texts.",
        **examples(EXAMPLES),
    )
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument(
        "--texts",
        metavar="FILE",
        help="one text a line, - for stdin [default: texts of its own]",
    )
    for letter in "ab":
        parser.add_argument(
            f"--variant-{letter}",
            default="auto",
            metavar="V",
            help=f"which graph of {letter.upper()}: {', '.join(VARIANTS)} [default: as served]",
        )
    parser.add_argument("--plot", metavar="OUT.png", help="draw it (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of words")
    parser.add_argument("--min-cosine", metavar="X", help="least cosine that any text may have")
    parser.add_argument("--min-overlap", metavar="Y", help="least mean share of common neighbours")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the comparison; raises BadModel or BadSetting."""
    limits = (_limit("--min-cosine", given.min_cosine), _limit("--min-overlap", given.min_overlap))
    wanted = (
        (given.a, variant("--variant-a", given.variant_a)),
        (given.b, variant("--variant-b", given.variant_b)),
    )
    if given.plot:
        plot.check(Path(given.plot))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    texts = read_texts(given.texts) if given.texts else list(dict.fromkeys(verification()))
    places = [find(name, chosen) for name, chosen in wanted]
    a, b = (vectors_of(place, texts, Progress()) for place in places)
    comparison = compare(a, b, texts)
    if given.plot:
        plot.draw(comparison, Path(given.plot))
    return _report(comparison, limits, given.json)


def _limit(flag: str, text: str | None) -> float | None:
    return None if text is None else number(flag, text, minimum=-1, maximum=1)


def _report(
    comparison: Comparison, limits: tuple[float | None, float | None], in_json: bool
) -> int:
    missed = comparison.missed(*limits)
    asked = limits != (None, None)
    if in_json:
        thresholds = {"min_cosine": limits[0], "min_overlap": limits[1]}
        content = as_json(comparison) | {"thresholds": thresholds, "missed": missed}
        print(json.dumps(content, ensure_ascii=False))
    else:
        print(as_text(comparison))
        if not missed:
            print("\n" + ("within the thresholds" if asked else "no threshold given"))
    if missed:
        sys.stdout.flush()
        sys.stderr.write(f"predictor: missed: {'; '.join(missed)}\n")
    return 1 if missed else 0


def read_texts(name: str) -> list[str]:
    """The lines of a file or of stdin that are not empty, each once.

    Raises:
        BadSetting: it cannot be read, is not UTF-8, or holds no text.
    """
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise BadSetting(f"--texts {name}: cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise BadSetting(f"--texts {name}: is not UTF-8 text") from error
    texts = list(dict.fromkeys(line.removesuffix("\r") for line in lines if line.strip()))
    if not texts:
        raise BadSetting(f"--texts {name}: holds no texts; one text a line is wanted")
    return texts
