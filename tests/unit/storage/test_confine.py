"""The downloading process writes to its own folders only, whatever names it is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S

PROGRAM = """
import os, sys
from predictor.storage.confine import forbid_writes_outside
from predictor.storage.failure import Escapes
tree = sys.argv[1]
os.symlink("../secret", f"{tree}/link")
os.symlink("..", f"{tree}/up")
forbid_writes_outside(tree)
try:
    exec(sys.argv[2])
except Escapes as error:
    print("refused", error)
else:
    print("done")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("as it was")
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


def run(tree: Path, statement: str) -> str:
    above = tree.parent
    environment = {"HOME": str(above / "home"), "TMPDIR": str(above / "tmp")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tree), statement],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
        env=os.environ | environment,
    )
    return ended.stdout


@pytest.mark.parametrize(
    "statement",
    [
        'open(f"{tree}/../secret", "w")',
        'open(os.path.realpath(f"{tree}/../secret"), "a")',
        'open(f"{tree}/link", "w")',
        'open(f"{tree}/up/new", "w")',
        'os.mkdir(f"{tree}/up/new")',
        'os.mkdir(os.path.expanduser("~/.ssh"))',
        'os.rename(f"{tree}/link", f"{tree}/../secret")',
        'os.symlink("x", f"{tree}/up/new")',
        'os.link(f"{tree}/link", f"{tree}/up/new", follow_symlinks=False)',
        'os.open(f"{tree}/link", os.O_RDWR)',
    ],
)
def test_nothing_is_written_outside(tree: Path, statement: str) -> None:
    entries = sorted(tree.parent.iterdir())
    assert run(tree, statement).startswith("refused")
    assert (tree.parent / "secret").read_text() == "as it was"
    assert sorted(tree.parent.iterdir()) == entries
    assert not list((tree.parent / "home").iterdir())


@pytest.mark.parametrize(
    "statement",
    [
        'open(f"{tree}/new", "w")',
        'os.makedirs(f"{tree}/a/b")',
        'open(f"{tree}/../secret").read()',
        'open(f"{tree}/link").read()',
        'os.rename(f"{tree}/link", f"{tree}/other")',
        'open(os.devnull, "w")',
        "import tempfile; tempfile.NamedTemporaryFile()",
    ],
)
def test_what_a_client_needs_is_done(tree: Path, statement: str) -> None:
    assert run(tree, statement) == "done\n"
