"""The charts, installed with the real Helm as a person would do it."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import kit
from tests.cluster.api import Api, Object, wait_for

CHARTS = kit.ROOT / "charts"
HELM = kit.TOOLS / "helm"
RUNTIME = "predictor"
# The rollout controller's namespace and name.
CONTROLLERS, CONTROLLER = "predictor", "predictor-embedding-runtime-rollout"
CLAIM = "models"
# Of the servers' admin routes, in a Secret of this name, which the controller has too.
ADMIN, TOKEN = "admin", "only-on-this-cluster"
# Little of the node, so that three pods fit, and enough to start fast.
RESOURCES = {
    "requests": {"cpu": "150m", "memory": "400Mi"},
    "limits": {"cpu": "1", "memory": "900Mi"},
}
READY_S = 120.0


def helm(*arguments: str | Path, timeout_s: float = 300.0) -> str:
    return kit.run(HELM, *arguments, timeout_s=timeout_s)


def install_runtime(api: Api, folder: Path, prometheus: str) -> None:
    """Once a cluster: the ServingRuntime for CPUs, rules, dashboards, and the rollout controller.

    Args:
        prometheus: URL at which pods reach it, now or later.
    """
    values = {
        "image": {"repository": kit.REPOSITORY, "tag": kit.TAG},
        "rules": {"enabled": True},
        "dashboards": {"enabled": True},
        "rollout": {
            "enabled": True,
            "prometheus": {"address": prometheus},
            "adminTokenSecret": {"name": ADMIN},
            "serviceMonitor": {"enabled": True, "interval": "2s", "scrapeTimeout": "2s"},
            "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}},
        },
    }
    api.ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CONTROLLERS}})
    api.ensure(secret(ADMIN, CONTROLLERS, token=TOKEN))
    write(folder / "runtime.yaml", values)
    helm(
        "upgrade", "--install", RUNTIME, CHARTS / "embedding-runtime", "--namespace", CONTROLLERS,
        "--values", folder / "runtime.yaml",
    )  # fmt: skip


def uninstall_runtime() -> None:
    helm("uninstall", RUNTIME, "--namespace", CONTROLLERS)


def secret(name: str, namespace: str, **content: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Secret", "stringData": content,
        "metadata": {"name": name, "namespace": namespace},
    }  # fmt: skip


def write(path: Path, values: Object) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def claim(api: Api, namespace: str, models: Path) -> None:
    """A namespace with the models on a PersistentVolume, as pvc://models."""
    api.ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    api.ensure(secret(ADMIN, namespace, token=TOKEN))
    volume = f"{namespace}-{CLAIM}"
    size = {"storage": "1Gi"}
    api.ensure({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
        "spec": {
            "capacity": size, "accessModes": ["ReadOnlyMany"], "hostPath": {"path": str(models)},
            "claimRef": {"namespace": namespace, "name": CLAIM},
        },
    })  # fmt: skip
    api.ensure({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": volume,
            "resources": {"requests": size},
        },
    })  # fmt: skip
    wait_for("the claim", lambda: is_bound(api, namespace), 30.0)


def is_bound(api: Api, namespace: str) -> bool:
    claim = api.get("PersistentVolumeClaim", CLAIM, namespace)
    return claim is not None and claim["status"].get("phase") == "Bound"


def unclaim(api: Api, namespace: str) -> None:
    """The namespace and its volume are gone, for a cluster that lives on."""
    api.delete("Namespace", namespace)
    api.delete("PersistentVolume", f"{namespace}-{CLAIM}")
    wait_for(f"{namespace} gone", lambda: api.get("Namespace", namespace) is None, 120.0)


@dataclass
class Release:
    """One installed model; `values` are those of the last upgrade."""

    api: Api
    name: str
    namespace: str
    folder: Path
    values: Object = field(default_factory=dict)

    @property
    def host(self) -> str:
        """As KServe's default domain template makes it."""
        return f"{self.name}-{self.namespace}.example.com"

    def upgrade(self, *flags: str, **changed: Any) -> str:
        """`helm upgrade --install` with the last values and these over them; Helm's words.

        A value that is a map replaces the map before it: what stands here is all there is.
        """
        values = self.values | changed
        output = helm(
            "upgrade", "--install", self.name, CHARTS / "embedding-model", "--namespace",
            self.namespace, "--values", write(self.folder / f"{self.name}.yaml", values),
            *flags,
        )  # fmt: skip
        self.values = values
        return output

    def uninstall(self) -> None:
        """And wait until its pods are gone: they are in the way of the next test."""
        helm("uninstall", self.name, "--namespace", self.namespace)
        wait_for(f"{self.name} gone", lambda: not self.pods(), 120.0, 0.5)

    def service(self) -> Object:
        isvc = self.api.get("InferenceService", self.name, self.namespace)
        assert isvc is not None, f"no InferenceService {self.name}"
        return isvc

    def ready(self, timeout_s: float = READY_S) -> float:
        """Wait until it is ready and return the seconds.

        Raises:
            TimeoutError: it was not; with what its pods say.
        """
        started = time.monotonic()
        try:
            wait_for(f"{self.name} ready", lambda: condition(self.service(), "Ready"), timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.why()}") from error
        return time.monotonic() - started

    def why(self) -> str:
        """Status, and what its pods and their events say."""
        lines = [json.dumps(self.service().get("status", {}), indent=1)]
        for pod in self.pods():
            lines.append(f"{pod['metadata']['name']}: {pod['status'].get('containerStatuses')}")
        for event in self.api.list("Event", self.namespace)[-15:]:
            lines.append(f"{event['involvedObject'].get('name')}: {event.get('message')}")
        return "\n".join(lines)

    def pods(self, deployment: str = "") -> list[Object]:
        """Pods of this model, or of one of its Deployments; those that end are left out."""
        labels = f"serving.kserve.io/inferenceservice={self.name}"
        if deployment:
            labels += f",app=isvc.{deployment}"
        pods = self.api.list("Pod", self.namespace, labels)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, deployment: str = "") -> list[str]:
        return [p["metadata"]["name"] for p in self.pods(deployment) if is_ready(p)]

    def weights(self) -> dict[str, int]:
        """Of the backends of the route for REST; one backend without a weight has all."""
        route = self.api.get("HTTPRoute", self.name, self.namespace)
        assert route is not None, f"no HTTPRoute {self.name}"
        backends = route["spec"]["rules"][-1]["backendRefs"]
        return {b["name"]: b["weight"] if len(backends) > 1 else 100 for b in backends}


def condition(target: Object, kind: str) -> bool:
    """Of an object whose status belongs to its present spec, as far as that can be seen."""
    conditions = target.get("status", {}).get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready")


def restarts(pods: list[Object]) -> int:
    return sum(
        int(c["restartCount"]) for p in pods for c in p["status"].get("containerStatuses", [])
    )
