"""The Kubernetes API as the controller needs it: objects are dictionaries, a missing one is None.

Only this module and the election use the official client. Every call has a time limit: a server
that hangs would otherwise block the controller, and its lease, for ever.
"""

import contextlib
import json
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from predictor.controller.field_ownership import MANAGER
from predictor.controller.objects import Object
from predictor.errors import BadSetting

TIMEOUT_S = 10.0
MERGE = "application/merge-patch+json"
# Path prefix and plural by kind.
KINDS = {
    "Deployment": ("/apis/apps/v1", "deployments"),
    "EmbeddingRollout": ("/apis/predictor.dev/v1alpha1", "embeddingrollouts"),
    "Event": ("/api/v1", "events"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "KnativeService": ("/apis/serving.knative.dev/v1", "services"),
    "InferenceService": ("/apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "Pod": ("/api/v1", "pods"),
    "Revision": ("/apis/serving.knative.dev/v1", "revisions"),
    "ScaledObject": ("/apis/keda.sh/v1alpha1", "scaledobjects"),
}


class ClusterError(Exception):
    """The API server did not respond, or refused; the message says why."""


class Conflict(ClusterError):
    """The object has changed since it was read."""


class Cluster:
    """A client of one API server; threads may share it."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api

    @classmethod
    def connect(cls) -> "Cluster":
        """Connect with the pod's service account, else with KUBECONFIG.

        Raises:
            BadSetting: there is neither.
        """
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except ConfigException:
            try:
                config.load_kube_config(client_configuration=configuration)
            except (ConfigException, OSError) as error:
                raise BadSetting(
                    f"no cluster: this is no pod, and KUBECONFIG cannot be used: {error}"
                ) from error
        configuration.retries = False
        return cls(client.ApiClient(configuration))

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object; None: there is none. Raises ClusterError."""
        try:
            item: Object = self._call("GET", _path(kind, namespace, name))
        except _NotFound:
            return None
        return item

    def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Objects of one namespace, or of all; none of an unknown kind. Raises ClusterError."""
        query = [("labelSelector", labels)] if labels else []
        try:
            items: list[Object] = self._call("GET", _path(kind, namespace), query=query)["items"]
        except _NotFound:
            return []
        return items

    def patch(self, kind: str, namespace: str, name: str, patch: Object, part: str = "") -> Object:
        """A merge patch of an object, or of its `status` or `scale`.

        Raises:
            Conflict: the patch names a resourceVersion that is not the latest.
            ClusterError: anything else.
        """
        path = _path(kind, namespace, name) + (f"/{part}" if part else "")
        patched: Object = self._call("PATCH", path, body=patch)
        return patched

    def create(self, kind: str, namespace: str, target: Object) -> Object:
        """Raises ClusterError."""
        created: Object = self._call("POST", _path(kind, namespace), body=target)
        return created

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Does nothing if there is no such object. Raises ClusterError."""
        with contextlib.suppress(_NotFound):
            self._call("DELETE", _path(kind, namespace, name))

    def _call(self, method: str, path: str, query: Any = None, body: Object | None = None) -> Any:
        headers = {
            "Accept": "application/json",
            "Content-Type": MERGE if method == "PATCH" else "application/json",
        }
        query = list(query or [])
        if method in ("PATCH", "POST"):
            query.append(("fieldManager", MANAGER))
        request = self.api.param_serialize(
            method,
            path,
            query_params=query,
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self.api.call_api(*request, _request_timeout=TIMEOUT_S)
            content: bytes = response.read()
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{method} {path}: {type(error).__name__}") from error
        except ApiException as error:  # the client's own error for a broken connection
            raise ClusterError(f"{method} {path}: {error.reason}") from error
        if not 200 <= response.status <= 299:
            raise _error_of(f"{method} {path}", response.status, content)
        try:
            return json.loads(content)
        except ValueError as error:
            raise ClusterError(f"{method} {path}: the response is not JSON") from error


class _NotFound(ClusterError):
    """404."""


def _error_of(request: str, status: int, content: bytes) -> ClusterError:
    """The error with the API server's message, which is in a Status object."""
    try:
        reason = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError):
        reason = content[:200].decode("utf-8", "replace")
    kind = {404: _NotFound, 409: Conflict}.get(status, ClusterError)
    return kind(f"{request}: {status}: {str(reason)[:500]}")


def _path(kind: str, namespace: str, name: str = "") -> str:
    prefix, plural = KINDS[kind]
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{prefix}{middle}/{plural}" + (f"/{name}" if name else "")
