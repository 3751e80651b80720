"""`predictor ask` as a user and `helm test` run it, against real servers."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from predictor.cli.ask import TEXT
from tests.deadlines import DEADLINE_S
from tests.integration.test_commands import one_line, run
from tests.reference.texts import texts
from tests.serving import Server, model_flags
from tests.unit.access.files import SEARCH, entry, listing

REFERENCE = Path(__file__).parents[1] / "reference/minilm.npz"


def components(count: int) -> tuple[str, list[float]]:
    """A text, and the first components of the vector that sentence-transformers gives to it."""
    with np.load(REFERENCE) as reference:
        row = int(np.flatnonzero(reference["token_counts"] > 20)[0])
        vector = reference["vectors"][row]
    return texts()[row], (vector / np.linalg.norm(vector))[:count].tolist()


def test_a_right_server_is_one_line(server: Server) -> None:
    code, out, err = run("ask", server.url, "--model", "minilm", "--version", "1")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"ok: minilm version 1, revision [0-9a-f]{8,64}, 384 dimensions, \d+ ms\n", out
    )


def test_the_only_model_needs_no_name(server: Server) -> None:
    code, out, err = run("ask", server.url, "--json", "--text", "hello")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert (content["ok"], content["model"], content["version"]) == (True, "minilm", "1")
    assert content["dimensions"] == len(content["vector"]) == 384


def test_the_expected_components(server: Server, tmp_path: Path) -> None:
    text, expected = components(8)
    place = ("ask", server.url, "--model=minilm", f"--text={text}")
    listed = ",".join(map(str, expected))
    code, _, err = run(*place, f"--expect={listed}", "--tolerance=0.0001")
    assert (code, err) == (0, "")
    file = tmp_path / "expected.json"
    file.write_text(json.dumps(expected))
    assert run(*place, "--expect-file", file)[0] == 0
    expected[4] += 0.01
    file.write_text(json.dumps(expected))
    one_line(1, "component 5 of the vector is ", *place, "--expect-file", file)
    assert run(*place, "--expect-file", file, "--tolerance=0.02")[0] == 0


def test_an_error_is_an_object_with_json(server: Server) -> None:
    code, out, err = run("ask", server.url, "--model=minilm", "--expect=9", "--json")
    assert (code, err) == (1, "")
    content = json.loads(out)
    assert content["ok"] is False
    assert content["error"].startswith(f"{server.url}: component 1 of the vector is ")


def test_a_model_that_is_not_served_is_reported_at_once(server: Server) -> None:
    one_line(1, "404 Not Found: model 'gone'", "ask", server.url, "--model=gone")
    one_line(1, "is answered 404 ", "ask", server.url, "--model=minilm", "--version=9")


def test_arguments_are_checked_first() -> None:
    nowhere = "http://127.0.0.1:1"
    one_line(2, "not a server's URL", "ask", "http://h/other")
    one_line(2, "--timeout: 0 is not between", "ask", nowhere, "--timeout=0")
    one_line(2, "--expect: not a list", "ask", nowhere, "--expect=a")
    one_line(2, "cannot be read", "ask", nowhere, "--expect-file=/nowhere")
    one_line(2, "--version: name the --model as well", "ask", nowhere, "--version=1")


@pytest.fixture(scope="module")
def guarded(
    model_dir: Path, cache_dir: Path, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that asks for a key."""
    del bundle_dir  # made before, so that the start is quick
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    keys.write_bytes(listing(entry("search", SEARCH)))
    flags = (*model_flags(model_dir, cache_dir), "--drain-delay-s=0", f"--api-keys-file={keys}")
    running = Server(*flags)
    yield running
    assert running.stop() == 0


def test_a_key_is_sent_and_never_shown(guarded: Server, tmp_path: Path) -> None:
    right, other = tmp_path / "right", tmp_path / "other"
    right.write_text(SEARCH + "\n")
    other.write_text("sk-other-0123456789abcdef0123456789")
    place = ("ask", guarded.url, "--model=minilm")
    code, out, err = run(*place, "--api-key-file", right)
    assert (code, err) == (0, "")
    assert SEARCH not in out
    one_line(1, "401 Unauthorized: unknown API key", *place, "--api-key-file", other)
    one_line(1, "401 Unauthorized: send an API key", *place)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_server_that_is_not_there_is_reported_after_the_timeout(server: Server) -> None:
    del server
    url = f"http://127.0.0.1:{free_port()}"
    one_line(1, "not ready within 1 s: ", "ask", url, "--timeout=1")


def test_it_waits_for_a_server_that_only_starts(
    model_dir: Path, cache_dir: Path, bundle_dir: Path
) -> None:
    del bundle_dir
    port = free_port()
    asking = subprocess.Popen(
        [sys.executable, "-m", "predictor", "ask", f"http://127.0.0.1:{port}", "--model=minilm"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    late = None
    try:
        late = Server(
            *model_flags(model_dir, cache_dir), "--drain-delay-s=0", f"--http_port={port}"
        )
        out, err = asking.communicate(timeout=DEADLINE_S)
    finally:
        asking.kill()
        asking.communicate()
        if late is not None:
            late.stop()
    assert (asking.returncode, err) == (0, "")
    assert out.startswith("ok: minilm version 1, ")


def test_the_text_that_is_asked_for_by_default_is_in_the_help() -> None:
    assert TEXT in run("ask", "--help")[1]
