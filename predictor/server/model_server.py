"""KServe's ModelServer, with the listeners and the shutdown that production needs.

KServe stays the owner of the process, the registry and health. What is replaced: REST is answered
by our routes in front of KServe's application, gRPC by our servicer, and SIGTERM drains: KServe
closes the REST listener at once while the endpoints still point at the pod (kserve/kserve#3375).
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
import uvloop

from predictor.access import AdminToken, Guard
from predictor.cache import RedisTier, RowCache
from predictor.errors import BadSetting
from predictor.repository import LoadedModel, Repository
from predictor.server.admin import Admin
from predictor.server.grpc_server import GrpcServer
from predictor.server.inference import Inference
from predictor.server.kserve_sdk import ModelServer, RESTServer, kserve_app
from predictor.server.model import EmbeddingModel
from predictor.server.rest import Rest
from predictor.settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 2048
# The admin port's address: the pod itself, and who may forward a port to it.
LOCAL = "127.0.0.1"
ADMIN_GRACE_S = 5


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn_config(app: Any, grace_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
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


class _Rest(RESTServer):  # type: ignore[misc]
    """KServe's REST server with our application in front of KServe's."""

    def __init__(self, server: "EmbeddingModelServer", rest: Rest) -> None:
        settings = server.settings.server
        super().__init__(
            "kserve.model_server:app",
            server.dataplane,
            server.model_repository_extension,
            settings.http_port,
            grace_period=int(settings.grace_period),
        )
        self.config = _uvicorn_config(rest, int(settings.grace_period))
        self.server = self._server = _Uvicorn(self.config)

    def _add_middlewares(self, app: Any) -> None:
        """KServe's timing middleware logs two lines a request; ours are metrics."""


class EmbeddingModelServer(ModelServer):  # type: ignore[misc]
    """Serves registered embedding models until SIGTERM; `start` returns the exit code."""

    def __init__(self, settings: Settings, repository: Repository[EmbeddingModel]) -> None:
        """Prepare.

        Raises:
            BadSetting: a file of keys or a token, or the address of Redis, is no good.
        """
        self.settings, self._repository = settings, repository
        super().__init__(
            http_port=settings.server.http_port,
            grpc_port=settings.server.grpc_port,
            workers=1,
            enable_grpc=False,  # KServe's own; ours is started below
            grace_period=int(settings.server.grace_period),
        )
        cache = settings.cache
        # Vectors that are all the same would only measure the cache.
        use_cache = not settings.model.null_engine
        self._memory = RowCache(cache) if use_cache and cache.cache_mb else None
        self._redis = RedisTier(cache) if use_cache and cache.cache_redis_url else None
        self._admin = Admin(repository, self._memory, AdminToken.open(settings.access))
        self._inference = Inference(
            repository.answers,
            Guard.open(settings.access),
            max_concurrent=settings.batching.max_concurrent_requests,
            access_log=settings.server.access_log,
        )
        self._stopping: asyncio.Event | None = None
        self._exit_code = 0

    def start(self) -> int:
        """Serve until told to stop.

        Raises:
            BadSetting: a port cannot be had.
            BadModel: there is nothing to serve.
        """
        # KServe's --event-loop has no effect with one worker: asyncio.run makes its own loop.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve_models())
        return self._exit_code

    def _make(self, loaded: LoadedModel) -> EmbeddingModel:
        return EmbeddingModel(
            loaded,
            self.settings,
            on_fatal=self._fatal,
            memory=self._memory,
            redis=self._redis,
        )

    def _register(self, name: str, model: EmbeddingModel | None) -> None:
        """Keep KServe's registry at the versions that answer by default."""
        if model is not None:
            self.register_model(model, name)
        elif name in self.registered_models.get_models():
            self.registered_models.unload(name)

    async def _serve_models(self) -> None:
        settings = self.settings
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._repository.look_soon)
        listener = _listen(settings.server.host, settings.server.http_port)
        if self._redis is not None:
            self._redis.start()
        await self._repository.start(self._make, self._register, self._fatal)
        rest = Rest(self._inference, settings, self._admin, kserve_app)
        kserve_rest = _Rest(self, rest)
        kserve_rest.create_application()
        servers: list[uvicorn.Server] = [kserve_rest.server]
        serving: list[asyncio.Task[None]] = []
        serving.append(loop.create_task(kserve_rest.server.serve(sockets=[listener])))
        admin_port = settings.access.admin_port
        if admin_port:
            local = _listen(LOCAL, admin_port)
            servers.append(_Uvicorn(_uvicorn_config(rest.local, ADMIN_GRACE_S)))
            serving.append(loop.create_task(servers[1].serve(sockets=[local])))
        grpc_server = (
            GrpcServer(self._inference, self._admin, settings)
            if settings.server.enable_grpc
            else None
        )
        grpc_port = await _start_grpc(grpc_server)
        stopped = asyncio.create_task(self._stopping.wait())
        # What is there now stays: later collections need not look at it.
        gc.collect()
        gc.freeze()
        logger.info("listening", extra={"http": listener.getsockname()[1], "grpc": grpc_port})
        await asyncio.wait({*serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await self._drain(servers, serving, grpc_server)
        await self._repository.stop()
        if self._redis is not None:
            await self._redis.stop()
        logger.info("stopped")

    async def _drain(
        self,
        servers: list[uvicorn.Server],
        serving: list[asyncio.Task[None]],
        grpc_server: GrpcServer | None,
    ) -> None:
        """Refuse (503) while the endpoints forget this pod, then finish what was accepted."""
        self._inference.draining = True
        settings = self.settings.server
        if self._exit_code == 0:
            logger.info("draining", extra={"delay_s": settings.drain_delay})
            await asyncio.sleep(settings.drain_delay)
        for server in servers:
            server.should_exit = True
        closing: list[Any] = [*serving]
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
