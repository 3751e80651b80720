"""Kubernetes discovery for a Prometheus that was built without it (Debian's).

Answers Prometheus' HTTP discovery with what its own discovery of role `endpoints` gives: the same
addresses, the same `__meta_kubernetes_*` labels. So the relabelings that the operator makes out of
a ServiceMonitor work on them unchanged. Left out: nodes, annotations, ports that are no Service's.
"""

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cluster.api import Api, Object

Target = dict[str, Any]


def targets(
    slices: list[Object], services: dict[str, Object], pods: dict[str, Object]
) -> list[Target]:
    """One target an address and port, in the form of `http_sd_config`.

    Args:
        slices: EndpointSlices of one namespace.
        services: its Services by name.
        pods: its Pods by name.
    """
    listed = []
    for endpoint_slice in slices:
        labels = endpoint_slice["metadata"].get("labels", {})
        service = services.get(labels.get("kubernetes.io/service-name", ""))
        if service is None:
            continue
        for endpoint in endpoint_slice.get("endpoints") or []:
            pod = pods.get(endpoint.get("targetRef", {}).get("name", ""))
            about = _of_service(service) | _of_endpoint(endpoint) | _of_pod(pod)
            for port in endpoint_slice.get("ports") or []:
                address = f"{endpoint['addresses'][0]}:{port['port']}"
                named = {
                    "__meta_kubernetes_endpoint_port_name": port.get("name", ""),
                    "__meta_kubernetes_endpoint_port_protocol": port.get("protocol", "TCP"),
                }
                listed.append({"targets": [address], "labels": about | named})
    return listed


def _of_service(service: Object) -> dict[str, str]:
    metadata = service["metadata"]
    return {
        "__meta_kubernetes_namespace": metadata["namespace"],
        "__meta_kubernetes_endpoints_name": metadata["name"],
        "__meta_kubernetes_service_name": metadata["name"],
        **dict(_labels("service", metadata)),
    }


def _of_endpoint(endpoint: Object) -> dict[str, str]:
    reference = endpoint.get("targetRef", {})
    return {
        "__meta_kubernetes_endpoint_ready": str(
            bool(endpoint.get("conditions", {}).get("ready"))
        ).lower(),
        "__meta_kubernetes_endpoint_address_target_kind": reference.get("kind", ""),
        "__meta_kubernetes_endpoint_address_target_name": reference.get("name", ""),
    }


def _of_pod(pod: Object | None) -> dict[str, str]:
    if pod is None:
        return {}
    metadata = pod["metadata"]
    return {
        "__meta_kubernetes_pod_name": metadata["name"],
        "__meta_kubernetes_pod_uid": metadata["uid"],
        "__meta_kubernetes_pod_phase": pod["status"].get("phase", ""),
        "__meta_kubernetes_pod_node_name": pod["spec"].get("nodeName", ""),
        "__meta_kubernetes_pod_container_name": pod["spec"]["containers"][0]["name"],
        **dict(_labels("pod", metadata)),
    }


def _labels(what: str, metadata: Object) -> Iterator[tuple[str, str]]:
    for name, value in metadata.get("labels", {}).items():
        written = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        yield f"__meta_kubernetes_{what}_label_{written}", value
        yield f"__meta_kubernetes_{what}_labelpresent_{written}", "true"


class Discovery:
    """Serves `/?namespace=a&namespace=b` on a free port of the loopback; `url` is it."""

    def __init__(self, api: Api) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10.0)


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            listed: list[Target] = []
            for namespace in query.get("namespace", []):
                services = {s["metadata"]["name"]: s for s in api.list("Service", namespace)}
                pods = {p["metadata"]["name"]: p for p in api.list("Pod", namespace)}
                listed += targets(api.list("EndpointSlice", namespace), services, pods)
            body = json.dumps(listed).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: Prometheus asks every second."""

    return Handler
