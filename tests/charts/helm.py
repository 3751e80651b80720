"""The real Helm, asked as a person asks it; everything it makes comes back as objects."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deadlines import DEADLINE_S

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
TOOLS = ROOT / ".cache/tools"
RUNTIME, MODEL = "embedding-runtime", "embedding-model"
NAMESPACE = "search"
# The least that each chart wants.
NEEDED: dict[str, tuple[str, ...]] = {
    RUNTIME: ("image.repository=registry.example.com/predictor",),
    MODEL: (
        "image.repository=registry.example.com/predictor",
        "model.storageUri=pvc://models/minilm/1",
    ),
}


class Refused(Exception):
    """Helm refused; the text is what a person reads."""


def ci_files(chart: str) -> list[Path]:
    return sorted((CHARTS / chart / "ci").glob("*-values.yaml"))


def all_ci_files() -> list[tuple[str, Path]]:
    return [(chart, path) for chart in (RUNTIME, MODEL) for path in ci_files(chart)]


@cache
def why_no_helm() -> str:
    """Fetch the tools where they are not there; the reason why there are none, or nothing."""
    if (TOOLS / "helm").is_file() and (TOOLS / "kubectl").is_file():
        return ""
    done = subprocess.run(
        [str(ROOT / "hack/tools.sh")], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip() or "no reason given").splitlines()[-1]
    return f"no helm: hack/tools.sh could not fetch it ({last})"


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, program: str = "helm"
) -> str:
    """Run helm, or helm3. Raises Refused with what it wrote to stderr."""
    done = subprocess.run(
        [str(TOOLS / program), *arguments], capture_output=True, text=True, check=False,
        timeout=DEADLINE_S, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def flags(sets: Sequence[str], files: Sequence[Path]) -> list[str]:
    arguments = [argument for path in files for argument in ("--values", str(path))]
    return arguments + [argument for value in sets for argument in ("--set", value)]


def template(
    chart: str,
    *sets: str,
    files: Sequence[Path] = (),
    release: str = "emb",
    namespace: str = NAMESPACE,
) -> list[Object]:
    """The objects that a chart makes. Without files, what it needs is given. Raises Refused."""
    values = sets if files else (*NEEDED[chart], *sets)
    text = run(
        "template", release, str(CHARTS / chart), "--namespace", namespace, *flags(values, files)
    )
    return [item for item in yaml.safe_load_all(text) if item]


def lint(chart: str, path: Path) -> None:
    """Raises Refused with the linter's complaints."""
    run("lint", "--strict", "--quiet", str(CHARTS / chart), "--values", str(path))


def notes(chart: str, *sets: str, files: Sequence[Path] = (), release: str = "emb") -> str:
    """What `helm install` prints, without a cluster. Raises Refused."""
    values = sets if files else (*NEEDED[chart], *sets)
    text = run(
        "install", release, str(CHARTS / chart), "--dry-run=client", "--namespace", NAMESPACE,
        *flags(values, files),
    )  # fmt: skip
    return text.split("\nNOTES:\n", 1)[1]


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def only(objects: Sequence[Object], kind: str) -> Object:
    """The one object of a kind."""
    (item,) = of_kind(objects, kind)
    return item
