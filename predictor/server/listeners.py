"""The ports: bound before the models are started, served after that, watched, closed in one place.

A listener that ends by itself is started again on the same port. A byte that is not UTF-8 in the
path of one gRPC call is enough to end grpcio's server (grpcio 1.85.1), and a pod whose gRPC port is
gone must neither look ready nor stay like that.
"""

import asyncio
import contextlib
import logging
import select
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, cast

import uvicorn

from predictor.errors import BadSetting
from predictor.metrics import LISTENER_RESTARTS
from predictor.server.grpc_server import GrpcServer
from predictor.server.health import ListenerHealth
from predictor.server.http.connection import Connections, HttpConnection, HttpLimits
from predictor.server.ledger import Ledger
from predictor.server.watch.ports import connectable
from predictor.supervised_task import RestartBudget

logger = logging.getLogger(__name__)

BACKLOG = 2048
# Iterations of the event loop in which a closing listener still accepts connections.
MAX_ACCEPTED = 2 * BACKLOG
# Iterations of the event loop from a waiting connection to its protocol.
ACCEPT_ITERATIONS = 3


class Uvicorn(uvicorn.Server):
    """A uvicorn server that installs no signal handlers and loses no connection at its end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept the connections that clients have opened already, then close the listener."""
        waiting = select.poll()
        for listening in sockets or ():
            waiting.register(listening, select.POLLIN)
        quiet = 0
        for _ in range(MAX_ACCEPTED):
            quiet = 0 if waiting.poll(0) else quiet + 1
            if quiet > ACCEPT_ITERATIONS:
                break
            await asyncio.sleep(0)
        await super().shutdown(sockets)


def uvicorn_config(app: Any, grace_s: int, connections: Connections) -> uvicorn.Config:
    """The settings of uvicorn. connections: those of this listener."""
    return uvicorn.Config(
        app,
        interface="asgi3",  # a bound method would be taken for ASGI 2
        http=cast(type[asyncio.Protocol], partial(HttpConnection, connections)),
        ws="none",  # an upgrade with a body would never be answered, and fail the shutdown
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=grace_s,
    )


class Listener(Protocol):
    """What is served on one port."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""

    async def start(self) -> int:
        """Listen; return the port. Raises OSError."""

    async def ended(self) -> None:
        """Return when it has ended. Raises what ended it, if it was an error."""

    async def stop(self, grace_s: float) -> None:
        """Finish accepted requests and end."""


class HttpListener:
    """An ASGI application on a port of its own, by uvicorn."""

    def __init__(
        self, app: Any, listening: socket.socket, grace_s: int, connections: Connections
    ) -> None:
        self.connections = connections
        self._app = app
        # Stays open while uvicorn is started again, so that the port refuses no connection.
        self._socket = listening
        self.address: tuple[str, int] = listening.getsockname()[:2]
        self._grace_s = grace_s
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        self._abandon()
        self._server = Uvicorn(uvicorn_config(self._app, self._grace_s, self.connections))
        serving = self._server.serve(sockets=[self._socket.dup()])
        self._task = asyncio.get_running_loop().create_task(serving)
        return self.address[1]

    async def ended(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self, grace_s: float) -> None:
        del grace_s  # uvicorn has it
        self._socket.close()  # uvicorn has a copy of its own
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            try:
                await self._task
            finally:
                self._abandon()

    def _abandon(self) -> None:
        """Close the listening sockets of a server that has ended by an error."""
        for abandoned in getattr(self._server, "servers", ()):
            abandoned.close()


class Listeners:
    """HTTP listeners on sockets of their own, and gRPC; each is watched."""

    def __init__(
        self,
        grpc_server: GrpcServer | None,
        health: ListenerHealth,
        restarts_per_minute: int,
        on_fatal: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            restarts_per_minute: ends of one listener within a minute after which `on_fatal` is
                called with a sentence.
        """
        self._health = health
        self._restarts_per_minute = restarts_per_minute
        self._on_fatal = on_fatal
        self._http: dict[str, HttpListener] = {}
        self._grpc = grpc_server
        self._watching: list[asyncio.Task[None]] = []

    def add(
        self,
        name: str,
        app: Any,
        address: tuple[str, int],
        grace_s: int,
        limits: HttpLimits,
        ledger: Ledger,
    ) -> None:
        """Bind a port for an application. Raises BadSetting if the port is in use."""
        connections = Connections(limits, ledger)
        self._http[name] = HttpListener(app, _listen(name, *address), grace_s, connections)

    @property
    def _all(self) -> dict[str, Listener]:
        listeners: dict[str, Listener] = dict(self._http)
        if self._grpc is not None:
            listeners["gRPC"] = self._grpc
        return listeners

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where each listener can be connected to from this pod, by its name."""
        return {name: connectable(listener.address) for name, listener in self._all.items()}

    async def open(self) -> None:
        """Start to answer. Raises BadSetting if the gRPC port is in use."""
        ports = {}
        for name, listener in self._all.items():
            LISTENER_RESTARTS.labels(name)  # the series is there before the first restart
            try:
                ports[name] = await listener.start()
            except OSError as error:
                raise BadSetting(str(error)) from error
            watching = asyncio.get_running_loop().create_task(self._watch(name, listener))
            self._watching.append(watching)
        logger.info("listening", extra={"http": ports["REST"], "grpc": ports.get("gRPC")})

    def drain(self) -> None:
        """From now on, close each HTTP connection with its next answer."""
        for listener in self._http.values():
            listener.connections.drain()

    async def close(self, grace_s: float) -> bool:
        """Stop accepting, finish accepted requests; return whether all listeners ended well."""
        for watching in self._watching:
            watching.cancel()
        closing = [listener.stop(grace_s) for listener in self._all.values()]
        failed = [
            outcome
            for outcome in await asyncio.gather(*closing, return_exceptions=True)
            if isinstance(outcome, BaseException)
        ]
        for error in failed:
            logger.error("a listener failed", exc_info=error)
        return not failed

    async def _watch(self, name: str, listener: Listener) -> None:
        """Start a listener again whenever it has ended, until that happens too often."""
        budget = RestartBudget(self._restarts_per_minute)
        problem = await _end_of(listener.ended())
        while True:
            self._health.set_running(name, False)
            if not budget.take(time.monotonic()):
                self._on_fatal(f"the {name} listener has ended {budget.recent} times in a minute")
                return
            logger.error("the %s listener ended and is started again", name, exc_info=problem)
            await asyncio.sleep(pause_s(budget.recent))
            problem = await _end_of(listener.start())
            if problem is None:
                LISTENER_RESTARTS.labels(name).inc()
                self._health.set_running(name, True)
                problem = await _end_of(listener.ended())


async def _end_of(waiting: Any) -> Exception | None:
    """Wait, and return the error if there was one."""
    try:
        await waiting
    except Exception as error:
        return error
    return None


def pause_s(recent: int) -> float:
    """Seconds before a listener is started again, by the number of its ends within a minute.

    A client that can end a listener must be able neither to keep the process busy with it, nor to
    reach the number of ends after which the process ends (`--max-listener-restarts-per-minute`).
    """
    return 0.0 if recent <= 1 else min(1.0, 0.1 * recent)


def _listen(name: str, host: str, port: int) -> socket.socket:
    is_ipv6 = ":" in host
    listener: socket.socket | None = None
    try:
        listener = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:  # `::` serves both families, as it does for gRPC
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
    except OSError as error:
        if listener is not None:
            listener.close()
        raise BadSetting(f"cannot listen on {host}:{port} ({name}): {error.strerror}") from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
