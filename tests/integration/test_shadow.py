"""Copies of live texts between real servers: a canary that is the same, another one, a dead one."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from predictor.export.corpus import verification
from predictor.server.kserve_sdk import messages, services
from tests.contract.helpers import counted
from tests.serving import Server, model_flags

TOKEN = "token-of-the-operator-0123456789abcdef"
SOON_S = 20.0
TEXTS = list(dict.fromkeys(verification()))[:48]
SECRET = "words that a client sent and that nobody may write down"


def started(model_dir: Path, cache_dir: Path, *flags: str) -> Server:
    return Server(
        *model_flags(model_dir, cache_dir), "--drain-delay=0", "--log-level=debug", *flags
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
    with httpx.Client(base_url=stable.url, headers=headers, timeout=30.0) as client:
        yield client
        client.delete("/admin/shadow").raise_for_status()


def begin(operator: httpx.Client, url: str, share: float = 1.0) -> None:
    order = {"url": url, "model": "minilm", "share": share, "seconds": 120}
    operator.put("/admin/shadow", json=order).raise_for_status()


def embed(server: Server, texts: list[str]) -> float:
    """Ask for vectors over V1; how long it took, seconds."""
    begun = time.perf_counter()
    body = {"model": "minilm", "input": texts}
    httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=30.0).raise_for_status()
    return time.perf_counter() - begun


def totals(operator: httpx.Client, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """As soon as they are so."""
    end = time.monotonic() + SOON_S
    while time.monotonic() < end:
        found: dict[str, Any] = operator.get("/admin/shadow").json()["totals"]
        if enough(found):
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def settled(texts: int) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["compared"] + found["failed"] + found["dropped"] >= texts


def test_the_same_model_gives_the_same(stable: Server, server: Server, operator: Any) -> None:
    begin(operator, server.url)
    for at in range(0, len(TEXTS), 8):
        embed(stable, TEXTS[at : at + 8])
    found = totals(operator, settled(len(TEXTS)))
    assert (found["compared"], found["failed"], found["dropped"]) == (len(TEXTS), 0, 0)
    assert found["smallest"] > 0.999_999
    assert found["mean"] == pytest.approx(1.0, abs=1e-6)
    assert found["histogram"][0] == len(TEXTS)
    assert (found["own"], found["widths"]) == (384, {"384": len(TEXTS)})
    with httpx.Client(base_url=stable.url) as client:
        assert counted(client, "predictor_shadow_texts_total", outcome="compared") >= len(TEXTS)
        assert counted(client, "predictor_shadow_min_cosine", version="1") > 0.999_999


def test_every_protocol_is_copied(stable: Server, server: Server, operator: Any) -> None:
    begin(operator, server.url)
    tensor = messages.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"over gRPC")
    asked = messages.ModelInferRequest(model_name="minilm", inputs=[tensor])
    with grpc.insecure_channel(stable.grpc) as channel:
        services.GRPCInferenceServiceStub(channel).ModelInfer(asked, timeout=30.0)
    httpx.post(f"{stable.url}/embed", json={"inputs": "over TEI"}).raise_for_status()
    # Token ids are of this tokenizer, and are left out.
    ids = {"model": "minilm", "input": [[7592, 2088]]}
    httpx.post(f"{stable.url}/v1/embeddings", json=ids).raise_for_status()
    embed(stable, ["and the last"])
    found = totals(operator, settled(3))
    assert (found["compared"], found["failed"], found["dropped"]) == (3, 0, 0)
    assert found["smallest"] > 0.999_999


def test_another_pooling_is_seen(
    stable: Server, model_dir: Path, cache_dir: Path, operator: Any
) -> None:
    other = started(model_dir, cache_dir, "--pooling=cls")
    try:
        begin(operator, other.url)
        embed(stable, TEXTS[:8])
        found = totals(operator, settled(8))
        assert found["compared"] == 8
        assert found["smallest"] < 0.9
        assert found["histogram"][0] == 0
    finally:
        assert other.stop() == 0


def test_nobody_sees_that_the_canary_dies(
    stable: Server, model_dir: Path, cache_dir: Path, operator: Any
) -> None:
    canary = started(model_dir, cache_dir)
    begin(operator, canary.url)
    embed(stable, [SECRET])
    totals(operator, settled(1))
    canary.process.send_signal(signal.SIGSTOP)  # it hangs, with its sockets open
    try:
        assert max(embed(stable, [f"{SECRET} {n}"]) for n in range(40)) < 3.0
    finally:
        canary.process.kill()
    for number in range(40, 80):
        embed(stable, [f"{SECRET} {number}"])
    found = totals(operator, lambda found: bool(settled(81)(found)))
    assert found["failed"] > 0
    assert found["compared"] + found["failed"] + found["dropped"] == 81
    assert canary.process.wait(10.0) == -signal.SIGKILL
    assert canary.stop() == -signal.SIGKILL
    log = "\n".join(stable.lines + canary.lines)
    assert "the canary at " in log
    assert SECRET not in log
    assert SECRET not in httpx.get(f"{stable.url}/metrics").text


def percentiles(stable: Server, count: int) -> tuple[float, float]:
    """Median and 99th percentile of requests by four clients, seconds."""

    def client(number: int) -> list[float]:
        body = {"model": "minilm", "input": ["a question of twelve words or so that somebody asks"]}
        taken = []
        with httpx.Client(base_url=stable.url, timeout=30.0) as http:
            for _ in range(count // 4):
                begun = time.perf_counter()
                http.post("/v1/embeddings", json=body).raise_for_status()
                taken.append(time.perf_counter() - begun)
        return taken

    with ThreadPoolExecutor(4) as pool:
        times = sorted(one for part in pool.map(client, range(4)) for one in part)
    return times[len(times) // 2], times[int(len(times) * 0.99)]


def test_clients_are_as_fast_beside_a_canary_that_hangs(stable: Server, operator: Any) -> None:
    # One that answers takes its CPU on this machine; one that accepts and says nothing takes none.
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        percentiles(stable, 80)
        without, with_it = [], []
        for _ in range(3):  # the machine's other work comes and goes
            without.append(percentiles(stable, 400))
            begin(operator, url)
            with_it.append(percentiles(stable, 400))
            operator.delete("/admin/shadow").raise_for_status()
    assert min(p50 for p50, _ in with_it) < 1.5 * min(p50 for p50, _ in without) + 0.002
    assert min(p99 for _, p99 in with_it) < 1.5 * min(p99 for _, p99 in without) + 0.01
