"""OpenTelemetry's environment variables: whether to trace, the collector, and the sampler.

Source: opentelemetry.io, "Environment Variable Specification" and "OTLP Exporter Configuration".
The exporters themselves read headers, certificates and compression. KServe's `spec.tracing` sets
the variables, some of them to an empty value, which the specification treats as not set.
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
# Timeout of one export: default and limits. The specification uses milliseconds, the Python SDK
# seconds; a value that was meant in seconds is raised to the lower limit.
TIMEOUT_MS, LEAST_MS, MOST_MS = 10_000, 1_000, 30_000


@dataclass(frozen=True, slots=True)
class Config:
    """How to trace."""

    protocol: Protocol
    # For HTTP, the whole URL.
    endpoint: str
    timeout_s: float
    sampling: Sampling

    @property
    def address(self) -> str:
        """The endpoint for the log, without a password."""
        return self.endpoint.rpartition("@")[2]


def read_config(mode: str, environment: Mapping[str, str]) -> Config | None:
    """Read how to trace; None: tracing is off.

    Args:
        mode: `otlp`, `off`, or `auto`, which traces if the environment names a collector.
    """

    def setting(name: str) -> str:
        """Return a variable for traces, or else the one for all signals."""
        traces_setting = environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "").strip()
        return traces_setting or environment.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()

    if mode == "off" or (
        mode == "auto" and not (setting("ENDPOINT") and _exports_otlp(environment))
    ):
        return None
    protocol = _protocol(setting("PROTOCOL"), setting("ENDPOINT"))
    traces_setting = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = traces_setting or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    if protocol == "grpc":
        endpoint = base or GRPC_ENDPOINT
    else:
        endpoint = traces_setting or f"{(base or HTTP_ENDPOINT).removesuffix('/')}/v1/traces"
    return Config(protocol, endpoint, _timeout_s(setting("TIMEOUT")), read_sampling(environment))


def _exports_otlp(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    return "otlp" in (exporter.strip() for exporter in exporters.split(","))


def _protocol(name: str, endpoint: str) -> Protocol:
    """Return the protocol that is named, or else the one that usually has this port."""
    if name in ("grpc", "http/protobuf"):
        return "grpc" if name == "grpc" else "http/protobuf"
    likely: Protocol = "http/protobuf" if _port(endpoint) == HTTP_PORT else "grpc"
    if name:
        likely = "http/protobuf" if name.startswith("http") else likely
        logger.warning("OTEL_EXPORTER_OTLP_PROTOCOL %r is unknown; %s is used", name[:80], likely)
    return likely


def _port(endpoint: str) -> int | None:
    try:
        return urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError:
        return None


def _timeout_s(text: str) -> float:
    try:
        timeout_ms = float(text or TIMEOUT_MS)
    except ValueError:
        timeout_ms = TIMEOUT_MS
    return max(LEAST_MS, min(MOST_MS, timeout_ms)) / 1e3
