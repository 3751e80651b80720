"""KServe's ModelServer, with the listeners and the shutdown that production needs.

KServe stays the owner of the process, the registry and health. What is replaced: REST is answered
by our routes in front of KServe's application, gRPC by our servicer, and SIGTERM drains: KServe
closes the REST listener at once while the endpoints still point at the pod (kserve/kserve#3375).
"""

import asyncio
import gc
import logging
import signal
from typing import Any

import uvloop

from predictor.access import AdminToken, Guard
from predictor.cache import RedisTier, RowCache
from predictor.engine.session import resolve_device
from predictor.metrics import count_spans
from predictor.repository import LoadedModel, Repository
from predictor.server.access_log import AccessLog
from predictor.server.admin import Admin
from predictor.server.canonical_watch import CanonicalWatch
from predictor.server.drift_watch import DriftWatch
from predictor.server.gpu_watch import GpuWatch
from predictor.server.grpc_server import GrpcServer
from predictor.server.inference import Inference
from predictor.server.kserve_sdk import ModelServer, RESTServer, kserve_app
from predictor.server.listeners import Listeners, Uvicorn, uvicorn_config
from predictor.server.loop_lag import LoopLag
from predictor.server.model import EmbeddingModel
from predictor.server.rest import Rest
from predictor.server.shadow import Shadow
from predictor.settings import Settings
from predictor.tracing import Tracer

logger = logging.getLogger(__name__)

# The admin port's address: the pod itself, and who may forward a port to it.
LOCAL = "127.0.0.1"
ADMIN_GRACE_S = 5
# Objects until a collection, by generation. What a request makes is gone at its end without the
# collector; with the default of 700 it looked so often that a cached answer took 107 µs, not 90.
GC_THRESHOLDS = (20_000, 20, 50)


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
        self.config = uvicorn_config(rest, int(settings.grace_period))
        self.server = self._server = Uvicorn(self.config)

    def _add_middlewares(self, app: Any) -> None:
        """KServe's timing middleware logs two lines a request; ours are metrics."""


class EmbeddingModelServer(ModelServer):  # type: ignore[misc]
    """Serves registered embedding models until SIGTERM; `start` returns the exit code."""

    def __init__(self, settings: Settings, repository: Repository[EmbeddingModel]) -> None:
        """Prepare.

        Raises:
            BadSetting: a file of keys or a token, or the address of Redis, is no good, or there
                can be no tracing although it is asked for.
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
        self._traffic = DriftWatch(repository.answers, settings)
        self._shadow = Shadow(repository.answers)
        self._admin = Admin(
            repository, self._memory, AdminToken.open(settings.access), self._traffic, self._shadow
        )
        self._tracer = Tracer.open(settings.server.tracing, count_spans)
        self._inference = Inference(
            repository.answers,
            Guard.open(settings.access),
            tracer=self._tracer,
            max_concurrent=settings.batching.max_concurrent_requests,
            access_log=(
                AccessLog(settings.server.access_log_rate) if settings.server.access_log else None
            ),
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
            tracer=self._tracer,
        )

    def _register(self, name: str, model: EmbeddingModel | None) -> None:
        """Keep KServe's registry at the versions that answer by default."""
        if model is not None:
            self.register_model(model, name)
        elif name in self.registered_models.get_models():
            self.registered_models.unload(name)

    async def _serve_models(self) -> None:
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._repository.look_soon)
        # What is there now stays: later collections need not look at it. Versions come after it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        listeners = self._listeners()
        lag = LoopLag()
        gpus = GpuWatch()
        watch = CanonicalWatch(self._repository.answers, self.settings.drift.canonical_interval)
        try:
            if self._redis is not None:
                self._redis.start()
            await self._repository.start(self._make, self._register, self._fatal)
            await listeners.open()
            self._shadow.start(self._fatal)
            if not self.settings.model.null_engine:
                watch.start(self._fatal)
                if resolve_device(self.settings.model.device) == "cuda":  # type: ignore[arg-type]
                    gpus.start()
                self._traffic.start(self._fatal)
            stopped = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({*listeners.serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(listeners)
        finally:
            lag.stop()
            await gpus.stop()
            await watch.stop()
            await self._traffic.stop()
            await self._shadow.stop()
            await self._repository.stop()
            if self._redis is not None:
                await self._redis.stop()
            if self._tracer is not None:
                await self._tracer.close()
        logger.info("stopped")

    def _listeners(self) -> Listeners:
        """The listeners, their ports taken. Raises BadSetting: one cannot be had."""
        settings = self.settings
        rest = Rest(self._inference, settings, self._admin, kserve_app)
        kserve_rest = _Rest(self, rest)
        kserve_rest.create_application()
        grpc_server = None
        if settings.server.enable_grpc:
            grpc_server = GrpcServer(self._inference, self._admin, settings)
        listeners = Listeners(grpc_server)
        listeners.add(kserve_rest.server, settings.server.host, settings.server.http_port, "REST")
        if settings.access.admin_port:
            local = Uvicorn(uvicorn_config(rest.local, ADMIN_GRACE_S))
            listeners.add(local, LOCAL, settings.access.admin_port, "admin")
        return listeners

    async def _drain(self, listeners: Listeners) -> None:
        """Refuse (503) while the endpoints forget this pod, then finish what was accepted."""
        self._inference.draining = True
        settings = self.settings.server
        if self._exit_code == 0:
            logger.info("draining", extra={"delay_s": settings.drain_delay})
            await asyncio.sleep(settings.drain_delay)
        if not await listeners.close(settings.grace_period):
            self._exit_code = 1

    def _fatal(self, why: str) -> None:
        """Stop with an error when the engine is lost: another process serves better than none."""
        logger.critical("stopping: %s", why)
        self._exit_code = 1
        if self._stopping is not None:
            self._stopping.set()
