"""The Python environment of a tree: this tree's own where the dependencies are the same."""

import hashlib
import json
import tomllib
from pathlib import Path

from .. import environments
from ..report import log

CONSTRAINTS = Path("hack/constraints.txt")
EXTRA = "cpu"


def python_of(tree: Path, this_tree: Path, this_python: Path, cache: Path) -> Path:
    """The interpreter that has the packages of `tree`; an environment is made where it is needed.

    The environment has no `predictor` of its own: that comes from the tree, by PYTHONPATH.
    """
    if digest(tree) == digest(this_tree):
        return this_python
    log("the dependencies differ: the other commit gets its own environment")
    install = list(requirements(tree))
    if (tree / CONSTRAINTS).is_file():
        install += ["--constraint", str(tree / CONSTRAINTS)]
    key = digest(tree)
    return environments.make(cache / f"venv-baseline-{key[:12]}", install, key)


def requirements(tree: Path) -> tuple[str, ...]:
    """What pyproject.toml asks for to serve on a CPU."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    return (*project["dependencies"], *project.get("optional-dependencies", {}).get(EXTRA, ()))


def digest(tree: Path) -> str:
    """Equal for two trees that would install the same packages."""
    constraints = tree / CONSTRAINTS
    pinned = constraints.read_text() if constraints.is_file() else ""
    whole = json.dumps([sorted(requirements(tree)), pinned])
    return hashlib.sha256(whole.encode()).hexdigest()
