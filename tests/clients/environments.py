"""The families of clients, and the environment in which each runs."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
ENVIRONMENTS = HERE.parents[1] / ".cache/clients"
INSTALL_S = 1800


class NotInstallable(Exception):
    """The family cannot run on this machine; the text says why."""


@dataclass(frozen=True)
class Family:
    """A scenario and what it needs."""

    name: str
    scenario: Path
    packages: tuple[str, ...] = ()  # requirement lines, for an environment of its own
    npm: tuple[str, ...] = ()
    needs: str = ""  # a program

    @property
    def folder(self) -> Path:
        pins = " ".join((*self.packages, *self.npm))
        return ENVIRONMENTS / f"{self.name}-{hashlib.sha256(pins.encode()).hexdigest()[:8]}"


def read_families(path: Path = HERE / "families.toml") -> dict[str, Family]:
    tables: Mapping[str, Mapping[str, Any]] = tomllib.loads(path.read_text("utf-8"))
    return {
        name: Family(
            name,
            SCENARIOS / table["scenario"],
            tuple(table.get("packages", ())),
            tuple(table.get("npm", ())),
            table.get("needs", ""),
        )
        for name, table in tables.items()
    }


def prepare(family: Family) -> tuple[list[str], Path]:
    """The command that runs the family's scenario, and the folder to run it in.

    Raises:
        NotInstallable: a program is missing, or a package cannot be had.
    """
    program = "npm" if family.npm else family.needs
    if program and shutil.which(program) is None:
        raise NotInstallable(f"{program} is not installed")
    if family.npm:
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", *family.npm]
        _install_once(family.folder, install, family.folder)
        return ["node", str(family.scenario)], family.folder
    if not family.packages:
        return [sys.executable, str(family.scenario)], SCENARIOS
    python = family.folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", family.folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    install = [*pip, "--disable-pip-version-check", *family.packages]
    _install_once(family.folder, install, ENVIRONMENTS)
    return [str(python), str(family.scenario)], SCENARIOS


def _install_once(folder: Path, command: list[str], cwd: Path) -> None:
    complete = folder / "complete"
    if complete.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=INSTALL_S
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstallable(lines[-1] if lines else "the installation failed")
    complete.touch()
