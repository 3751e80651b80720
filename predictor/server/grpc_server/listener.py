"""The gRPC listener: its port, its limits, and a new server on the same port when one has ended."""

import asyncio
import contextlib

import grpc

from predictor.protocols.v2_grpc import V2GrpcCodec
from predictor.server.admin import Admin
from predictor.server.grpc_server import client_faults, kept_requests
from predictor.server.grpc_server.calls import Messages, one_message
from predictor.server.grpc_server.health import HEALTH, HealthService
from predictor.server.grpc_server.servicer import SERVICE, Servicer
from predictor.server.inference import Inference
from predictor.settings import Settings, TransportSettings
from predictor.settings.transport import soft_descriptors

# Calls beyond the limit of our own, which are answered if they need no message, such as health.
RESERVED_CALLS = 256
# Bytes that a stream may send before its handler reads: HTTP/2's own default for the window.
LOOKAHEAD_BYTES = 64 << 10
# Seconds after which an error that has ended the listener is noticed.
WAIT_S = 0.25
# Longest wait, seconds, for the end of the calls of a server that has ended.
DESTROY_S = 5.0


class GrpcServer:
    """The listener; all methods on the loop that serves."""

    def __init__(
        self, inference: Inference, codec: V2GrpcCodec, admin: Admin, settings: Settings
    ) -> None:
        self._settings = settings
        self._servicer = Servicer(inference, codec, admin, settings)
        self._health = HealthService(
            frozenset({SERVICE}),
            lambda: inference.ready,
            lambda: inference.draining,
            inference.is_model_ready,
            self._servicer.messages,
        )
        self._port = settings.server.grpc_port
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the port is known once the listener has started."""
        return self._settings.server.host, self._port

    async def start(self) -> int:
        """Listen, on the port of the time before if there was one; returns the port.

        Raises:
            OSError: the port is taken.
        """
        await self._destroy()
        client_faults.ignore_in_the_log()
        calls = self._settings.transport.grpc_max_concurrent_calls + RESERVED_CALLS
        server = kept_requests.server(_options(self._settings), calls)
        handlers = {name: one_message(call) for name, call in self._servicer.methods().items()}
        services = {SERVICE: handlers, HEALTH: self._health.methods()}
        if self._settings.transport.grpc_reflection:
            services |= _reflection(self._servicer.messages)
        for name, methods in services.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
            server.add_registered_method_handlers(name, methods)
        host = self._settings.server.host
        address = f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"
        try:
            self._port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address} (gRPC): is the port taken?") from error
        await server.start()
        self._server = server
        return self._port

    async def _destroy(self) -> None:
        """End the calls of a server that an error has ended, and free what it has of the core."""
        if self._server is None:
            return
        with contextlib.suppress(Exception):  # what ended it is raised again
            async with asyncio.timeout(DESTROY_S):
                await self._server.stop(None)

    async def ended(self) -> None:
        """Return when the listener has ended. Raises what ended it, if it was an error."""
        # In short waits, because only the end of a wait tells of an error before all calls that
        # the error has cancelled are gone, and because a wait without limit must not be cancelled.
        while self._server is not None and await self._server.wait_for_termination(WAIT_S):
            pass

    async def stop(self, grace_s: float) -> None:
        if self._server is not None:
            await self._server.stop(grace_s)


def _reflection(messages: Messages) -> dict[str, dict[str, grpc.RpcMethodHandler]]:
    # Imported where it is wanted: it loads the descriptors of protobuf's own messages.
    from predictor.server.grpc_server.reflection import SERVICE_NAME, ReflectionService

    return {SERVICE_NAME: ReflectionService((SERVICE,), messages).methods()}


def _options(settings: Settings) -> list[tuple[str, int]]:
    transport: TransportSettings = settings.transport
    return [
        ("grpc.max_receive_message_length", settings.request.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.max_metadata_size", transport.max_header_bytes),
        ("grpc.absolute_max_metadata_size", transport.max_header_bytes),
        ("grpc.max_concurrent_streams", transport.grpc_max_concurrent_streams),
        (
            "grpc.max_allowed_incoming_connections",
            max(1, min(transport.grpc_max_connections, soft_descriptors() // 4)),
        ),
        # The window grows with the message that a handler reads, not with what a client sends.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        *_connection_options(transport),
    ]


def _connection_options(transport: TransportSettings) -> list[tuple[str, int]]:
    """How connections are kept alive, and when they are renewed."""
    options = [
        ("grpc.keepalive_time_ms", transport.grpc_keepalive_time),
        ("grpc.keepalive_timeout_ms", transport.grpc_keepalive_timeout),
        ("grpc.keepalive_permit_without_calls", int(transport.grpc_keepalive_permit_without_calls)),
        ("grpc.http2.max_pings_without_data", transport.grpc_http2_max_pings_without_data),
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            transport.grpc_http2_min_recv_ping_interval_without_data,
        ),
        ("grpc.http2.max_ping_strikes", transport.grpc_http2_max_ping_strikes),
    ]
    if transport.grpc_max_connection_age:
        options += [
            ("grpc.max_connection_age_ms", transport.grpc_max_connection_age),
            ("grpc.max_connection_age_grace_ms", transport.grpc_max_connection_age_grace),
        ]
    return options
