"""The files of another commit, in a worktree of git that is removed at the end."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BenchError

ROOT = Path(__file__).resolve().parents[3]


def full_hash(commit: str) -> str:
    """The hash of a commit, a branch or an expression such as HEAD~5.

    Raises:
        BenchError: there is no such commit, or this folder is not a git repository.
    """
    return _git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")


def is_modified() -> bool:
    """Whether tracked files of this tree differ from HEAD."""
    return bool(_git("status", "--porcelain", "--untracked-files=no"))


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[None]:
    """The files of the commit in `folder`, an absolute path that does not exist yet.

    Raises:
        BenchError: git could not make it.
    """
    try:
        _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield
    finally:
        subprocess.run(
            ["git", "worktree", "remove", "--force", str(folder)],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        shutil.rmtree(folder, ignore_errors=True)


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
