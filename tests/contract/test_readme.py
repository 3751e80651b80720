"""The README's examples, run as they stand there, give the output that stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import Server

README = (Path(__file__).parents[2] / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```\n\n```console\n(.*?)```", README, re.DOTALL)
SHELL = re.findall(r"```console\n\$ (curl .*?)\n(.*?)```", README, re.DOTALL)


def local(code: str, server: Server) -> str:
    return code.replace("localhost:8080", f"127.0.0.1:{server.http_port}")


def test_there_are_examples_of_all_three_clients() -> None:
    assert len(PYTHON) == 2
    assert len(SHELL) == 1


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
