"""The other side of a comparison: its files out of git, and that Python really runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from hack.bench.against import checkout
from hack.bench.against.schedule import BASELINE
from hack.bench.against.tree import Tree
from hack.bench.errors import BenchError


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of one file, and the checkout looks at this repository."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for content in ("first", "second"):
        (folder / "file").write_text(content)
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "--message", content)
    monkeypatch.setattr(checkout, "ROOT", folder)
    return folder


def worktrees(repository: Path) -> int:
    return git(repository, "worktree", "list", "--porcelain").count("worktree ")


def test_a_commit_is_checked_out_beside_this_tree_and_removed_at_the_end(
    repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "baseline"
    with checkout.checked_out(checkout.full_hash("HEAD~1"), folder):
        assert (folder / "file").read_text() == "first"
        assert (repository / "file").read_text() == "second"
        assert worktrees(repository) == 2
    assert not folder.exists()
    assert worktrees(repository) == 1


def test_the_checkout_is_removed_when_the_comparison_fails(
    repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "baseline"

    def fail() -> None:
        with checkout.checked_out("HEAD", folder):
            raise BenchError("no server")

    with pytest.raises(BenchError, match="no server"):
        fail()
    assert not folder.exists()
    assert worktrees(repository) == 1


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("commit", ["HEAD~9", "no-such-branch", "--all"])
def test_an_unknown_commit_is_an_error(commit: str) -> None:
    with pytest.raises(BenchError, match="git rev-parse failed"):
        checkout.full_hash(commit)


def test_changed_files_of_this_tree_are_reported(repository: Path) -> None:
    assert not checkout.is_modified()
    (repository / "file").write_text("third")
    assert checkout.is_modified()


def test_python_has_to_take_the_package_from_the_tree(tmp_path: Path) -> None:
    tree = Tree(BASELINE, tmp_path, Path(sys.executable), tmp_path, tmp_path)
    with pytest.raises(BenchError, match="baseline"):
        tree.check_import()
    (tmp_path / "predictor").mkdir()
    (tmp_path / "predictor/__init__.py").touch()
    tree.check_import()
