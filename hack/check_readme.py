"""Check that the READMEs name only what exists: paths, links, flags, settings, metrics, scripts.

Run by hack/verify.sh, from any folder. One line a fault; exit code 1 if there is one.
"""

import argparse
import ast
import dataclasses
import re
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from predictor import metrics
from predictor.cli import COMMANDS
from predictor.controller import metrics as rollouts
from predictor.settings import GROUPS

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "predictor/README.md", "hack/README.md", "tests/README.md")
FLAGS_OF_THE_SERVER = ("README.md", "predictor/README.md")

SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?:\./)?((?:predictor|tests|hack|charts|manifests)/[\w./*-]*)")
MODULE = re.compile(r"[a-z_]+/[a-z_]+\.py")  # as README.md of a folder names its own files
FLAG = re.compile(r"(?<![\w-])--[a-zA-Z][\w-]*")
VARIABLE = re.compile(r"\bPREDICTOR_[A-Z0-9_]*[A-Z0-9]\b(?!\*)")
METRIC = re.compile(r"\bpredictor_[a-z0-9_]*[a-z0-9]\b(?!\*)")
SCRIPT = re.compile(r"[\w-]+\.(?:sh|py)")
# Commands whose flags are not ours.
FOREIGN = re.compile(r"\s*(?:\$ )?(?:docker|buildah|kubectl|helm|pip|python3?|pytest|curl)\b")
# What a metric is called on /metrics, by its type.
ENDINGS = {
    "counter": ("_total",),
    "histogram": ("", "_bucket", "_sum", "_count"),
    "gauge": ("",),
}


class Line(NamedTuple):
    """A line of a README; `fence` is the language of the code block it stands in, if any."""

    number: int
    text: str
    fence: str | None

    def code(self) -> list[str]:
        return SPAN.findall(self.text) if self.fence is None else [self.text]

    def prose(self) -> str:
        return SPAN.sub("", self.text) if self.fence is None else ""


Faults = Iterator[tuple[int, str]]


def read(text: str) -> list[Line]:
    lines: list[Line] = []
    fence: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = line.strip("` ") if fence is None else None
        else:
            lines.append(Line(number, line, fence))
    return lines


def settings() -> set[str]:
    """Every field of the settings, by its name."""
    return {field.name for group in GROUPS.values() for field in dataclasses.fields(group)}


def flags() -> set[str]:
    """Of the commands, settings in both spellings, and of the scripts (their headers)."""
    known = {"--help", "--version"}
    for command in COMMANDS:
        commands = argparse.ArgumentParser().add_subparsers()
        command.add(commands)
        for parser in commands.choices.values():
            known |= flags_of(parser)
    for name in settings():
        known |= {f"--{name}", f"--{name.replace('_', '-')}"}
    for script in ROOT.glob("hack/*.sh"):
        known |= set(FLAG.findall(script.read_text().partition("\n\n")[0]))
    return known


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Of a command and those below it."""
    known = set(FLAG.findall(parser.format_help()))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                known |= flags_of(below)
    return known


def series() -> set[str]:
    known = set()
    for value in (*vars(metrics).values(), *vars(rollouts).values()):
        if isinstance(value, MetricWrapperBase):
            for family in value.describe():
                known |= {family.name + ending for ending in ENDINGS[family.type]}
    return known


def check_paths(lines: list[Line], folder: Path) -> Faults:
    for line in lines:
        for word in " ".join(line.code()).split():
            named = word.partition("::")[0].strip("\"'()[],;:")
            if path := PATH.fullmatch(named):
                if not any(ROOT.glob(path[1])):
                    yield line.number, f"{path[1]} does not exist"
            elif MODULE.fullmatch(named) and not (folder / named).is_file():
                yield line.number, f"{named} does not exist in {folder.name}/"
        for target in LINK.findall(line.prose()):
            local = target.partition("#")[0]
            if local and ":" not in local and not (folder / local).exists():
                yield line.number, f"the link to {target} leads nowhere"


def check_names(lines: list[Line], pattern: re.Pattern[str], known: Set[str], what: str) -> Faults:
    for line in lines:
        for piece in [*line.code(), line.prose()]:
            if pattern is FLAG and FOREIGN.match(piece):
                continue
            for name in pattern.findall(piece):
                if name not in known:
                    yield line.number, f"{name} is no {what}"


def check_scripts(lines: list[Line]) -> Faults:
    """The first cells of the table name the scripts of the folder, all of them."""
    there = {path.name for path in ROOT.glob("hack/*") if SCRIPT.fullmatch(path.name)}
    named: dict[str, int] = {}
    for line in lines:
        cells = line.text.split("|")
        if line.fence is None and len(cells) > 2:
            named |= dict.fromkeys(SCRIPT.findall(cells[1]), line.number)
    yield from ((named[name], f"hack/{name} does not exist") for name in named.keys() - there)
    yield from ((1, f"hack/{name} is not in the table") for name in sorted(there - named.keys()))


def check_python(lines: list[Line]) -> Faults:
    block: list[Line] = []
    for line in [*lines, Line(0, "", None)]:
        if block and (line.fence != "python" or line.number != block[-1].number + 1):
            code = "\n".join(one.text for one in block)
            try:
                compile(code, "README", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            except SyntaxError as error:
                yield block[0].number, f"this Python does not compile: {error.msg}"
            block = []
        if line.fence == "python":
            block.append(line)


def check(name: str) -> Faults:
    path = ROOT / name
    if not path.is_file():
        yield 1, "this file does not exist"
        return
    lines = read(path.read_text())
    variables = {f"PREDICTOR_{setting.upper()}" for setting in settings()}
    variables |= set(VARIABLE.findall((ROOT / "tests/conftest.py").read_text()))
    yield from check_paths(lines, path.parent)
    yield from check_names(lines, VARIABLE, variables, "setting of the server or the tests")
    yield from check_names(lines, METRIC, series(), "metric")
    if name in FLAGS_OF_THE_SERVER:
        yield from check_names(lines, FLAG, flags(), "flag of a command or of a script")
    if name == "hack/README.md":
        yield from check_scripts(lines)
    yield from check_python(lines)


def main() -> int:
    faults = [f"{name}:{number}: {fault}" for name in READMES for number, fault in check(name)]
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
