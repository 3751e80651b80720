"""Check that every Markdown page names only what exists.

That is: paths, links and their headings, flags, settings, metrics, scripts, Python that compiles,
and the examples that hack/page_examples.py looks at; and that README.md stays short. Run by
hack/verify.sh, from any folder. One line a fault; exit code 1 if there is one.
"""

import argparse
import ast
import re
import sys
from collections.abc import Set
from pathlib import Path

from markdown_pages import ROOT, Faults, Line, check_links, page_names, read
from page_examples import check_chart_values, check_commands, check_requests, check_rollouts
from prometheus_client.metrics import MetricWrapperBase

from predictor import metrics
from predictor.cli import COMMANDS
from predictor.controller import metrics as rollouts
from predictor.settings import GROUPS, fields_of

# README.md says what the server is and how to try it; everything else has a page of its own.
MOST_LINES = 200
# What was removed or renamed is history there, and no fault.
HISTORY = ("charts/embedding-model/CHANGELOG.md", "charts/embedding-runtime/CHANGELOG.md")
# pytest's flags stand beside ours there, and in the made pages those of curl, and those
# that settings had before.
FLAGS_OF_OTHERS = (
    "hack/README.md",
    "hack/bench/README.md",
    "tests/README.md",
    "predictor/docs/clients.md",
    "predictor/docs/configuration.md",
)
# Helm's, where they are named without a command.
HELM_FLAGS = {
    "--set", "--values", "--take-ownership", "--reuse-values", "--reset-then-reuse-values",
    "--force-conflicts",
}  # fmt: skip

PATH = re.compile(r"(?:\./)?((?:predictor|tests|hack|charts|manifests)/[\w./*-]*)")
MODULE = re.compile(r"[a-z_]+/[a-z_]+\.py")  # as README.md of a folder names its own files
FLAG = re.compile(r"(?<![\w-])--[a-zA-Z][\w-]*")
VARIABLE = re.compile(r"\bPREDICTOR_[A-Z0-9_]*[A-Z0-9]\b(?!\*)")
# A recording rule has colons around the name.
METRIC = re.compile(r"(?<![\w:])predictor_[a-z0-9_]*[a-z0-9]\b(?![*:])")
SCRIPT = re.compile(r"[\w-]+\.(?:sh|py)")
# Commands whose flags are not ours.
FOREIGN = re.compile(r"\s*(?:\$ )?(?:docker|buildah|kubectl|helm|pip|python3?|pytest|curl)\b")
# What a metric is called on /metrics, by its type.
ENDINGS = {
    "counter": ("_total",),
    "histogram": ("", "_bucket", "_sum", "_count"),
    "gauge": ("",),
}


def settings() -> set[str]:
    """Every field of the settings, by its name."""
    return {field.name for group in GROUPS.values() for field in fields_of(group)}


def flags() -> set[str]:
    """Of the commands, settings in both spellings, and of the scripts (their headers)."""
    known = {"--help", "--version", *HELM_FLAGS}
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
            for subparser in action.choices.values():
                known |= flags_of(subparser)
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
            elif MODULE.fullmatch(named) and not is_module(named, folder):
                yield line.number, f"{named} does not exist in {folder.name}/"


def is_module(named: str, folder: Path) -> bool:
    """The pages in predictor/docs name modules as predictor/README.md does."""
    return any((base / named).is_file() for base in (folder, ROOT / "predictor"))


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
    existing = {path.name for path in ROOT.glob("hack/*") if SCRIPT.fullmatch(path.name)}
    named: dict[str, int] = {}
    for line in lines:
        cells = line.text.split("|")
        if line.fence is None and len(cells) > 2:
            named |= dict.fromkeys(SCRIPT.findall(cells[1]), line.number)
    yield from ((named[name], f"hack/{name} does not exist") for name in named.keys() - existing)
    yield from ((1, f"hack/{name} is not in the table") for name in sorted(existing - named.keys()))


def check_python(lines: list[Line]) -> Faults:
    block: list[Line] = []
    for line in [*lines, Line(0, "", None)]:
        if block and (line.fence != "python" or line.number != block[-1].number + 1):
            code = "\n".join(entry.text for entry in block)
            try:
                compile(code, "README", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            except SyntaxError as error:
                yield block[0].number, f"this Python does not compile: {error.msg}"
            block = []
        if line.fence == "python":
            block.append(line)


def check(name: str) -> Faults:
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    lines = read(text)
    yield from check_links(lines, path)
    yield from check_paths(lines, path.parent)
    if name in HISTORY:
        return
    variables = {f"PREDICTOR_{setting.upper()}" for setting in settings()}
    variables |= set(VARIABLE.findall((ROOT / "tests/conftest.py").read_text()))
    yield from check_names(lines, VARIABLE, variables, "setting of the server or the tests")
    yield from check_names(lines, METRIC, series(), "metric")
    if name not in FLAGS_OF_OTHERS:
        yield from check_names(lines, FLAG, flags(), "flag of a command or of a script")
    if name == "hack/README.md":
        yield from check_scripts(lines)
    yield from check_requests(lines)
    yield from check_commands(lines)
    yield from check_chart_values(lines)
    yield from check_rollouts(text)
    yield from check_python(lines)
    if name == "README.md" and (count := len(text.splitlines())) > MOST_LINES:
        yield count, f"README.md has {count} lines; the most is {MOST_LINES}"


def main() -> int:
    faults = [f"{name}:{number}: {fault}" for name in page_names() for number, fault in check(name)]
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
