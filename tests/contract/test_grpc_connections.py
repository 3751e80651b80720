"""gRPC's health service, and connections that are renewed while they are used."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from predictor.kserve_sdk import messages, services
from tests.deadlines import DEADLINE_S
from tests.serving import Server

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
# Milliseconds after which connections are renewed.
AGE_MS = 50
RENEWALS = 20


@pytest.fixture(scope="module")
def renewing(bundle_dir: Path) -> Iterator[Server]:
    """Renews each connection after a moment, and has no engine."""
    running = Server(
        f"--model-dir={bundle_dir}",
        "--model_name=minilm",
        "--null-engine",
        "--drain-delay-s=1",
        f"--grpc-max-connection-age={AGE_MS}",
    )
    yield running
    assert running.stop() == 0


def check(channel: grpc.Channel, name: str) -> int:
    """Health/Check with messages of the same wire form as those of the standard."""
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check", StringValue.SerializeToString, Int32Value.FromString
    )
    return int(call(StringValue(value=name), timeout=DEADLINE_S).value)


def watch(channel: grpc.Channel, name: str) -> Any:
    call = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", StringValue.SerializeToString, Int32Value.FromString
    )
    return call(StringValue(value=name), timeout=DEADLINE_S)


@pytest.mark.parametrize("name", ["", "inference.GRPCInferenceService"])
def test_health_of_a_ready_server(server: Server, name: str) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        assert check(channel, name) == SERVING
        watching = watch(channel, name)
        assert next(watching).value == SERVING
        watching.cancel()


def test_the_answer_is_what_the_standard_says(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"


def test_health_of_an_unknown_service(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            check(channel, "no.such.Service")
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        watching = watch(channel, "no.such.Service")
        assert next(watching).value == SERVICE_UNKNOWN
        watching.cancel()


def test_a_message_that_is_none(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff")
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_no_call_fails_while_connections_are_renewed(renewing: Server) -> None:
    connected = 0
    enough = threading.Event()

    def count(state: grpc.ChannelConnectivity) -> None:
        nonlocal connected
        connected += state is grpc.ChannelConnectivity.READY
        if connected > RENEWALS:
            enough.set()

    request = messages.ModelInferRequest(model_name="minilm")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"hello")
    failed: list[grpc.RpcError] = []

    def call(stub: Any) -> None:
        while not enough.is_set() and not failed:
            try:
                stub.ModelInfer(request, timeout=DEADLINE_S)
            except grpc.RpcError as error:
                failed.append(error)

    with grpc.insecure_channel(renewing.grpc) as channel:
        channel.subscribe(count)
        stub = services.GRPCInferenceServiceStub(channel)
        callers = [threading.Thread(target=call, args=(stub,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        is_enough = enough.wait(DEADLINE_S)
        enough.set()
        for caller in callers:
            caller.join(DEADLINE_S)
        channel.unsubscribe(count)
    assert is_enough
    assert not failed


def test_a_watch_sees_the_end_and_does_not_delay_it(bundle_dir: Path) -> None:
    running = Server(
        f"--model-dir={bundle_dir}", "--model_name=minilm", "--null-engine", "--drain-delay-s=3"
    )
    statuses: list[int] = []
    is_serving = threading.Event()

    def read(watching: Any) -> None:
        for response in watching:
            statuses.append(response.value)
            is_serving.set()

    with grpc.insecure_channel(running.grpc) as channel:
        reading = threading.Thread(target=read, args=(watch(channel, ""),))
        reading.start()
        is_watched = is_serving.wait(DEADLINE_S)
        assert running.stop() == 0
        reading.join(DEADLINE_S)
    assert is_watched
    assert statuses == [SERVING, NOT_SERVING]
