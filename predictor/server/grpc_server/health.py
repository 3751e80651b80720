"""gRPC's standard health service, for probes and clients that do not know V2.

Its two messages have the wire form of two of protobuf's own types, so no package is needed for
them: grpcio-health-checking has a table of statuses that somebody has to keep current, while here
the answer is the server's readiness at that moment. Source: github.com/grpc/grpc-proto,
grpc/health/v1/health.proto.
"""

import asyncio
from collections.abc import Callable

import grpc
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from predictor.errors import ModelNotFound, PredictorError, TooManyRequests
from predictor.server.grpc_server.calls import Context, Messages, abort, one_message, parse, refused

HEALTH = "grpc.health.v1.Health"
# Of ServingStatus.
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
# Watches at once. They need no key and end when the client wants, so they have an own limit.
MAX_WATCHES = 100
# Seconds between two looks at the status.
LOOK_S = 1.0


class HealthService:
    """`Check` and `Watch` for the server as a whole, each of its services, and each model."""

    def __init__(
        self,
        services: frozenset[str],
        is_ready: Callable[[], bool],
        is_draining: Callable[[], bool],
        is_model_ready: Callable[[str], bool | None],
        unread: Messages,
        look_s: float = LOOK_S,
    ) -> None:
        """Prepare.

        Args:
            services: the names that are known; the empty name is the server.
            is_model_ready: whether a model can answer; None: there is none of that name.
            unread: reads the messages of calls.
        """
        self._services = services | {""}
        self._is_ready = is_ready
        self._is_draining = is_draining
        self._is_model_ready = is_model_ready
        self._messages = unread
        self._look_s = look_s
        self._watches = 0

    def methods(self) -> dict[str, grpc.RpcMethodHandler]:
        """The handlers by the names of their methods."""
        return {
            "Check": one_message(self.check),
            "Watch": grpc.stream_stream_rpc_method_handler(self.watch),
        }

    async def check(self, requests: object, context: Context) -> bytes:
        """The status of a service; NOT_FOUND for an unknown name."""
        del requests
        name = await self._name(context)
        status = self._status(name)
        if status == SERVICE_UNKNOWN:
            await abort(context, ModelNotFound(f"no such service or model: {name[:80]!r}"))
        return _response(status)

    async def watch(self, requests: object, context: Context) -> None:
        """Send the status of a service now and at each change, until the server stops."""
        del requests
        if self._watches >= MAX_WATCHES:
            refused("calls")
            await abort(context, TooManyRequests(f"too many watches; the limit is {MAX_WATCHES}"))
        self._watches += 1
        try:
            name = await self._name(context)
            sent = 0
            while True:
                status = self._status(name)
                if status != sent:
                    await context.write(_response(status))
                    sent = status
                if self._is_draining():
                    return  # an open call would make the shutdown wait for it
                await asyncio.sleep(self._look_s)
        finally:
            self._watches -= 1

    def _status(self, name: str) -> int:
        ready = self._is_ready() if name in self._services else self._is_model_ready(name)
        if ready is None:
            return SERVICE_UNKNOWN
        return SERVING if ready else NOT_SERVING

    async def _name(self, context: Context) -> str:
        """The service that a call is about; abort a call without a valid message."""
        try:
            return str(parse(StringValue, await self._messages.read(context)).value)
        except PredictorError as error:
            await abort(context, error)
            raise


def _response(status: int) -> bytes:
    body: bytes = Int32Value(value=status).SerializeToString()
    return body
