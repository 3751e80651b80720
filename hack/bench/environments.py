"""Virtual environments of other packages than ours, and scripts that run in them.

Those of the peers come from frozen lists. Each is made once, and again when its list changes.

Frozen, because a peer that got faster or slower by an upgrade would change the ratios that we
quote. The lists name every package; `torch` stands without a build suffix, so that a machine with a
CPU build at hand takes that.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import BenchError
from .report import log

HERE = Path(__file__).parent


def requirements(name: str) -> Path:
    return HERE / f"requirements-{name}.txt"


def version(name: str, package: str) -> str:
    """Of a package in a frozen list."""
    match = re.search(rf"^{package}==(\S+)", requirements(name).read_text(), re.MULTILINE)
    return match[1] if match else "?"


def ensure(name: str, cache: Path) -> Path:
    """The Python of the peer's virtual environment under `cache`."""
    file = requirements(name)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return make(cache / f"venv-{name}", ["--requirement", str(file)], digest)


def make(folder: Path, install: Sequence[str], digest: str) -> Path:
    """The Python of a virtual environment, made anew where another digest is asked for.

    Args:
        install: the arguments of `pip install`.
        digest: of all that decides which packages these arguments install.

    Raises:
        BenchError: pip failed.
    """
    stamp = folder / "made-from"
    made_from = f"{sys.version_info[:2]} {digest}"
    if not stamp.is_file() or stamp.read_text() != made_from:
        log(f"making the environment {folder.name} (minutes)")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *install])
        stamp.write_text(made_from)
    return folder / "bin/python"


def run_module(python: Path, module: str, arguments: Sequence[str]) -> str:
    """A script of this folder in another environment; its standard output."""
    done = subprocess.run(
        [str(python), "-m", f"hack.bench.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{module} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def run_measurement(python: Path, module: str, arguments: Sequence[str]) -> dict[str, float]:
    """What a script of this folder prints as its last line: a JSON object of numbers."""
    sample: dict[str, float] = json.loads(run_module(python, module, arguments).splitlines()[-1])
    return sample


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")
