"""gRPC's health service, and connections that are renewed while they are used."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from predictor.kserve_sdk import messages, services
from predictor.server.grpc_server.reflection import MAX_STREAMS, SERVICE_NAME
from tests.deadlines import DEADLINE_S
from tests.serving import Server

SERVICE = "inference.GRPCInferenceService"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
# Milliseconds after which connections are renewed.
AGE_MS = 50
RENEWALS = 20
# Of reflection's request: `list_services`, field 7, with an empty text.
LIST_SERVICES = b"\x3a\x00"


@pytest.fixture(scope="module")
def renewing(bundle_dir: Path) -> Iterator[Server]:
    """Renews each connection after a moment, and has no engine."""
    running = Server(
        f"--model-dir={bundle_dir}",
        "--model_name=minilm",
        "--null-engine",
        "--drain-delay-s=1",
        f"--grpc-max-connection-age={AGE_MS}",
        "--grpc-reflection",
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


@pytest.mark.parametrize("name", ["", SERVICE, "minilm"])
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


def test_reflection_describes_the_service(renewing: Server) -> None:
    with grpc.insecure_channel(renewing.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {SERVICE, SERVICE_NAME}
        described = DescriptorPool(database).FindServiceByName(SERVICE)
    expected = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert set(described.methods_by_name) == set(expected.methods_by_name)


def test_reflection_is_bounded(renewing: Server) -> None:
    with grpc.insecure_channel(renewing.grpc) as channel:
        call = channel.stream_stream(f"/{SERVICE_NAME}/ServerReflectionInfo")
        ended = threading.Event()

        def questions() -> Iterator[bytes]:
            yield LIST_SERVICES
            ended.wait(DEADLINE_S)

        held = [call(questions(), timeout=DEADLINE_S) for _ in range(MAX_STREAMS)]
        assert all(next(stream) for stream in held)
        with pytest.raises(grpc.RpcError) as raised:
            next(call(iter([LIST_SERVICES]), timeout=DEADLINE_S))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        ended.set()
        assert all(list(stream) == [] for stream in held)
        with pytest.raises(grpc.RpcError) as raised:
            next(call(iter([b"\xff\xff"]), timeout=DEADLINE_S))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_reflection_is_off_by_default(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(f"/{SERVICE_NAME}/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as raised:
            next(call(iter([LIST_SERVICES]), timeout=DEADLINE_S))
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


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
