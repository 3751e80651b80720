"""The serving process: its models, listeners and background tasks, and how they start and end.

KServe's ModelServer is not used: it registers models once, answers unknown paths in another shape,
and closes the REST listener at SIGTERM while the endpoints still point at the pod
(kserve/kserve#3375). What of KServe is used stands in `kserve_sdk`.
"""

import asyncio
import gc
import logging
import signal
import sys
from functools import cache, partial

import uvloop
from prometheus_client import REGISTRY

from predictor.access import AdminToken, Authenticator
from predictor.cache import RedisTier, RowCache
from predictor.engine.session import resolve_device
from predictor.repository import LoadedModel, Repository
from predictor.server.access_log import AccessLog
from predictor.server.admin import Admin
from predictor.server.application import Application
from predictor.server.grpc_server import GrpcServer
from predictor.server.http.app import HttpApplication
from predictor.server.http.connection import http_limits
from predictor.server.http.cors import CorsApplication, origins_of
from predictor.server.http.documentation import openapi
from predictor.server.http.page import Figures
from predictor.server.http.request import AsgiApp
from predictor.server.http.route import Router
from predictor.server.http.services import Services
from predictor.server.http.watches import Watches
from predictor.server.inference import Inference
from predictor.server.ledger import ledger_of
from predictor.server.listeners import Listeners
from predictor.server.metrics.aliases import parse_kinds
from predictor.server.metrics.exposition import Exposition
from predictor.server.model import ServedModel
from predictor.server.shadow.shadow import ShadowSender
from predictor.server.watch.canonical import CanonicalWatch
from predictor.server.watch.drift import DriftWatch
from predictor.server.watch.gpu import GpuWatch
from predictor.server.watch.loop_lag import LoopLag
from predictor.server.watch.ports import PortWatch
from predictor.server.watch.resident_memory import ResidentMemoryWatch
from predictor.settings import ServerSettings, Settings
from predictor.tracing import Tracer
from predictor.version_metrics import count_spans

logger = logging.getLogger(__name__)

# The admin port's address: reachable from the pod itself and by `kubectl port-forward`.
LOCAL = "127.0.0.1"
ADMIN_GRACE_S = 5
# Seconds between two checks of the server's own ports.
PORTS_S = 5.0
# Objects until a garbage collection, by generation. Reference counting frees a request's objects;
# with the default of 700 the collector ran so often that a cached answer took 107 µs, not 90.
GC_THRESHOLDS = (20_000, 20, 50)
# Seconds after which a thread that waits for Python's lock is given it. An engine's thread waits
# for it twice a batch, to pack the rows and to hand over the vectors; the default is 5 ms.
SWITCH_INTERVAL_S = 0.0005


class Server:
    """Serves the models of a repository until SIGTERM; `start` returns the exit code."""

    def __init__(
        self,
        settings: Settings,
        repository: Repository[ServedModel],
        application: Application,
    ) -> None:
        """Prepare.

        Raises:
            BadSetting: a file of keys or a token, or the address of Redis, is no good, or there
                can be no tracing although it is asked for.
        """
        self.settings = settings
        self._repository = repository
        self._application = application
        rows = settings.cache
        # Vectors that are all the same would only measure the cache.
        use_cache = not settings.model.null_engine
        self._memory = RowCache(rows) if use_cache and rows.cache_mb else None
        self._redis = RedisTier(rows) if use_cache and rows.cache_redis_url else None
        self._traffic = DriftWatch(repository.routing_table, settings)
        self._shadow = ShadowSender(repository.routing_table)
        self._admin = Admin(
            repository, self._memory, AdminToken.open(settings.access), self._traffic, self._shadow
        )
        self._tracer = Tracer.open(settings.server.tracing, count_spans)
        self._ledger = ledger_of(settings)
        self._ledger.publish()
        self._inference = Inference(
            repository.routing_table,
            Authenticator.open(settings.access),
            self._ledger,
            max_concurrent=settings.batching.max_concurrent_requests,
            tasks=application.tasks,
            tensors=application.tensors,
            access_log=(
                AccessLog(settings.server.access_log_rate) if settings.server.access_log else None
            ),
            tracer=self._tracer,
        )
        self._listeners = Listeners(
            self._grpc_server() if settings.server.enable_grpc else None,
            self._inference.health,
            settings.transport.max_listener_restarts_per_minute,
            self._fatal,
        )
        self._stopping: asyncio.Event | None = None
        self._exit_code = 0

    def start(self) -> int:
        """Serve until told to stop.

        Raises:
            BadSetting: a port cannot be had.
            BadModel: there is nothing to serve.
        """
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve_models())
        return self._exit_code

    def _make(self, loaded: LoadedModel) -> ServedModel:
        return ServedModel(
            loaded,
            self.settings,
            tasks=self._application.tasks,
            on_fatal=self._fatal,
            memory=self._memory,
            redis=self._redis,
            tracer=self._tracer,
        )

    async def _serve_models(self) -> None:
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._repository.poll_now)
        # Objects that exist now are permanent, so later collections skip them; versions come later.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._bind()
        listeners = self._listeners
        lag = LoopLag()
        gpus = GpuWatch()
        resident = ResidentMemoryWatch()
        watch = CanonicalWatch(
            self._repository.routing_table, self.settings.drift.canonical_interval_s
        )
        try:
            if self._redis is not None:
                self._redis.start()
            await self._repository.start(self._make, self._fatal)
            await listeners.open()
            ports = PortWatch(self._inference.health, listeners.addresses(), PORTS_S)
            ports.start(self._fatal)
            resident.start(self._fatal)
            self._shadow.start(self._fatal)
            if not self.settings.model.null_engine:
                watch.start(self._fatal)
                if resolve_device(self.settings.model.device) == "cuda":
                    gpus.start()
                self._traffic.start(self._fatal)
            await self._stopping.wait()
            await ports.stop()
            await self._drain()
        finally:
            lag.stop()
            await gpus.stop()
            await resident.stop()
            await watch.stop()
            await self._traffic.stop()
            await self._shadow.stop()
            await self._repository.stop()
            if self._redis is not None:
                await self._redis.stop()
            if self._tracer is not None:
                await self._tracer.close()
        logger.info("stopped")

    def _grpc_server(self) -> GrpcServer:
        codec = self._application.grpc_codec
        return GrpcServer(self._inference, codec, self._admin, self.settings)

    def _bind(self) -> None:
        """Bind the ports of the HTTP listeners. Raises BadSetting if a port is in use."""
        settings = self.settings
        services = self._services()
        application = self._application
        listeners = self._listeners
        router = Router(application.routes, _root_path(settings.server))
        rest: AsgiApp = HttpApplication(services, router)
        if origins := origins_of(settings.server.cors_origin):
            rest = CorsApplication(rest, origins, router.is_admin)
        grace_s = int(settings.server.grace_period_s)
        limits = http_limits(settings.transport)
        address = (settings.server.host, settings.server.http_port)
        listeners.add("REST", rest, address, grace_s, limits, self._ledger)
        if settings.access.admin_port:
            admin_routes = [route for route in application.routes if route.admin]
            local = HttpApplication(services, Router(admin_routes), admin_port=True)
            address = (LOCAL, settings.access.admin_port)
            listeners.add("admin", local, address, ADMIN_GRACE_S, limits, self._ledger)

    def _services(self) -> Services:
        settings = self.settings
        inference = self._inference
        kinds = parse_kinds(settings.server.metrics_compat)
        keys_required = bool(settings.access.api_keys_file)
        return Services(
            settings=settings,
            inference=inference,
            admin=self._admin,
            codecs=self._application.codecs,
            openapi=cache(
                partial(
                    openapi,
                    self._application.routes,
                    keys_required,
                    root_path=_root_path(settings.server),
                )
            ),
            exposition=Exposition(REGISTRY, kinds),
            watches=Watches(),
            figures=Figures(inference, settings.batching) if settings.server.page else None,
        )

    async def _drain(self) -> None:
        """Answer 503 while the pod is removed from the endpoints, then finish accepted requests."""
        self._begin_draining()
        settings = self.settings.server
        if self._exit_code == 0:
            logger.info("draining", extra={"delay_s": settings.drain_delay_s})
            await asyncio.sleep(settings.drain_delay_s)
        if not await self._listeners.close(settings.grace_period_s):
            self._exit_code = 1

    def _begin_draining(self) -> None:
        """From now on, requests are answered with 503 and their connections are closed."""
        self._inference.draining = True
        self._listeners.drain()

    def _fatal(self, why: str) -> None:
        """Stop with an error when the engine is lost, so that the process is restarted."""
        logger.critical("stopping: %s", why)
        self._exit_code = 1
        self._begin_draining()
        if self._stopping is not None:
            self._stopping.set()


def _root_path(server: ServerSettings) -> str:
    """The prefix with a slash at its start and none at its end; empty: there is none."""
    path = server.root_path.strip("/")
    return f"/{path}" if path else ""
