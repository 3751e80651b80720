"""The Kubernetes API as tests need it: objects are dictionaries, a missing one is None.

The administrator's kubeconfig of the test cluster names a client certificate, so HTTP with that
certificate is all there is to it.
"""

import copy
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

Object = dict[str, Any]
Result = TypeVar("Result")

# Path prefix and plural of the kinds that are used here.
KINDS = {
    "BackendTrafficPolicy": (
        "apis/gateway.envoyproxy.io/v1alpha1",
        "backendtrafficpolicies",
    ),
    "ClusterServingRuntime": ("apis/serving.kserve.io/v1alpha1", "clusterservingruntimes"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices"),
    "EmbeddingRollout": ("apis/predictor.dev/v1alpha1", "embeddingrollouts"),
    "Event": ("api/v1", "events"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "InferenceService": ("apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Namespace": ("api/v1", "namespaces"),
    "PersistentVolume": ("api/v1", "persistentvolumes"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "ServingRuntime": ("apis/serving.kserve.io/v1alpha1", "servingruntimes"),
}


class Refused(Exception):
    """The API server said no; `code` is its HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Api:
    """A client of one cluster; safe to share between threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trusted = ssl.create_default_context(cafile=cluster["certificate-authority"])
        trusted.load_cert_chain(user["client-certificate"], user["client-key"])
        self._http = httpx.Client(
            base_url=cluster["server"], verify=trusted, timeout=20.0, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def _path(self, kind: str, namespace: str | None, name: str | None, more: str = "") -> str:
        prefix, plural = KINDS[kind]
        middle = f"/namespaces/{namespace}" if namespace else ""
        return f"/{prefix}{middle}/{plural}" + (f"/{name}" if name else "") + more

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._http.request(method, path, **arguments)
        if answer.status_code >= 400:
            status = answer.json() if "json" in answer.headers.get("content-type", "") else {}
            raise Refused(answer.status_code, str(status.get("message", answer.text))[:2000])
        return answer.json()

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        try:
            stored: Object = self._call("GET", self._path(kind, namespace, name))
        except Refused as refused:
            if refused.code == 404:
                return None
            raise
        return stored

    def list(self, kind: str, namespace: str | None = None, labels: str = "") -> list[Object]:
        query = {"labelSelector": labels} if labels else {}
        answer = self._call("GET", self._path(kind, namespace, None), params=query)
        items: list[Object] = answer["items"]
        for item in items:  # a list leaves them out
            item["kind"], item["apiVersion"] = kind, answer["apiVersion"]
        return items

    def create(self, target: Object) -> Object:
        path = self._path(target["kind"], target["metadata"].get("namespace"), None)
        made: Object = self._call("POST", path, json=target)
        return made

    def replace(self, target: Object, *, part: str = "", dry_run: bool = False) -> Object:
        """PUT of a whole object; `part` is `/status` or nothing."""
        metadata = target["metadata"]
        path = self._path(target["kind"], metadata.get("namespace"), metadata["name"], part)
        query = {"dryRun": "All"} if dry_run else {}
        put: Object = self._call("PUT", path, json=target, params=query)
        return put

    def merge(self, kind: str, name: str, namespace: str | None, patch: Object) -> Object:
        """A JSON merge patch."""
        patched: Object = self._call(
            "PATCH", self._path(kind, namespace, name), json=patch,
            headers={"Content-Type": "application/merge-patch+json"},
        )  # fmt: skip
        return patched

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """In the background; an object that is not there is no error."""
        try:
            self._call("DELETE", self._path(kind, namespace, name))
        except Refused as refused:
            if refused.code != 404:
                raise

    def evict(self, pod: str, namespace: str) -> None:
        """As `kubectl drain` does.

        Raises:
            Refused: 429, a PodDisruptionBudget forbids it now.
        """
        body = {
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }  # fmt: skip
        self._call("POST", self._path("Pod", namespace, pod, "/eviction"), json=body)

    def log(self, pod: str, namespace: str) -> str:
        """Of its only container, now or before its restart; empty where there is none yet."""
        answer = self._http.get(self._path("Pod", namespace, pod, "/log"))
        return answer.text if answer.status_code == 200 else ""

    def ensure(self, target: Object) -> Object:
        """Create it; one that is there already stays as it is."""
        try:
            return self.create(target)
        except Refused as refused:
            if refused.code != 409:
                raise
            return copy.deepcopy(target)


def wait_for(
    what: str, look: Callable[[], Result | None], timeout_s: float, period_s: float = 0.2
) -> Result:
    """The first result that is neither None nor False.

    Raises:
        TimeoutError: there was none in time.
    """
    end = time.monotonic() + timeout_s
    while True:
        result = look()
        if result is not None and result is not False:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(period_s)


@contextmanager
def connected(kubeconfig: Path) -> Iterator[Api]:
    api = Api(kubeconfig)
    try:
        yield api
    finally:
        api.close()
