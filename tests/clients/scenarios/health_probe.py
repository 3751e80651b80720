"""A gRPC health probe: what grpc_health_probe, Kubernetes and Envoy send, byte by byte."""

from collections.abc import Callable
from importlib.metadata import version

import grpc
from checks import GRPC, MODEL, UNKNOWN, Client

SERVING = b"\x08\x01"


def probe(service: str) -> bytes:
    """HealthCheckRequest of that service, to HealthCheckResponse."""
    with grpc.insecure_channel(GRPC) as channel:
        check: Callable[..., bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        name = service.encode()
        return check(b"\x0a" + bytes([len(name)]) + name if name else b"", timeout=10)


client = Client("gRPC health probe", f"grpcio {version('grpcio')}")
for label, service in {
    "the server": "",
    "the V2 service": "inference.GRPCInferenceService",
    "the model": MODEL,
}.items():
    with client.check(label):
        assert probe(service) == SERVING
client.refused("unknown service", lambda: probe(UNKNOWN), "NOT_FOUND")
client.report()
