"""Checks of the examples on the Markdown pages, without running them.

Requests are for routes of the server, `predictor` commands are parsed as the command line does,
values of the charts exist, and an EmbeddingRollout can be read. Imported by hack/check_readme.py.
"""

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from markdown_pages import ROOT, SPAN, Faults, Line

from predictor.cli import COMMANDS
from predictor.errors import MethodNotAllowed, RouteNotFound
from predictor.rollout.spec import KIND, BadRollout, read_spec
from predictor.server.http.route import Router
from predictor.server.http.routes import ROUTES

REQUEST = re.compile(r"\bcurl\b.*?localhost:8080(/[^\s\"'`?>)]*)")
COMMAND = re.compile(r"(?:\$ )?predictor ([a-z]+(?: .*)?)")
# What ends a command, or is a shorter way to write several.
SHELL_END = re.compile(r" [|&>]")
# A path of a value in a chart, before `=` and what it is set to.
VALUE = re.compile(r"[a-z]\w*(?:\.\w+)+")
FILES = (".json", ".md", ".onnx", ".py", ".sh", ".yaml")
SET = re.compile(r"--set ([^\s]+)")
CHARTS = ("embedding-runtime", "embedding-model")
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def check_requests(lines: list[Line]) -> Faults:
    router = Router(ROUTES)
    for line in lines:
        for path in REQUEST.findall(line.text):
            try:
                router.match("GET", path)
            except MethodNotAllowed:
                pass  # the path is there; which methods it has, the server says itself
            except RouteNotFound as error:
                yield line.number, str(error)


def check_commands(lines: list[Line]) -> Faults:
    for line in lines:
        command = COMMAND.fullmatch(line.text) if line.fence is not None else None
        if command:
            arguments = shlex.split(SHELL_END.split(command[1])[0], comments=True)
            errors = io.StringIO()
            try:
                with contextlib.redirect_stderr(errors):
                    command_line().parse_args(arguments)
            except SystemExit:
                yield line.number, errors.getvalue().strip().splitlines()[-1]


@cache
def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="predictor", allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


def check_chart_values(lines: list[Line]) -> Faults:
    """A path whose first part is a value of a chart is one as a whole."""
    known = chart_values()
    first = {path.partition(".")[0] for path in known if "." in path}
    for line in lines:
        spans = SPAN.findall(line.text) if line.fence is None else []
        settings = [
            part for assignments in SET.findall(line.text) for part in assignments.split(",")
        ]
        for named in [*spans, *settings]:
            path = named.partition("=")[0]
            is_path = VALUE.fullmatch(path) is not None and path.partition(".")[0] in first
            if is_path and not path.endswith(FILES) and path not in known:
                yield line.number, f"{path} is no value of a chart"


@cache
def chart_values() -> frozenset[str]:
    """Every path in values.yaml of the charts, also of what has more below it."""
    texts = [(ROOT / f"charts/{chart}/values.yaml").read_text("utf-8") for chart in CHARTS]
    return frozenset(path for text in texts for path in paths(yaml.safe_load(text)))


def paths(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from paths(value, f"{above}{key}.")


def check_rollouts(text: str) -> Faults:
    for block in YAML.finditer(text):
        try:
            resource = yaml.safe_load(block[1])
            if isinstance(resource, dict) and resource.get("kind") == KIND:
                read_spec(resource)
        except (yaml.YAMLError, BadRollout) as error:
            yield text.count("\n", 0, block.start()) + 1, f"this YAML is wrong: {error}"
