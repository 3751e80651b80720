"""The charts of earlier commits, from which users upgrade: earlier/commits.txt lists them.

What their values.yaml and their ci files held is kept in the repository, because a shallow clone
has no earlier commits. The charts themselves are taken out of the history where it is there.

To add a commit: a line in commits.txt, then `python -m tests.charts.earlier`.
"""

import io
import json
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.charts import helm

FOLDER = Path(__file__).parent / "earlier"
CHARTS = (helm.RUNTIME, helm.MODEL)


class NoHistory(Exception):
    """The clone does not have a commit."""


def commits() -> dict[str, str]:
    """What was special, by commit, the first one first."""
    text = (FOLDER / "commits.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {commit: why for commit, _, why in (line.partition(" ") for line in lines)}


@cache
def values_of(commit: str, chart: str) -> dict[str, Any]:
    """`defaults`, the whole values.yaml, and `users`: what each ci file set."""
    text = (FOLDER / f"{commit[:7]}.json").read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)[chart]
    return values


def unpack(commit: str, folder: Path) -> Path:
    """The folder with the charts of a commit. Raises NoHistory."""
    done = subprocess.run(
        ["git", "-C", helm.ROOT, "archive", commit, "charts"], capture_output=True, check=False
    )
    if done.returncode:
        raise NoHistory(done.stderr.decode())
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts"


def _record(commit: str, chart: Path) -> dict[str, Any]:
    def read(path: Path) -> Any:
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    users = {
        path.name.removesuffix("-values.yaml"): read(path)
        for path in sorted((chart / "ci").glob("*-values.yaml"))
    }
    return {"defaults": read(chart / "values.yaml"), "users": users}


def main(folder: Path) -> int:
    for commit in commits():
        charts = unpack(commit, folder / commit)
        values = {name: _record(commit, charts / name) for name in CHARTS}
        text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
        (FOLDER / f"{commit[:7]}.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(made)))
