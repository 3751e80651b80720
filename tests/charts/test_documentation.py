"""READMEs and schemas are made from values.yaml, and what is wrong with them is found."""

from typing import Any

import pytest

from tests.scripts import load

VALUES = """\
# Prose that is no documentation.
# -- Name of it.
name: emb
server:
  # -- Seconds.
  delay: 5
"""
SCHEMA: dict[str, Any] = {
    "properties": {
        "global": {"type": "object"},
        "name": {"type": "string"},
        "server": {"type": "object", "properties": {"delay": {"type": "integer"}}},
    }
}


script = load("charts_readme")


def test_readmes_and_schemas_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--check"]) == 0, capsys.readouterr().err


def test_texts_and_leaves_are_found() -> None:
    assert script.documented(VALUES) == {"name": "Name of it.", "server.delay": "Seconds."}
    assert [path for path, _ in script.leaves(SCHEMA)] == ["name", "server.delay"]


def test_what_does_not_agree_is_named() -> None:
    known = dict(script.leaves(SCHEMA))
    values = {"name": "emb", "server": {"delay": 5}}
    texts = script.documented(VALUES)
    assert list(script.faults(texts, values, known)) == []
    assert list(script.faults({**texts, "nmae": "x"}, values, known)) == [
        "values.schema.json does not know nmae",
        "values.yaml has a text above nmae and no value",
    ]
    del texts["name"]
    assert list(script.faults(texts, values, known)) == [
        "values.yaml has no `# -- text` above name"
    ]


def test_a_readme_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="are missing"):
        script.with_section("# A chart\n", script.SECTION, "| value |")


def test_a_bar_does_not_break_the_table() -> None:
    rows = script.table({"name": "This | that."}, {"name": "a|b"})
    assert rows.endswith('| `name` | `"a\\|b"` | This \\| that. |')
