"""The examples of the pages, run as they stand there, give the output that stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import Server

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "predictor/docs/protocols.md")
TEXTS = {page: (ROOT / page).read_text() for page in PAGES}
PYTHON_EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```console\n(.*?)```", re.DOTALL)
# The lines of a command after the first are indented.
SHELL_EXAMPLE = re.compile(r"```console\n\$ (curl [^\n]*(?:\n +[^\n]*)*)\n(.*?)```", re.DOTALL)

PYTHON = PYTHON_EXAMPLE.findall(TEXTS["README.md"])
SHELL = [
    pytest.param(command, output, id=f"{page}-{number}")
    for page, text in TEXTS.items()
    for number, (command, output) in enumerate(SHELL_EXAMPLE.findall(text), 1)
]
# Each of these has an example with its output.
INFERENCE_PATHS = (
    "/v2/models/minilm/infer",
    "/v1/models/minilm:predict",
    "/v1/embeddings",
    "/embed",
    "/tokenize",
    "/decode",
    "/v2/embed",
)


def local(code: str, server: Server) -> str:
    return code.replace("localhost:8080", f"127.0.0.1:{server.http_port}")


def test_the_readme_has_an_example_of_all_three_clients() -> None:
    assert len(PYTHON) == 2
    assert len(SHELL_EXAMPLE.findall(TEXTS["README.md"])) == 1


@pytest.mark.parametrize("path", INFERENCE_PATHS)
def test_the_page_of_protocols_has_an_example_of_each_route(path: str) -> None:
    commands = [
        command for command, _ in SHELL_EXAMPLE.findall(TEXTS["predictor/docs/protocols.md"])
    ]
    assert any(f"localhost:8080{path} " in command for command in commands)


@pytest.mark.parametrize(("code", "output"), PYTHON)
def test_python(code: str, output: str, server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", local(code, server)], capture_output=True, text=True, check=False
    )
    assert done.stdout == output, done.stderr


@pytest.mark.parametrize(("command", "output"), SHELL)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_shell(command: str, output: str, server: Server) -> None:
    done = subprocess.run(
        local(command, server), shell=True, capture_output=True, text=True, check=True
    )
    without_digits = re.compile(r"(\d\.\d{4})\d+")  # the last digits are the CPU's
    assert without_digits.sub(r"\1", done.stdout.strip()) == without_digits.sub(
        r"\1", output.strip()
    )
