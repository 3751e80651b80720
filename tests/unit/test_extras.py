"""A message about an optional feature names a command that works."""

import re
import tomllib
from pathlib import Path

import pytest

from predictor.extras import EXTRAS, install

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_libraries_are_those_of_the_package(extra: str) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert list(EXTRAS[extra]) == declared["optional-dependencies"][extra]


def test_a_command_names_libraries_and_quotes_them_for_a_shell() -> None:
    assert install("hub") == "pip install 'huggingface_hub>=0.30'"


def test_no_message_names_a_package_of_somebody_else_or_a_folder_of_sources() -> None:
    wrong = re.compile(r"""(pip install '?|install ['"])(predictor|\.\[)""")
    code = [path for path in (ROOT / "predictor").rglob("*.py") if path.name != "extras.py"]
    assert [str(path) for path in code if wrong.search(path.read_text())] == []
