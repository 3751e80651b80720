"""gRPC's server reflection, for clients that have no proto file, such as grpcurl. Off by default.

What it tells is public (KServe's proto), so it needs no key; what a client can hold by it is
bounded here. The standard health service is not listed: its messages have no descriptors here.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_reflection.v1alpha.reflection import SERVICE_NAME, aio
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from predictor.errors import DeadlineExceeded, PredictorError, TooManyRequests
from predictor.server.grpc_server.calls import Context, Messages, abort, parse, refused

__all__ = ["SERVICE_NAME", "ReflectionService"]

# Streams at once, and seconds that one may take.
MAX_STREAMS = 16
STREAM_S = 60.0


class ReflectionService:
    """`ServerReflectionInfo`: each message is a question, and has one answer."""

    def __init__(self, services: tuple[str, ...], messages: Messages) -> None:
        """Prepare.

        Args:
            services: the names of those that are described.
            messages: reads the messages of calls.
        """
        self._servicer = aio.ReflectionServicer((*services, SERVICE_NAME))
        self._messages = messages
        self._streams = 0

    def methods(self) -> dict[str, grpc.RpcMethodHandler]:
        """The handlers by the names of their methods."""
        handler = grpc.stream_stream_rpc_method_handler(self.answer)
        return {"ServerReflectionInfo": handler}

    async def answer(self, requests: object, context: Context) -> None:
        """Answer until the client ends the stream, or its time is over."""
        del requests
        if self._streams >= MAX_STREAMS:
            refused("calls")
            limit = f"the limit is {MAX_STREAMS}"
            await abort(context, TooManyRequests(f"too many streams of reflection; {limit}"))
        self._streams += 1
        try:
            async with asyncio.timeout(STREAM_S):
                async for response in self._servicer.ServerReflectionInfo(
                    self._requests(context), context
                ):
                    await context.write(response.SerializeToString())
        except TimeoutError:
            late = DeadlineExceeded(f"a stream of reflection may take {STREAM_S:g} s")
            await abort(context, late)
        except PredictorError as error:
            await abort(context, error)
        finally:
            self._streams -= 1

    async def _requests(self, context: Context) -> AsyncIterator[ServerReflectionRequest]:
        while (message := await self._messages.read_next(context)) is not None:
            yield parse(ServerReflectionRequest, message)
