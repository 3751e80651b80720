"""Retired words are found where users and programmers meet them, and nowhere else."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import load

script = load("check_words")

SOURCE = '''\
"""A docstring may tell of a Settler."""

HELP = "what somebody said"


class _Settler:
    """Not this one either: somebody."""

    def go(self, settler_count: int) -> str:  # somebody
        return f"{settler_count} nobody"
'''


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "predictor").mkdir()
    (tmp_path / "predictor/a.py").write_text(SOURCE)
    (tmp_path / "values.yaml").write_text("# Whom to ask.\nlast: 1\n")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    return tmp_path


def words(**changes: Any) -> dict[str, Any]:
    """A list of words that finds something everywhere."""
    return {
        "files": {
            "identifiers": ["predictor/*.py"],
            "python_strings": ["predictor/*.py"],
            "models_texts": [],
            "texts": ["values.yaml"],
        },
        "identifiers": {"Settler": "Reconciler"},
        "strings": {"somebody": "a name", "nobody": "a name", "whom to ask": "base URL"},
        "allow": {},
        **changes,
    }


def test_identifiers_and_strings_are_found_but_no_docstrings_and_comments(tree: Path) -> None:
    assert script.check(words()) == [
        "predictor/a.py:6: _Settler is retired; say Reconciler",
        "predictor/a.py:3: 'somebody' is retired; say a name",
        "predictor/a.py:10: 'nobody' is retired; say a name",
        "values.yaml:1: 'whom to ask' is retired; say base URL",
    ]


def test_an_identifier_is_retired_as_a_whole_and_in_its_case(tree: Path) -> None:
    retired = {"settler": "reconciler", "count": "number"}
    assert script.check(words(identifiers=retired, strings={})) == []


DEFINITIONS = """\
from hypothesis import given
import numpy as found

@given(wanted=1)
def told(seen, *, one=given):
    try:
        box.below = box.there
    except OSError as said:
        return [own for own in (gone := one, beside)]
"""


def test_a_name_is_checked_where_it_is_defined_and_not_where_it_is_used(tree: Path) -> None:
    (tree / "predictor/a.py").write_text(DEFINITIONS)
    retired = dict.fromkeys(re.findall(r"[a-z]{3,}", DEFINITIONS), "a noun")
    assert script.check(words(identifiers=retired, strings={})) == [
        f"predictor/a.py:{line}: {name} is retired; say a noun"
        for line, names in (
            (2, ["found"]),
            (5, ["one", "seen", "told"]),
            (7, ["below"]),
            (8, ["said"]),
            (9, ["gone", "own"]),
        )
        for name in names
    ]


def test_the_texts_that_models_read_are_not_checked(tree: Path) -> None:
    files = {**words()["files"], "models_texts": ["predictor/a.py"]}
    lines = script.check(words(files=files, identifiers={}))
    assert lines == ["values.yaml:1: 'whom to ask' is retired; say base URL"]


def test_an_allowed_word_is_no_fault_and_has_to_be_there(tree: Path) -> None:
    allow = {"predictor/a.py": ["Settler", "somebody", "nobody"], "values.yaml": ["whom to ask"]}
    assert script.check(words(allow=allow)) == []
    assert script.check(words(allow={**allow, "values.yaml": ["whom to ask", "nobody"]})) == [
        "retired_words.toml: values.yaml no longer has 'nobody'; remove it from the allow list"
    ]


def test_a_class_has_a_name_of_its_own(tree: Path) -> None:
    (tree / "predictor/b.py").write_text("class _Settler:\n    pass\n")
    assert script.check(words(identifiers={}, strings={})) == [
        "predictor/b.py:1: class _Settler: predictor/a.py has a class of that name"
    ]


def test_a_pattern_of_files_that_matches_none_is_refused(tree: Path) -> None:
    files = {**words()["files"], "texts": ["valeus.yaml"]}
    with pytest.raises(ValueError, match=r"valeus\.yaml matches no file"):
        script.check(words(files=files))


def test_the_project_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main() == 0, capsys.readouterr().out
