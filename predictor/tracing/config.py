"""What OpenTelemetry's environment variables say: whether, where to and how fast.

Source: opentelemetry.io, "Environment Variable Specification" and "OTLP Exporter Configuration".
Headers, certificates and compression are read by the exporters themselves. KServe's `spec.tracing`
sets the variables, some of them to nothing: an empty one counts as absent, as the standard says.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from predictor.tracing.sampling import Sampling, read_sampling

logger = logging.getLogger(__name__)

Protocol = Literal["grpc", "http/protobuf"]

# The ports that collectors listen on.
GRPC_ENDPOINT, HTTP_ENDPOINT, HTTP_PORT = "http://localhost:4317", "http://localhost:4318", 4318
# Most that one export may take. The standard counts milliseconds, the Python SDK seconds: a value
# in seconds becomes the least.
TIMEOUT_MS, LEAST_MS, MOST_MS = 10_000, 1_000, 30_000


@dataclass(frozen=True, slots=True)
class Config:
    """endpoint: for HTTP the whole URL."""

    protocol: Protocol
    endpoint: str
    timeout_s: float
    sampling: Sampling

    @property
    def address(self) -> str:
        """The endpoint as it may be logged: without a password in it."""
        return self.endpoint.rpartition("@")[2]


def read_config(mode: str, environment: Mapping[str, str]) -> Config | None:
    """How to trace; None: not.

    Args:
        mode: `otlp`, `off`, or `auto`: if the environment names a collector.
    """

    def given(name: str) -> str:
        """A variable, the one for traces before the one for all signals."""
        own = environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "").strip()
        return own or environment.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()

    if mode == "off" or (mode == "auto" and not (given("ENDPOINT") and _wanted(environment))):
        return None
    protocol = _protocol(given("PROTOCOL"), given("ENDPOINT"))
    own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = own or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    if protocol == "grpc":
        endpoint = base or GRPC_ENDPOINT
    else:
        endpoint = own or f"{(base or HTTP_ENDPOINT).removesuffix('/')}/v1/traces"
    return Config(protocol, endpoint, _timeout_s(given("TIMEOUT")), read_sampling(environment))


def _wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    return "otlp" in (exporter.strip() for exporter in exporters.split(","))


def _protocol(name: str, endpoint: str) -> Protocol:
    """The protocol that is named, else the one that the port is known for."""
    if name in ("grpc", "http/protobuf"):
        return "grpc" if name == "grpc" else "http/protobuf"
    likely: Protocol = "http/protobuf" if _port(endpoint) == HTTP_PORT else "grpc"
    if name:
        likely = "http/protobuf" if name.startswith("http") else likely
        logger.warning("OTEL_EXPORTER_OTLP_PROTOCOL %r is not known; it is %s", name[:80], likely)
    return likely


def _port(endpoint: str) -> int | None:
    try:
        return urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError:
        return None


def _timeout_s(text: str) -> float:
    try:
        given = float(text or TIMEOUT_MS)
    except ValueError:
        given = TIMEOUT_MS
    return max(LEAST_MS, min(MOST_MS, given)) / 1e3
