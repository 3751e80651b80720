"""The controller's process: health and metrics over HTTP, the lease, rounds while it leads."""

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
from predictor.controller.looking import Analyst
from predictor.controller.probing import Probe
from predictor.controller.prometheus import Prometheus
from predictor.controller.rounds import Rounds
from predictor.controller.shadowing import Shadowing
from predictor.errors import BadSetting

logger = logging.getLogger(__name__)

# Longest that a round may take before liveness says so: it waits for nobody longer than that.
STUCK_S = 600.0
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Options:
    """namespace: of the rollouts; empty: all. lease_namespace: empty: the pod's own."""

    prometheus: str
    namespace: str = ""
    lease_name: str = "predictor-rollout"
    lease_namespace: str = ""
    port: int = 8080
    api_key_file: str = ""
    prometheus_token_file: str = ""
    admin_token_file: str = ""


class Controller:
    """One process; `run` returns its exit code."""

    def __init__(self, options: Options) -> None:
        """Raises BadSetting: an address, a file or the cluster cannot be used."""
        self._stopping = threading.Event()
        self._lost = False
        cluster = Cluster.connect()
        namespace = options.lease_namespace or own_namespace()
        identity = f"{socket.gethostname()}_{os.getpid()}"
        self._election = Election(cluster.api, options.lease_name, namespace, identity)
        prometheus = Prometheus(options.prometheus, _secret(options.prometheus_token_file))
        key = _secret(options.api_key_file)
        _secret(options.admin_token_file)  # so that a wrong name is known now
        # Read again at each look: a Secret may change while this runs.
        token = partial(secret_now, options.admin_token_file)
        analyst = Analyst(prometheus, Probe(key), Shadowing(cluster, token, key))
        self._rounds = Rounds(cluster, analyst, self._may_act, options.namespace)
        try:
            self._http = ThreadingHTTPServer(("", options.port), _handler(self))
        except OSError as error:
            raise BadSetting(f"--port {options.port}: {error.strerror}") from error

    def run(self) -> int:
        """Until SIGTERM, or until the lease is lost."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        elected = threading.Thread(
            target=self._election.run, args=(self._lead, self._lose), daemon=True
        )
        elected.start()
        while not self._stopping.wait(0.2):
            if not elected.is_alive():
                self._lost = True
                break
        self._http.shutdown()
        return int(self._lost)

    @property
    def is_alive(self) -> bool:
        """Whether rounds come to an end, where there are rounds."""
        if not self._election.is_leading:
            return True
        return time.monotonic() - self._rounds.finished < STUCK_S

    def _may_act(self) -> bool:
        return self._election.is_leading and not self._stopping.is_set()

    def _lead(self) -> None:
        logger.info("leading")
        metrics.LEADING.set(1)
        self._rounds.finished = time.monotonic()
        self._rounds.run(self._stopping.is_set)
        metrics.LEADING.set(0)

    def _lose(self) -> None:
        logger.warning("the lease is lost; this process ends and begins anew")
        self._lost = True
        self._stopping.set()


def own_namespace() -> str:
    """The pod's, else `default`."""
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


def secret_now(file: str) -> str:
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
                self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
            elif self.path in ("/healthz", "/readyz"):
                status = 200 if controller.is_alive else 503
                self._answer(status, b"ok\n" if status == 200 else b"stuck\n", "text/plain")
            else:
                self._answer(404, b"there is /metrics, /healthz and /readyz\n", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes and probes are no news."""

    return Handler
