"""Sends mutated requests over all protocols: no 5xx, no hang, no traceback.

    python -m tests.attack.mutate [--count 1000000] [--seed 1]

A request that fails is printed with its seed; `mutations.mutant(SEED)` makes it again.
"""

import argparse
import os
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import grpc

from tests.attack import http2
from tests.attack.mutations import Mutant, mutant
from tests.attack.target import Target, target_of
from tests.serving import Server

THREADS = 4
# Seconds within which a complete request must be answered.
ANSWER_S = 60.0
# Seconds for which an answer to what may have no end is waited for.
MAYBE_S = 0.05
# gRPC statuses that are our fault, and those that HTTP has in the hundreds of five.
FAULTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED"}
# Where a path that is not UTF-8 has ended gRPC's server, which is started again.
RESTART = "listener ended"


@dataclass
class Findings:
    """What came back."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    # Seeds of requests that failed, and how.
    failures: list[tuple[int, str]] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    restarts: int = 0
    is_alive: bool = False


def is_fault(request: Mutant, outcome: str) -> bool:
    """Whether an outcome is not what the request asked for."""
    if outcome == "504" and b'"timeout_ms"' in request.data:
        return False  # a deadline of 0 or 1 ms
    if outcome == "503" and b"/ready" in request.data:
        return False  # a path of another request has just ended gRPC's server
    return outcome.startswith("5") or outcome in FAULTS | {"no answer"}


class Sender:
    """Sends mutants, over connections that it keeps where it can."""

    def __init__(self, target: Target, findings: Findings) -> None:
        self._target = target
        self._findings = findings
        self._connection: socket.socket | None = None
        self._channel = grpc.insecure_channel(f"{target.host}:{target.grpc_port}")
        self._infer = self._channel.unary_unary(http2.INFER_PATH.decode())

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()
        if self._connection is not None:
            self._connection.close()

    def send(self, seed: int) -> None:
        """Send the mutant of a seed and note what came of it."""
        request = mutant(seed)
        if request.kind == "grpc":
            outcome = self._call(request)
        elif request.kind == "frames":
            outcome = self._frames(request)
        else:
            outcome = self._http(request)
        self._findings.outcomes[request.kind, outcome] += 1
        if is_fault(request, outcome):
            self._findings.failures.append((seed, outcome))

    def _call(self, request: Mutant) -> str:
        try:
            self._infer(request.data, timeout=ANSWER_S, wait_for_ready=True)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    def _frames(self, request: Mutant) -> str:
        with suppress(OSError), http2.connect(self._target.grpc_port) as client:
            client.settimeout(MAYBE_S)
            client.sendall(request.data)
            while client.recv(1 << 16):
                pass
            return "closed"
        return "open"

    def _http(self, request: Mutant) -> str:
        connection = self._connection or self._target.connect()
        self._connection = None
        connection.settimeout(ANSWER_S if request.is_whole else MAYBE_S)
        try:
            connection.sendall(request.data)
            status, is_kept = _answer(connection)
        except TimeoutError:
            connection.close()
            return "no answer" if request.is_whole else "open"
        except OSError:
            connection.close()
            return "reset"
        if is_kept and request.is_whole:
            self._connection = connection
        else:
            connection.close()
        return status


def _answer(connection: socket.socket) -> tuple[str, bool]:
    """The status of one answer, and whether the connection can be used again."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(1 << 16)
        if not part:
            return "closed", False
        received += part
        if received.startswith(b"HTTP/1.1 100 ") and b"\r\n\r\n" in received:
            received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    headers = dict(
        line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
    )
    left = int(headers.get(b"content-length", b"0")) - len(body)
    while left > 0:
        part = connection.recv(1 << 16)
        if not part:
            return "closed", False
        left -= len(part)
    is_kept = left == 0 and headers.get(b"connection") != b"close"
    return head[9:12].decode(), is_kept


def mutate(server: Server, number: int, seed: int, seconds: float = float("inf")) -> Findings:
    """Send so many mutants, or as many as the time allows."""
    findings = Findings()
    end = time.monotonic() + seconds
    seeds: Iterator[int] = count(seed)
    last = seed + number

    def work() -> None:
        with closing(Sender(target_of(server), findings)) as sender:
            while (each := next(seeds)) < last and time.monotonic() < end:
                sender.send(each)

    with ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(work) for _ in range(THREADS)]:
            each.result()
    findings.is_alive = server.process.poll() is None
    lines = [line for line in server.lines if "Traceback" in line]
    findings.tracebacks = [line for line in lines if RESTART not in line]
    findings.restarts = len(lines) - len(findings.tracebacks)
    return findings


def main() -> int:
    """Run and print; 1 if a request failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        flags = (f"--model-dir={os.environ['PREDICTOR_TEST_MODEL']}", f"--cache-dir={folder}")
        server = Server(*flags, "--model_name=minilm", "--null-engine", "--drain-delay-s=0")
        try:
            findings = mutate(server, options.count, options.seed, options.minutes * 60)
        finally:
            server.stop()
    print(f"requests: {sum(findings.outcomes.values())}")
    for (kind, outcome), number in sorted(findings.outcomes.items()):
        print(f"  {kind:7} {outcome:20} {number}")
    print(f"alive: {findings.is_alive}; gRPC started again: {findings.restarts}")
    for seed, outcome in findings.failures[:50]:
        print(f"failed: seed {seed}: {outcome}")
    for line in findings.tracebacks[:5]:
        print(Path(line).name if len(line) < 200 else line[:2000])
    is_good = findings.is_alive and not findings.failures and not findings.tracebacks
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
