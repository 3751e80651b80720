"""The traffic of a real server: learnt, compared, an alarm when it changes, a report to read."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.command import run_command
from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S
from tests.integration.faults.troubled import wait_until
from tests.serving import Server, model_flags

pytestmark = pytest.mark.slow

TOKEN = "token-of-the-operator-0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}
SUBJECTS = ("the guitar", "a small river", "our invoice", "the old database", "this recipe")
VERBS = ("needs", "was found beside", "is nothing without", "came before", "has replaced")
OBJECTS = ("a quiet room", "the winter", "two new strings", "our neighbours", "a longer bridge")
USUAL = [f"{s} {v} {o}" for s in SUBJECTS for v in VERBS for o in OBJECTS]
# Of four hundred texts each; a window needs a thousand.
MOST_ROUNDS = 300
# The same thing said in another script.
STRANGE = [f"старая книга лежит на столе номер {number}" for number in range(100)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drift")


def serve(model_dir: Path, cache_dir: Path, folder: Path) -> Server:
    token = folder / "token"
    token.write_text(TOKEN)
    return Server(
        *model_flags(model_dir, cache_dir),
        "--cache-mb=16", "--drain-delay-s=0", "--drift-window-s=0.01", "--drift-learn-s=1",
        f"--drift-dir={folder / 'drift'}", f"--admin-token-file={token}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def watched(
    model_dir: Path, cache_dir: Path, bundle_dir: Path, folder: Path
) -> Iterator[tuple[Server, httpx.Client]]:
    del bundle_dir  # made before, so that the start is quick
    server = serve(model_dir, cache_dir, folder)
    with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as http:
        yield server, http
    assert server.stop() == 0


def send_until(
    http: httpx.Client, texts: list[str], name: str, least: float, **labels: str
) -> None:
    """Ask, eight texts a time, until a metric is what is wanted."""
    place = 0
    for _ in range(MOST_ROUNDS):
        for _ in range(50):
            batch = [texts[(place + n) % len(texts)] for n in range(8)]
            place += 13
            http.post("/v1/embeddings", json={"model": "minilm", "input": batch}).raise_for_status()
        try:
            if counted(http, name, **labels) >= least:
                return
        except LookupError:  # nothing is compared yet
            pass
    raise AssertionError(f"{name} {labels} did not become {least}")


def download(http: httpx.Client, what: str, path: Path) -> Path:
    answer = http.get(f"/admin/drift/minilm/{what}", headers=BEARER)
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def report(*arguments: str | Path) -> tuple[int, str]:
    ended = run_command("drift", "report", *arguments)
    return ended.code, ended.out + ended.err


def test_usual_traffic_is_learnt_and_then_no_alarm(
    watched: tuple[Server, httpx.Client], folder: Path
) -> None:
    http = watched[1]
    assert counted(http, "predictor_drift_learning") == 1.0
    missing = http.get("/admin/drift/minilm/reference", headers=BEARER)
    assert missing.status_code == 404
    assert "not made yet" in missing.text
    send_until(http, USUAL, "predictor_drift_windows_total", 4, outcome="compared")
    assert counted(http, "predictor_drift_learning") == 0.0
    assert counted(http, "predictor_drift_alarm") == 0.0
    reference = download(http, "reference", folder / "reference.json")
    code, output = report(reference, download(http, "window", folder / "window.json"))
    assert (code, output.splitlines()[-1]) == (0, "no drift")


def test_another_language_is_an_alarm_and_a_report(
    watched: tuple[Server, httpx.Client], folder: Path
) -> None:
    server, http = watched
    labels = {"model": "minilm", "version": "1", "test": "scripts"}
    send_until(http, STRANGE, "predictor_drift_alarm", 1.0, **labels)
    assert counted(http, "predictor_drift_score", **labels) > 1.0
    assert server.wait_for_log("traffic of minilm 1 has drifted: ")["level"] == "warning"
    window = download(http, "window", folder / "strange.json")
    code, output = report(folder / "reference.json", window, "--json")
    assert code == 1
    drifted = {finding["name"] for finding in json.loads(output)["findings"] if finding["drifted"]}
    assert {"scripts", "direction"} <= drifted


def test_no_text_is_written_or_logged(watched: tuple[Server, httpx.Client], folder: Path) -> None:
    kept = list((folder / "drift").iterdir())
    assert {path.name.split(".", 1)[1] for path in kept} == {"reference.json", "window.json"}
    everything = "".join(path.read_text() for path in kept) + "\n".join(watched[0].lines)
    for word in ("guitar", "книга", "invoice"):
        assert word not in everything


def test_the_sketches_are_not_for_everybody(watched: tuple[Server, httpx.Client]) -> None:
    http = watched[1]
    assert http.get("/admin/drift/minilm/reference").status_code == 401
    for path, status in (
        ("minilm/else", 404),
        ("nobody/window", 404),
        ("minilm:9/window", 404),
    ):
        assert http.get(f"/admin/drift/{path}", headers=BEARER).status_code == status, path
    assert http.post("/admin/drift/minilm/window", headers=BEARER).status_code == 405


def test_the_next_server_knows_the_reference(
    watched: tuple[Server, httpx.Client], model_dir: Path, cache_dir: Path, folder: Path
) -> None:
    assert (folder / "reference.json").is_file()
    server = serve(model_dir, cache_dir, folder)
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as http:
            wait_until(lambda: "predictor_drift_learning{" in http.get("/metrics").text)
            assert counted(http, "predictor_drift_learning") == 0.0
    finally:
        assert server.stop() == 0
