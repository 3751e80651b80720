"""The controller's process: health and metrics over HTTP, the lease, reconciling while it leads."""

import logging
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from predictor.controller import metrics
from predictor.controller.cluster import Cluster
from predictor.controller.election import Election
from predictor.controller.mirror import Mirror
from predictor.controller.observe import Analyzer
from predictor.controller.probe import Probe
from predictor.controller.prometheus import Prometheus
from predictor.controller.reconciler import RolloutReconciler
from predictor.errors import BadSetting

logger = logging.getLogger(__name__)

# A reconciliation that takes longer fails the liveness probe: all its requests have time limits.
STUCK_S = 600.0
# That a reconciliation may take to end after SIGTERM; shorter than Kubernetes' 30 s of grace.
SHUTDOWN_S = 20.0
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Options:
    """The flags of `predictor rollout controller`."""

    # Base URL.
    prometheus: str
    # Of the rollouts; empty: all namespaces.
    namespace: str = ""
    # The Lease that the leader holds.
    lease_name: str = "predictor-rollout"
    # Empty: the pod's own.
    lease_namespace: str = ""
    # Of /metrics, /healthz and /readyz.
    port: int = 8080
    # Files with secrets; empty: none.
    api_key_file: str = ""
    prometheus_token_file: str = ""
    admin_token_file: str = ""


class Controller:
    """One process; `run` returns its exit code."""

    def __init__(self, options: Options) -> None:
        """Raises BadSetting: an address, a file or the cluster cannot be used."""
        self._stopping = threading.Event()
        self._lost = False
        # Whether no reconciliation is under way.
        self._is_idle = threading.Event()
        self._is_idle.set()
        cluster = Cluster.connect()
        namespace = options.lease_namespace or own_namespace()
        identity = f"{socket.gethostname()}_{os.getpid()}"
        self._election = Election(cluster.api, options.lease_name, namespace, identity)
        prometheus = Prometheus(options.prometheus, _secret(options.prometheus_token_file))
        key = _secret(options.api_key_file)
        _secret(options.admin_token_file)  # a wrong name is an error at the start
        # Read again at each analysis: a Secret may change while this runs.
        token = partial(current_secret, options.admin_token_file)
        analyzer = Analyzer(prometheus, Probe(key), Mirror(cluster, token, key))
        self._reconciler = RolloutReconciler(cluster, analyzer, self._may_act, options.namespace)
        try:
            self._http = ThreadingHTTPServer(("", options.port), _handler(self))
        except OSError as error:
            raise BadSetting(f"--port {options.port}: {error.strerror}") from error

    def run(self) -> int:
        """Until SIGTERM, or until the lease is lost."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        election = threading.Thread(
            target=self._election.run, args=(self._lead, self._lose), daemon=True
        )
        election.start()
        while not self._stopping.wait(0.2):
            if not election.is_alive():
                self._lost = True
                break
        # What is being written is completed; nothing is begun, since `_may_act` is false now.
        self._is_idle.wait(SHUTDOWN_S)
        if self._is_idle.is_set():
            self._election.release()
        self._http.shutdown()
        self._http.server_close()
        return int(self._lost)

    @property
    def is_alive(self) -> bool:
        """Whether a reconciliation ended recently, while this process leads."""
        if not self._election.is_leading:
            return True
        return time.monotonic() - self._reconciler.finished < STUCK_S

    def _may_act(self) -> bool:
        return self._election.is_leading and not self._stopping.is_set()

    def _lead(self) -> None:
        logger.info("leading")
        metrics.LEADING.set(1)
        self._reconciler.finished = time.monotonic()
        self._is_idle.clear()
        try:
            self._reconciler.run(self._stopping.is_set)
        finally:
            self._is_idle.set()
        metrics.LEADING.set(0)

    def _lose(self) -> None:
        logger.warning("the lease is lost; this process ends, and its pod restarts")
        self._lost = True
        self._stopping.set()


def own_namespace() -> str:
    """The namespace of the pod, else `default`."""
    try:
        return SERVICE_ACCOUNT.read_text().strip()
    except OSError:
        return "default"


def _secret(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise BadSetting(f"{file}: cannot be read: {error.strerror}") from error


def current_secret(file: str) -> str:
    """The secret as it is now; empty while it cannot be read."""
    try:
        return _secret(file)
    except BadSetting as error:
        logger.warning("%s", error)
        return ""


def _handler(controller: Controller) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._respond(200, generate_latest(), CONTENT_TYPE_LATEST)
            elif self.path in ("/healthz", "/readyz"):
                status = 200 if controller.is_alive else 503
                self._respond(status, b"ok\n" if status == 200 else b"stuck\n", "text/plain")
            else:
                self._respond(404, b"there is /metrics, /healthz and /readyz\n", "text/plain")

        def _respond(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes and probes are not logged."""

    return Handler
