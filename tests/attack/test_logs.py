"""Strangers can neither write the log without limit nor stop the server by a log nobody reads."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.attack.conftest import KEY
from tests.deadlines import DEADLINE_S
from tests.integration.faults.troubled import client_of, count
from tests.serving import Server, model_flags

pytestmark = pytest.mark.slow

MALFORMED = 2000


def malformed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_the_lines_of_malformed_requests_are_limited_and_counted(pod: Server) -> None:
    lines = len(pod.lines)
    with client_of(pod) as client:
        before = count(client, "predictor_log_lines_dropped_total", reason="rate")
        for _ in range(MALFORMED):
            malformed(pod.http_port)
        dropped = count(client, "predictor_log_lines_dropped_total", reason="rate") - before
    written = [line for line in pod.lines[lines:] if "refused a request" in line]
    assert 1 <= len(written) < MALFORMED / 10
    assert dropped + len(written) >= MALFORMED * 0.9
    assert httpx.get(f"{pod.url}/v2/health/ready", timeout=DEADLINE_S).status_code == 200


@pytest.fixture
def unread(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[int]:
    """The port of a server with an access log whose standard error nobody reads."""
    del bundle_dir
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [*model_flags(model_dir, cache_dir), "--null-engine", "--access-log"]
    process = subprocess.Popen(
        [sys.executable, "-m", "predictor", "serve", "--host=127.0.0.1", "--enable-grpc=false",
         f"--http_port={port}", "--access-log-rate=100000", "--drain-delay-s=0", *flags],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield port
    finally:
        process.terminate()
        code = process.wait(DEADLINE_S)
        assert process.stderr is not None
        process.stderr.close()
    assert code == 0


def test_a_log_that_nobody_reads_stops_nothing(unread: int) -> None:
    url = f"http://127.0.0.1:{unread}"
    with httpx.Client(base_url=url, timeout=DEADLINE_S) as client:
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                client.get("/v2/health/ready").raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() < end
                time.sleep(0.1)
        for _ in range(1500):  # lines of 200 bytes, into a pipe of 64 KiB
            response = client.post("/embed", json={"inputs": "a"}, headers={"x-api-key": KEY})
            assert response.status_code == 200
        assert client.get("/v2/health/live").json() == {"live": True}
