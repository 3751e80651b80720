"""Servers in trouble: occupied, asked by many, and asked by those who leave.

Occupied here means: one request with far more tokens than the engine can do in the meantime is in
the queue, so that what comes after it has to wait.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc
import httpx

from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S
from tests.serving import Server

LONG_TEXT = "word " * 250
# Some seconds of two cores, and less than the queue takes.
FLOOD_ROWS = 400
FLOOD = json.dumps({"inputs": [LONG_TEXT] * FLOOD_ROWS}).encode()


def wait_until(condition: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
    """Poll until it holds.

    Raises:
        TimeoutError: it did not.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not so within {timeout_s} s")
        time.sleep(0.01)


def count(client: httpx.Client, name: str, **labels: str) -> float:
    """A counter, 0 where it was never counted."""
    try:
        return counted(client, name, **labels)
    except LookupError:
        return 0.0


@contextmanager
def client_of(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
        yield client


@contextmanager
def running(*flags: str) -> Iterator[Server]:
    server = Server("--drain-delay-s=0", *flags)
    try:
        yield server
    finally:
        assert server.stop() == 0


@contextmanager
def flooded(server: Server, client: httpx.Client) -> Iterator[socket.socket]:
    """A client whose request is FLOOD, most of it waiting; it leaves at the end."""
    head = f"POST /embed HTTP/1.1\r\nhost: test\r\ncontent-length: {len(FLOOD)}\r\n\r\n"
    with socket.create_connection(
        ("127.0.0.1", server.http_port), timeout=DEADLINE_S
    ) as connection:
        connection.sendall(head.encode() + FLOOD)
        wait_until(lambda: count(client, "predictor_queue_rows") > 100)
        yield connection
    wait_until(lambda: count(client, "predictor_queue_tokens") == 0)


def code_of(stub: Any, message: Any, **options: Any) -> grpc.StatusCode:
    """How a ModelInfer ends."""
    try:
        stub.ModelInfer(message, timeout=DEADLINE_S, **options)
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code()
    return grpc.StatusCode.OK
