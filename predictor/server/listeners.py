"""The ports: taken before the models are started, answered from after that, closed in one place."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from predictor.errors import BadSetting
from predictor.server.grpc_server import GrpcServer
from predictor.server.http_connection import HttpConnection

logger = logging.getLogger(__name__)

BACKLOG = 2048


class Uvicorn(uvicorn.Server):
    """Leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def uvicorn_config(app: Any, grace_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",  # a bound method would be taken for ASGI 2
        http=HttpConnection,
        ws="none",  # an upgrade with a body would never be answered, and fail the shutdown
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=grace_s,
    )


class Listeners:
    """HTTP servers on sockets of their own, and gRPC."""

    def __init__(self, grpc_server: GrpcServer | None) -> None:
        self._grpc = grpc_server
        self._servers: list[tuple[uvicorn.Server, socket.socket]] = []
        self.serving: list[asyncio.Task[None]] = []

    def add(self, server: uvicorn.Server, host: str, port: int, what: str) -> None:
        """Take a port for it. Raises BadSetting: somebody else has it."""
        self._servers.append((server, _listen(host, port, what)))

    async def open(self) -> None:
        """Answer from now on. Raises BadSetting: gRPC's port cannot be had."""
        for server, listener in self._servers:
            task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
            self.serving.append(task)
        grpc_port = None
        if self._grpc is not None:
            try:
                grpc_port = await self._grpc.start()
            except OSError as error:
                raise BadSetting(str(error)) from error
        http_port = self._servers[0][1].getsockname()[1]
        logger.info("listening", extra={"http": http_port, "grpc": grpc_port})

    async def close(self, grace_s: float) -> bool:
        """Accept nothing more, finish what was accepted; True if all ended well."""
        for server, _ in self._servers:
            server.should_exit = True
        closing: list[Any] = [*self.serving]
        if self._grpc is not None:
            closing.append(self._grpc.stop(grace_s))
        failed = [
            outcome
            for outcome in await asyncio.gather(*closing, return_exceptions=True)
            if isinstance(outcome, BaseException)
        ]
        for error in failed:
            logger.error("a listener failed", exc_info=error)
        return not failed


def _listen(host: str, port: int, what: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BadSetting(f"cannot listen on {host}:{port} ({what}): {error.strerror}") from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
