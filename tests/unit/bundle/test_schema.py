"""The schema that comes with the package is the one of the structs that read the manifest."""

import json
from inspect import cleandoc
from pathlib import Path

import msgspec

import predictor.bundle
from predictor.bundle.manifest import Bundle
from predictor.cli.inspect import schema_text

SCHEMA_FILE = Path(predictor.bundle.__file__).parent / "bundle.schema.json"


def test_the_schema_is_that_of_the_structs() -> None:
    hint = "run: predictor inspect --schema > predictor/bundle/bundle.schema.json"
    assert SCHEMA_FILE.read_text() == schema_text(), hint


def test_it_is_what_msgspec_gives_but_for_indentation() -> None:
    schema = json.loads(json.dumps(msgspec.json.schema(Bundle)))
    for definition in schema["$defs"].values():
        definition["description"] = cleandoc(definition["description"])
    assert json.loads(schema_text()) == schema
