"""grpc.aio's server, with the memory of its accept loop kept until gRPC's core is done with it.

grpcio decodes the path of a call to a method that it does not know in its accept loop, and a path
that is not UTF-8 ends the loop. The loop then cancels its pending requests for calls and frees what
the core will write to when the server shuts down. Of five series of eight such paths, four ended
the process with SIGSEGV (grpcio 1.85.1). Here a pending request lives until the core has ended it.
"""

import asyncio
import contextlib
from typing import Any

import grpc
from grpc._cython import cygrpc


class _AioServer(cygrpc.AioServer):  # type: ignore[misc]  # Cython has no types
    """Hands the accept loop futures that it may cancel, in place of the tasks themselves."""

    # The name is grpcio's.
    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        request: asyncio.Task[Any] = super()._make_request_call_future(method)
        _REQUESTS.add(request)
        request.add_done_callback(_forget)
        return asyncio.shield(request)

    # The name is grpcio's, which calls it in a task that nobody waits for.
    async def shutdown(self, grace: float | None) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # it has ended the loop; the listener logs it
            await super().shutdown(grace)


_REQUESTS: set["asyncio.Task[Any]"] = set()


def _forget(request: "asyncio.Task[Any]") -> None:
    _REQUESTS.discard(request)
    if not request.cancelled():
        request.exception()  # of a request that the loop has cancelled, nothing reads it


def server(options: list[tuple[str, int]], maximum_concurrent_rpcs: int) -> grpc.aio.Server:
    """Make a server; see `grpc.aio.server`."""
    made = grpc.aio.server(options=options, maximum_concurrent_rpcs=maximum_concurrent_rpcs)
    # The Cython object cannot be told which class to use, and nothing is registered with it yet.
    loop = asyncio.get_running_loop()
    made._server = _AioServer(loop, None, (), (), tuple(options), maximum_concurrent_rpcs)
    return made
