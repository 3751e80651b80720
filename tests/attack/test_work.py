"""Requests that are small beside the work they asked for; each made the server stop or die.

Against the commit before, in a pod of 1 GiB: a text of 2 MB took 841 MiB, `/tokenize` of 4 MB ended
the pod, and the loop stood still for 2.5 s with 4 million ids and for 71 s with 14 000 types.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.helpers import MODEL, counted
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import PATHS, body, message_of
from tests.integration.faults.troubled import count, wait_until
from tests.serving import Server, model_flags

pytestmark = pytest.mark.slow

MIB = 1 << 20
# What an attack may take beside what the server has: about a third of what its limit of 1 GiB
# leaves it.
MOST_MORE = 192 * MIB
LIMIT = 250 * 256
QUEUE = 20_000


@pytest.fixture(scope="module")
def attacked(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    del bundle_dir
    # A slow machine takes more than a minute for some of them.
    slow = "--request-timeout-ms=300000"
    flags = ("--drain-delay-s=0", f"--max-queue-tokens={QUEUE}", slow)
    server = Server(*model_flags(model_dir, cache_dir), *flags)
    try:
        yield server
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def http(attacked: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=attacked.url, timeout=DEADLINE_S) as client:
        # All that is made at the first request is there before anything is measured.
        for text in ("hello", "word " * 600):
            assert client.post("/embed", json={"inputs": [text] * 40}).status_code == 200
        yield client


def memory(server: Server, name: str) -> int:
    """Bytes, now (VmRSS) or at most so far (VmHWM)."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise LookupError(name)


@contextmanager
def survived(server: Server) -> Iterator[None]:
    """The process lives, its memory is bounded, and the kubelet would not restart it."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak begins anew
    before = memory(server, "VmRSS")
    ended = threading.Event()
    misses: list[int] = [0]

    def probe() -> None:
        """As the kubelet: one second, three times."""
        row = 0
        with httpx.Client(base_url=server.url, timeout=1.0) as client:
            while not ended.is_set():
                try:
                    row = 0 if client.get("/v2/health/live").status_code == 200 else row + 1
                except httpx.HTTPError:
                    row += 1
                misses[0] = max(misses[0], row)
                ended.wait(0.2)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(DEADLINE_S)
    assert server.process.poll() is None
    assert misses[0] < 3
    assert memory(server, "VmHWM") - before < MOST_MORE


@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize("text", ["!" * 2_000_000, "word " * 400_000], ids=["marks", "words"])
def test_a_text_of_two_megabytes(
    attacked: Server, http: httpx.Client, protocol: str, text: str
) -> None:
    with survived(attacked):
        response = http.post(PATHS[protocol], json=body(protocol, ["a", text]))
    assert response.status_code in (400, 422)
    assert message_of(protocol, response) == (
        "inputs[1] has 2000000 characters; the limit is 64000 (--max-text-characters)"
    )


@pytest.mark.parametrize("text", ["! ", "word ", "列", "x"])
def test_a_body_full_of_texts_that_are_truncated(
    attacked: Server, http: httpx.Client, text: str
) -> None:
    """Of eight megabytes, a few hundred tokens of each text are tokenised."""
    long = (text * LIMIT)[:LIMIT]  # the same each time, so that the engine runs one row
    texts = [long] * (7 * MIB // len(long.encode()))
    with survived(attacked):
        response = http.post("/embed", content=_body(texts))
    assert response.status_code == 200
    truncated = response.headers.get("x-truncated-inputs", "").split(",")
    assert truncated == ([""] if text == "x" else [str(n) for n in range(len(texts))])


def _body(texts: list[str]) -> bytes:
    """JSON in UTF-8, without escapes."""
    return b'{"inputs":[' + b",".join(b'"%b"' % text.encode() for text in texts) + b"]}"


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        (
            "/tokenize",
            {"inputs": "a " * 2_000_000},
            "inputs[0] has 4000000 characters; the limit is 64000 (--max-text-characters)",
        ),
        (
            "/tokenize",
            {"inputs": ["a " * 30_000] * 100},
            "the inputs have 6000000 characters in all; the limit is 131072",
        ),
        (
            "/decode",
            {"ids": [7] * 2_000_000},
            "ids[0] has 2000000 token ids; the limit is 64000 (--max-text-characters)",
        ),
        (
            "/decode",
            {"ids": [[7] * 1000] * 2000},
            "the inputs have 2000000 token ids in all; the limit is 131072",
        ),
    ],
)
def test_tools_with_megabytes(
    attacked: Server, http: httpx.Client, path: str, content: Any, sentence: str
) -> None:
    with survived(attacked):
        response = http.post(path, json=content)
    assert response.status_code == 422
    assert message_of("tei", response) == sentence


def test_the_largest_answers_of_the_tools(attacked: Server, http: httpx.Client) -> None:
    with survived(attacked):
        tokens = http.post("/tokenize", json={"inputs": ["! " * 32_000] * 2})
        texts = http.post("/decode", json={"ids": [[7592] * 64_000] * 2})
    assert [len(pieces) for pieces in tokens.json()] == [32_002] * 2
    assert [len(text.split()) for text in texts.json()] == [64_000] * 2


def test_a_type_for_each_of_fourteen_thousand_entries(attacked: Server, http: httpx.Client) -> None:
    content = {"model": MODEL, "texts": ["a"] * 2048, "embedding_types": ["base64"] * 14_000}
    with survived(attacked):
        response = http.post("/v2/embed", json=content)
    assert response.status_code == 400
    assert "embedding_types has 'base64' twice" in message_of("cohere", response)


def test_a_large_answer_is_made_beside_the_loop(attacked: Server, http: httpx.Client) -> None:
    content = {"model": MODEL, "input": ["a"] * 2048}
    assert http.post("/v1/embeddings", json=content).status_code == 200
    before = counted(http, "predictor_event_loop_lag_seconds_count")
    with survived(attacked):
        response = http.post("/v1/embeddings", json=content)
    assert len(response.json()["data"]) == 2048
    end = time.monotonic() + DEADLINE_S
    while counted(http, "predictor_event_loop_lag_seconds_count") <= before:
        assert time.monotonic() < end
    assert count(http, "predictor_event_loop_long_turns_total", route="/v1/embeddings") <= 1


def test_queries_are_answered_while_ingest_is_larger_than_the_queue(
    attacked: Server, http: httpx.Client
) -> None:
    """2048 texts of the model's length made every query of every client a 429 for 37 s."""
    texts = [f"{n} " + "word " * 300 for n in range(400)]
    content = _body(texts)
    head = f"POST /embed HTTP/1.1\r\nhost: test\r\ncontent-length: {len(content)}\r\n\r\n"
    with survived(attacked):
        with socket.create_connection(("127.0.0.1", attacked.http_port)) as client:
            client.sendall(head.encode() + content)
            wait_until(lambda: counted(http, "predictor_queue_tokens") > 2 * QUEUE)
            statuses = {
                http.post("/embed", json={"inputs": f"query {n}"}).status_code for n in range(30)
            }
            # A second one of that size waits for the first.
            second = http.post("/embed", content=content.replace(b" word", b" text"))
            still = counted(http, "predictor_queue_tokens")
        wait_until(lambda: counted(http, "predictor_queue_tokens") == 0)
    assert statuses == {200}
    assert second.status_code == 429
    assert int(second.headers["retry-after"]) >= 1
    assert still > QUEUE
