"""The Kubernetes API as the controller needs it: objects are dictionaries, a missing one is None.

The official client's only home. Every call has a time limit: a server that hangs would otherwise
hold the controller, and its lease, for ever.
"""

import contextlib
import json
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from predictor.errors import BadSetting

Object = dict[str, Any]

TIMEOUT_S = 10.0
MERGE = "application/merge-patch+json"
# Path prefix and plural of the kinds that it knows.
KINDS = {
    "Deployment": ("/apis/apps/v1", "deployments"),
    "EmbeddingRollout": ("/apis/predictor.dev/v1alpha1", "embeddingrollouts"),
    "Event": ("/api/v1", "events"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "InferenceService": ("/apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "Pod": ("/api/v1", "pods"),
    "ScaledObject": ("/apis/keda.sh/v1alpha1", "scaledobjects"),
}


class ClusterError(Exception):
    """The API server could not be asked, or refused; the message says what."""


class Conflict(ClusterError):
    """The object has changed since it was read."""


class Cluster:
    """A client; each thread may use it."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api

    @classmethod
    def connect(cls) -> "Cluster":
        """By the pod's account, else by KUBECONFIG.

        Raises:
            BadSetting: there is neither.
        """
        made = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=made)
        except ConfigException:
            try:
                config.load_kube_config(client_configuration=made)
            except (ConfigException, OSError) as error:
                raise BadSetting(f"no cluster: not in a pod, and KUBECONFIG: {error}") from error
        made.retries = False
        return cls(client.ApiClient(made))

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Raises ClusterError."""
        try:
            found: Object = self._call("GET", _path(kind, namespace, name))
        except _Missing:
            return None
        return found

    def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Of one namespace, or of all; nothing where the kind is unknown. Raises ClusterError."""
        query = [("labelSelector", labels)] if labels else []
        try:
            items: list[Object] = self._call("GET", _path(kind, namespace), query=query)["items"]
        except _Missing:
            return []
        return items

    def patch(self, kind: str, namespace: str, name: str, patch: Object, part: str = "") -> Object:
        """A merge patch of an object, or of its `status` or `scale`.

        Raises:
            Conflict: the patch names a resourceVersion that is not the last any more.
            ClusterError: anything else.
        """
        path = _path(kind, namespace, name) + (f"/{part}" if part else "")
        done: Object = self._call("PATCH", path, body=patch)
        return done

    def create(self, kind: str, namespace: str, target: Object) -> Object:
        """Raises ClusterError."""
        done: Object = self._call("POST", _path(kind, namespace), body=target)
        return done

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Nothing if it is gone already. Raises ClusterError."""
        with contextlib.suppress(_Missing):
            self._call("DELETE", _path(kind, namespace, name))

    def _call(self, method: str, path: str, query: Any = None, body: Object | None = None) -> Any:
        headers = {
            "Accept": "application/json",
            "Content-Type": MERGE if method == "PATCH" else "application/json",
        }
        asked = self.api.param_serialize(
            method, path, query_params=query or [], header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        try:
            answer = self.api.call_api(*asked, _request_timeout=TIMEOUT_S)
            content: bytes = answer.read()
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{method} {path}: {type(error).__name__}") from error
        except ApiException as error:  # the client's own word for a broken connection
            raise ClusterError(f"{method} {path}: {error.reason}") from error
        if not 200 <= answer.status <= 299:
            raise _refusal(f"{method} {path}", answer.status, content)
        try:
            return json.loads(content)
        except ValueError as error:
            raise ClusterError(f"{method} {path}: the answer is no JSON") from error


class _Missing(ClusterError):
    """404."""


def _refusal(what: str, status: int, content: bytes) -> ClusterError:
    """The API server's reason, which is a Status object."""
    try:
        reason = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError):
        reason = content[:200].decode("utf-8", "replace")
    kind = {404: _Missing, 409: Conflict}.get(status, ClusterError)
    return kind(f"{what}: {status}: {str(reason)[:500]}")


def _path(kind: str, namespace: str, name: str = "") -> str:
    prefix, plural = KINDS[kind]
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{prefix}{middle}/{plural}" + (f"/{name}" if name else "")
