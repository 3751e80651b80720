"""The peers' virtual environments, each from a frozen list, made once and again when it changes.

Frozen, because a peer that got faster or slower by an upgrade would change the ratios that we
quote. The lists name every package; `torch` stands without a build suffix, so that a machine with a
CPU build at hand takes that.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from .errors import BenchError
from .report import log

HERE = Path(__file__).parent


def requirements(name: str) -> Path:
    return HERE / f"requirements-{name}.txt"


def version(name: str, package: str) -> str:
    """Of a package in a frozen list."""
    found = re.search(rf"^{package}==(\S+)", requirements(name).read_text(), re.MULTILINE)
    return found[1] if found else "?"


def ensure(name: str, cache: Path) -> Path:
    """The Python of the peer's virtual environment under `cache`."""
    folder = cache / f"venv-{name}"
    wanted = requirements(name)
    stamp = folder / "made-from"
    digest = f"{sys.version_info[:2]} {hashlib.sha256(wanted.read_bytes()).hexdigest()}"
    if not stamp.is_file() or stamp.read_text() != digest:
        log(f"making the environment of {name} (minutes)")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "-q", "-r", str(wanted)])
        stamp.write_text(digest)
    return folder / "bin/python"


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")
