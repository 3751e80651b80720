"""`predictor inspect`: what a bundle is, what is in it and what was proven, digests checked."""

import argparse
import json
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from predictor.cli import inspection
from predictor.cli.arguments import directory, examples
from predictor.engine.anatomy import files_used
from predictor.engine.bundle import MANIFEST, Bundle, is_bundle, read_bundle
from predictor.errors import BadModel, BadSetting
from predictor.repository import find_version

EXAMPLES = """
examples:
  predictor inspect ./bundles/minilm
  predictor inspect ./bundles/minilm/1 --json | jq .variants.fp32.proof
  predictor inspect --schema
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "inspect",
        help="show what a bundle is and what was proven about it",
        description="Check a bundle's digests and show it: model, variants, files, proofs.",
        **examples(EXAMPLES),
    )
    parser.add_argument(
        "dir", nargs="?", metavar="DIR", help="a bundle, or numbered versions of it"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    parser.add_argument(
        "--schema", action="store_true", help=f"the JSON schema of {MANIFEST}; needs no DIR"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print; raises BadModel or BadSetting."""
    if given.schema:
        print(schema_text(), end="")
        return 0
    if given.dir is None:
        raise BadSetting("inspect: name the bundle's directory, or ask for --schema")
    folder = bundle_in(directory(given.dir))
    bundle = read_bundle(folder)
    print(in_json(folder, bundle) if given.json else describe(folder, bundle))
    return 0


def describe(folder: Path, bundle: Bundle) -> str:
    """A verified bundle in words."""
    return inspection.as_text(bundle, _version(folder), *_files(folder, bundle))


def in_json(folder: Path, bundle: Bundle) -> str:
    content = inspection.as_json(bundle, _version(folder), *_files(folder, bundle))
    return json.dumps(content, ensure_ascii=False)


def _version(folder: Path) -> str:
    return find_version(folder)[1]


def _files(folder: Path, bundle: Bundle) -> tuple[dict[str, int], inspection.Used]:
    """Sizes of all files, and which variant uses which."""
    sizes = {name: (folder / name).stat().st_size for name in bundle.files}
    return sizes, files_used(folder, bundle)


def bundle_in(path: Path) -> Path:
    """The folder of the bundle.

    Raises:
        BadModel: there is no bundle, or it is a model that is none yet.
    """
    folder, _ = find_version(path)
    if not is_bundle(folder):
        raise BadModel(
            f"{folder}: a Hugging Face directory and not a bundle; `predictor export` makes one"
        )
    return folder


def schema_text() -> str:
    """The JSON schema of the manifest, as `bundle.schema.json` has it.

    Its descriptions are docstrings, whose indentation depends on the version of Python.
    """
    schema = msgspec.json.schema(Bundle)
    for definition in schema["$defs"].values():
        if "description" in definition:
            definition["description"] = cleandoc(definition["description"])
    return json.dumps(schema, indent=2) + "\n"
