"""A model folder may be anything: what is served goes on, and a restart serves it again.

Before there was a wall around the libraries, the first of these folders ended the process, at every
start again.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest

from predictor.bundle.manifest import MANIFEST, TOKENIZER, sha256
from predictor.bundle.source import read_source
from predictor.export.convert import convert_cached
from tests.deadlines import DEADLINE_S
from tests.integration.faults.troubled import client_of, count, wait_until
from tests.reference.families.folders import assemble
from tests.serving import Server

pytestmark = pytest.mark.slow

STEADY = "steady"
FRAGILE = "fragile"
LIMIT_MB = 700
# The library panics at this text and at no other one.
PANICS = "q" * 40 + "b"
AT_SOME_TEXTS = {
    "normalizer": {"type": "Replace", "pattern": {"Regex": "(q|qq)+$"}, "content": "x"}
}


def change_tokenizer(**change: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / TOKENIZER
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return apply


def expanding(levels: int) -> dict[str, Any]:
    """A normaliser that makes ten letters of each one, so many times."""
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    return {"type": "Sequence", "normalizers": [step] * levels}


def map_a_secret(folder: Path) -> None:
    """Have the first table read from a file of the machine."""
    manifest = json.loads((folder / MANIFEST).read_text())
    table = manifest["variants"]["fp32"]["mapped"][0]
    table |= {
        "file": "/etc/passwd",
        "offset": 0,
        "shape": [Path("/etc/passwd").stat().st_size // 4],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))


def take_weights_from_outside(folder: Path) -> None:
    """Have the first weight of the graph read from a file beside the repository."""
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    (location,) = [
        entry for entry in graph.graph.initializer[0].external_data if entry.key == "location"
    ]
    location.value = "../../steady/1/model.onnx.data"
    onnx.save(graph, folder / "model.onnx")


# What is done to a bundle, and the reason that the index then gives.
EVIL: dict[str, tuple[Callable[[Path], None], str]] = {
    "panics": (
        change_tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "the library panicked",
    ),
    "panics-later": (
        change_tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
        "the library panicked",
    ),
    "maps-a-secret": (map_a_secret, "names a file outside of its folder: '/etc/passwd'"),
    "weights-from-outside": (take_weights_from_outside, "names a file outside of its folder"),
    "grows": (
        change_tokenizer(normalizer=expanding(12)),
        "(memory|took .* MiB).*; it is tried again after",
    ),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("bundle")
    return convert_cached(read_source(assemble("bert", work / "source")), work, threads=2)


@pytest.fixture(scope="module")
def root(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two good models, of which one has a tokenizer that panics at one text."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(bundle, root / STEADY / "1")
    change_tokenizer(**AT_SOME_TEXTS)(assemble("bert", root / FRAGILE))
    return root


def serve(root: Path) -> Server:
    return Server(
        f"--model-dir={root}",
        f"--cache-dir={root / '.cache'}",
        f"--memory-limit-mb={LIMIT_MB}",
        "--poll-interval-s=0.2",
        "--drain-delay-s=0",
    )


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    server = serve(root)
    yield server
    assert server.stop() == 0


def publish(root: Path, bundle: Path, name: str, change: Callable[[Path], None]) -> None:
    hidden = root / f".hidden-{name}"
    shutil.copytree(bundle, hidden)
    change(hidden)
    manifest = json.loads((hidden / MANIFEST).read_text())
    manifest["files"] = {file: sha256(hidden / file) for file in manifest["files"]}
    (hidden / MANIFEST).write_text(json.dumps(manifest))
    (root / name).mkdir()
    hidden.rename(root / name / "1")


def embed(server: Server, model: str, text: str = "hello") -> httpx.Response:
    body = {"model": model, "input": text}
    return httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=DEADLINE_S)


def problem(server: Server, name: str) -> str:
    listed = httpx.get(f"{server.url}/v2/health/ready", timeout=DEADLINE_S).json()["unavailable"]
    return next((row["reason"] for row in listed if row["name"] == name), "")


def until_refused(server: Server, name: str, reason: str) -> None:
    wait_until(lambda: bool(re.search(reason, problem(server, name))))


@pytest.mark.parametrize("kind", EVIL)
def test_a_folder_that_ends_its_process_ends_only_its_trial(
    server: Server, root: Path, bundle: Path, kind: str
) -> None:
    change, reason = EVIL[kind]
    publish(root, bundle, kind, change)
    until_refused(server, kind, reason)
    assert server.process.poll() is None
    assert embed(server, STEADY).status_code == 200
    assert embed(server, kind).status_code == 503


def test_a_restart_beside_such_folders_serves_the_others(
    server: Server, root: Path, bundle: Path
) -> None:
    del server  # its fixture made the folder that is remembered as proven
    for kind, (change, _) in EVIL.items():
        if not (root / kind).exists():
            publish(root, bundle, kind, change)
    again = serve(root)
    try:
        assert embed(again, STEADY).status_code == 200
        assert embed(again, FRAGILE).status_code == 200
        for kind, (_, reason) in EVIL.items():
            until_refused(again, kind, reason)
        tried = [event for event in again.events if "in a process of its own" in event["message"]]
        assert not [event for event in tried if STEADY in event["message"]]
    finally:
        assert again.stop() == 0


def test_a_text_that_makes_a_library_panic_is_an_error_of_that_request(server: Server) -> None:
    secret = "a text of a user " + PANICS
    labels = {"protocol": "openai", "model": FRAGILE}
    assert embed(server, FRAGILE).status_code == 200
    with client_of(server) as http:
        before = count(http, "predictor_requests_total", **labels, code="200")
        response = embed(server, FRAGILE, secret)
        assert response.status_code == 500
        assert "q" * 10 not in response.text
        assert "panic" not in response.text.lower()
        assert count(http, "predictor_requests_total", **labels, code="500") == 1
        assert count(http, "predictor_requests_total", **labels, code="200") == before
    assert embed(server, FRAGILE).status_code == 200
    server.wait_for_log("a native library panicked at ")
    assert not [line for line in server.lines if "qqqq" in line or "Onig" in line]
