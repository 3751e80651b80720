"""KServe's ModelServer, with the listeners and the shutdown that production needs.

KServe stays the owner of the process, the registry and health. What is replaced: REST is answered
by our routes in front of KServe's application, gRPC by our servicer, and SIGTERM drains: KServe
closes the REST listener at once while the endpoints still point at the pod (kserve/kserve#3375).
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
import uvloop

from predictor.errors import BadSetting
from predictor.server.grpc_server import GrpcServer
from predictor.server.inference import Inference
from predictor.server.kserve_sdk import ModelServer, RESTServer, kserve_app
from predictor.server.model import EmbeddingModel
from predictor.server.rest import Rest
from predictor.settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 2048


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Rest(RESTServer):  # type: ignore[misc]
    """KServe's REST server with our application in front of KServe's."""

    def __init__(self, server: "EmbeddingModelServer", inference: Inference) -> None:
        settings = server.settings.server
        super().__init__(
            "kserve.model_server:app",
            server.dataplane,
            server.model_repository_extension,
            settings.http_port,
            grace_period=int(settings.grace_period),
        )
        self.config = uvicorn.Config(
            Rest(inference, server.settings, kserve_app),
            http="httptools",
            loop="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=int(settings.grace_period),
        )
        self.server = self._server = _Uvicorn(self.config)

    def _add_middlewares(self, app: Any) -> None:
        """KServe's timing middleware logs two lines a request; ours are metrics."""


class EmbeddingModelServer(ModelServer):  # type: ignore[misc]
    """Serves registered embedding models until SIGTERM; `start` returns the exit code."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__(
            http_port=settings.server.http_port,
            grpc_port=settings.server.grpc_port,
            workers=1,
            enable_grpc=False,  # KServe's own; ours is started below
            grace_period=int(settings.server.grace_period),
        )
        self._stopping: asyncio.Event | None = None
        self._exit_code = 0

    def start(self, models: list[EmbeddingModel]) -> int:
        """Serve until told to stop.

        Raises:
            BadSetting: a port cannot be had.
        """
        self._register_and_check_atleast_one_model_is_ready(models)
        # KServe's --event-loop has no effect with one worker: asyncio.run makes its own loop.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve_models(models))
        return self._exit_code

    async def _serve_models(self, models: list[EmbeddingModel]) -> None:
        settings = self.settings
        inference = Inference(
            self.registered_models,
            models[0].name,
            settings.batching.max_concurrent_requests,
            settings.server.access_log,
        )
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        listener = _listen(settings.server.host, settings.server.http_port)
        for model in models:
            model.start_batching(self._fatal)
        rest = _Rest(self, inference)
        rest.create_application()
        grpc_server = GrpcServer(inference, settings) if settings.server.enable_grpc else None
        grpc_port = await _start_grpc(grpc_server)
        serving = asyncio.create_task(rest.server.serve(sockets=[listener]))
        stopped = asyncio.create_task(self._stopping.wait())
        logger.info("listening", extra={"http": listener.getsockname()[1], "grpc": grpc_port})
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await self._drain(inference, rest.server, serving, grpc_server)
        for model in models:
            await model.stop_batching()
        logger.info("stopped")

    async def _drain(
        self,
        inference: Inference,
        rest: uvicorn.Server,
        serving: asyncio.Task[None],
        grpc_server: GrpcServer | None,
    ) -> None:
        """Refuse (503) while the endpoints forget this pod, then finish what was accepted."""
        inference.draining = True
        settings = self.settings.server
        if self._exit_code == 0:
            logger.info("draining", extra={"delay_s": settings.drain_delay})
            await asyncio.sleep(settings.drain_delay)
        rest.should_exit = True
        closing: list[Any] = [serving]
        if grpc_server is not None:
            closing.append(grpc_server.stop(settings.grace_period))
        for outcome in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(outcome, BaseException):
                logger.error("a listener failed", exc_info=outcome)
                self._exit_code = 1

    def _fatal(self, why: str) -> None:
        """Stop with an error when the engine is lost: another process serves better than none."""
        logger.critical("stopping: %s", why)
        self._exit_code = 1
        if self._stopping is not None:
            self._stopping.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BadSetting(f"cannot listen on {host}:{port} (REST): {error.strerror}") from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


async def _start_grpc(server: GrpcServer | None) -> int | None:
    if server is None:
        return None
    try:
        return await server.start()
    except OSError as error:
        raise BadSetting(str(error)) from error
