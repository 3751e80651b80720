"""Copies of live texts between real servers: a canary that is the same, another one, a dead one."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from predictor.bundle.corpus import verification
from predictor.kserve_sdk import messages, services
from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S
from tests.serving import Server, model_flags

pytestmark = pytest.mark.slow

TOKEN = "token-of-the-operator-0123456789abcdef"
TEXTS = list(dict.fromkeys(verification()))[:48]
SECRET = "words that a client sent and that nobody may write down"


def started(model_dir: Path, cache_dir: Path, *flags: str) -> Server:
    return Server(
        *model_flags(model_dir, cache_dir), "--drain-delay-s=0", "--log-level=debug", *flags
    )


@pytest.fixture(scope="module")
def stable(
    model_dir: Path, cache_dir: Path, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    del bundle_dir
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    running = started(model_dir, cache_dir, f"--admin-token-file={token}")
    yield running
    assert running.stop() == 0


@pytest.fixture
def operator(stable: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=stable.url, headers=headers, timeout=DEADLINE_S) as client:
        yield client
        client.delete("/admin/shadow").raise_for_status()


def begin(operator: httpx.Client, url: str, share: float = 1.0) -> None:
    order = {"url": url, "model": "minilm", "share": share, "seconds": 120}
    operator.put("/admin/shadow", json=order).raise_for_status()


def embed(server: Server, texts: list[str]) -> None:
    """Ask for vectors over V1."""
    body = {"model": "minilm", "input": texts}
    httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=DEADLINE_S).raise_for_status()


def totals(operator: httpx.Client, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """As soon as they are so."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        figures: dict[str, Any] = operator.get("/admin/shadow").json()["totals"]
        if enough(figures):
            return figures
        time.sleep(0.02)
    raise AssertionError(figures)


def settled(texts: int) -> Callable[[dict[str, Any]], bool]:
    return lambda figures: figures["compared"] + figures["failed"] + figures["dropped"] >= texts


def test_the_same_model_gives_the_same(stable: Server, server: Server, operator: Any) -> None:
    begin(operator, server.url)
    for at in range(0, len(TEXTS), 8):
        embed(stable, TEXTS[at : at + 8])
    figures = totals(operator, settled(len(TEXTS)))
    assert (figures["compared"], figures["failed"], figures["dropped"]) == (len(TEXTS), 0, 0)
    assert figures["smallest"] > 0.999_999
    assert figures["mean"] == pytest.approx(1.0, abs=1e-6)
    assert figures["histogram"][0] == len(TEXTS)
    assert (figures["stable_dimensions"], figures["dimensions"]) == (384, {"384": len(TEXTS)})
    with httpx.Client(base_url=stable.url, timeout=DEADLINE_S) as client:
        assert counted(client, "predictor_shadow_texts_total", outcome="compared") >= len(TEXTS)
        assert counted(client, "predictor_shadow_min_cosine", version="1") > 0.999_999


def test_every_protocol_is_copied(stable: Server, server: Server, operator: Any) -> None:
    begin(operator, server.url)
    tensor = messages.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"over gRPC")
    request = messages.ModelInferRequest(model_name="minilm", inputs=[tensor])
    with grpc.insecure_channel(stable.grpc) as channel:
        services.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=DEADLINE_S)
    httpx.post(
        f"{stable.url}/embed", json={"inputs": "over TEI"}, timeout=DEADLINE_S
    ).raise_for_status()
    # Token ids are of this tokenizer, and are left out.
    ids = {"model": "minilm", "input": [[7592, 2088]]}
    httpx.post(f"{stable.url}/v1/embeddings", json=ids, timeout=DEADLINE_S).raise_for_status()
    embed(stable, ["and the last"])
    figures = totals(operator, settled(3))
    assert (figures["compared"], figures["failed"], figures["dropped"]) == (3, 0, 0)
    assert figures["smallest"] > 0.999_999


def test_another_pooling_is_seen(
    stable: Server, model_dir: Path, cache_dir: Path, operator: Any
) -> None:
    other = started(model_dir, cache_dir, "--pooling=cls")
    try:
        begin(operator, other.url)
        embed(stable, TEXTS[:8])
        figures = totals(operator, settled(8))
        assert figures["compared"] == 8
        assert figures["smallest"] < 0.9
        assert figures["histogram"][0] == 0
    finally:
        assert other.stop() == 0


def test_a_dying_canary_is_not_seen_by_clients(
    stable: Server, model_dir: Path, cache_dir: Path, operator: Any
) -> None:
    canary = started(model_dir, cache_dir)
    begin(operator, canary.url)
    embed(stable, [SECRET])
    totals(operator, settled(1))
    canary.process.send_signal(signal.SIGSTOP)  # it hangs, with its sockets open
    try:
        waiting = 0
        for number in range(40):
            embed(stable, [f"{SECRET} {number}"])
            waiting += not settled(number + 2)(operator.get("/admin/shadow").json()["totals"])
        assert waiting > 0, "every client waited for its copy"
    finally:
        canary.process.kill()
    for number in range(40, 80):
        embed(stable, [f"{SECRET} {number}"])
    figures = totals(operator, lambda figures: bool(settled(81)(figures)))
    assert figures["failed"] > 0
    assert figures["compared"] + figures["failed"] + figures["dropped"] == 81
    assert canary.process.wait(DEADLINE_S) == -signal.SIGKILL
    assert canary.stop() == -signal.SIGKILL
    log = "\n".join(stable.lines + canary.lines)
    assert "the canary at " in log
    assert SECRET not in log
    assert SECRET not in httpx.get(f"{stable.url}/metrics", timeout=DEADLINE_S).text
