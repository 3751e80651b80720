"""`predictor inspect`: the content and the proofs of a bundle, or what a directory would become."""

import argparse
import json
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from predictor.bundle.external_data import external_bytes
from predictor.bundle.graph_info import files_used
from predictor.bundle.manifest import MANIFEST, Bundle, is_bundle, read_bundle
from predictor.cli.arguments import directory, examples
from predictor.cli.reports import folder_report, inspect_report
from predictor.errors import BadSetting
from predictor.repository import find_version, survey

EXAMPLES = """
examples:
  predictor inspect ./bundles/minilm
  predictor inspect ./all-MiniLM-L6-v2
  predictor inspect ./bundles/minilm/1 --json | jq .variants.fp32.proof
  predictor inspect --schema
"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "inspect",
        help="show the content of a bundle, or what a model directory is",
        description="Verify the digests of a bundle and show its variants, files and proofs. Of a "
        "model directory that is no bundle, show what it is, what is missing or assumed, the "
        "memory that it needs, and the command that serves it. The exit code is 1 if it cannot be "
        "served.",
        **examples(EXAMPLES),
    )
    parser.add_argument(
        "dir",
        nargs="?",
        metavar="DIR",
        help="Bundle, model directory, or directory of numbered versions.",
    )
    parser.add_argument(
        "--json", action="store_true", help="Print one JSON object instead of text."
    )
    parser.add_argument(
        "--schema",
        action="store_true",
        help=f"Print the JSON schema of {MANIFEST}; DIR is not needed.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the bundle or the schema.

    Raises:
        BadModel: there is no model in the directory, or the bundle is damaged.
        BadSetting: an argument is wrong.
    """
    if args.schema:
        print(schema_text(), end="")
        return 0
    if args.dir is None:
        raise BadSetting("inspect: name a directory, or use --schema")
    folder, _ = find_version(directory(args.dir))
    if not is_bundle(folder):
        return _inspect_plain(folder, in_json=args.json)
    bundle = read_bundle(folder)
    print(in_json(folder, bundle) if args.json else describe(folder, bundle))
    return 0


def _inspect_plain(folder: Path, *, in_json: bool) -> int:
    """Print what a directory is and how it would be served; the code is 1 if it would not be."""
    result = survey(folder)
    content = folder_report.as_json(result)
    text = json.dumps(content, ensure_ascii=False) if in_json else folder_report.as_text(result)
    print(text)
    return 1 if result.problems else 0


def describe(folder: Path, bundle: Bundle) -> str:
    """A verified bundle as text."""
    return inspect_report.as_text(bundle, _version(folder), _sizes(folder, bundle))


def in_json(folder: Path, bundle: Bundle) -> str:
    content = inspect_report.as_json(bundle, _version(folder), _sizes(folder, bundle))
    return json.dumps(content, ensure_ascii=False)


def _version(folder: Path) -> str:
    return find_version(folder)[1]


def _sizes(folder: Path, bundle: Bundle) -> inspect_report.BundleSizes:
    graphs = {name: folder / variant.graph for name, variant in bundle.variants.items()}
    return inspect_report.BundleSizes(
        files={name: (folder / name).stat().st_size for name in bundle.files},
        used=files_used(folder, bundle),
        variants={
            name: graph.stat().st_size + external_bytes(graph) for name, graph in graphs.items()
        },
    )


def schema_text() -> str:
    """The JSON schema of the manifest, as `bundle.schema.json` has it.

    Its descriptions are docstrings, whose indentation depends on the version of Python.
    """
    schema = msgspec.json.schema(Bundle)
    for definition in schema["$defs"].values():
        if "description" in definition:
            definition["description"] = cleandoc(definition["description"])
    return json.dumps(schema, indent=2) + "\n"
