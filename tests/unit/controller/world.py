"""A cluster in memory: objects with versions, and KServe's two controllers as a function of them.

What the controllers do is what was seen of the real ones; each rule stands beside its line. Time is
a number that the test moves.
"""

import copy
from collections.abc import Callable
from math import ceil
from typing import Any

from predictor.controller.cluster import ClusterError, Conflict
from predictor.controller.standard import ISVC_LABEL, deployment_name
from tests.unit.controller.knative_world import KnativeControllers
from tests.unit.controller.pods import LEAST, class_of, pods_by_kserve, scaled
from tests.unit.controller.webhook import refusal

Object = dict[str, Any]
Key = tuple[str, str, str]
NAMESPACE = "search"
PATH = {"type": "RegularExpression", "value": "^/.*$"}


class Died(BaseException):
    """The controller's process was killed at a write."""


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class World:
    """Stands for `Cluster`, and for all that happens on the other side of it.

    slow: seconds that new pods take to get ready; None: they never do.
    load: pods that all of the traffic needs, for autoscalers.
    kill_at: the write, counted from 1, at which the controller dies; after: instead of before it.
    """

    def __init__(self, slow: float | None = 5.0) -> None:
        self.now = 1_000_000.0
        self.objects: dict[Key, Object] = {}
        self.slow = slow
        self.load = 0.0
        self.kill_at, self.after = 0, False
        self.writes: list[str] = []
        self.inject_fault: Callable[[str, str], None] = lambda verb, kind: None
        self._version = 0
        self._since: dict[str, float] = {}
        self.knative = KnativeControllers(self.objects, self.put, self._age, self._is_up)

    # As the API server

    def put(self, target: Object) -> Object:
        self._version += 1
        made = copy.deepcopy(target)
        metadata = made["metadata"]
        metadata["resourceVersion"] = str(self._version)
        metadata.setdefault("namespace", NAMESPACE)
        metadata.setdefault("generation", 1)
        metadata.setdefault("creationTimestamp", f"{self.now:.0f}")
        metadata.setdefault("uid", f"uid-{self._version}")
        self.objects[made["kind"], metadata["namespace"], metadata["name"]] = made
        return made

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        self.inject_fault("get", kind)
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        self.inject_fault("list", kind)
        key, _, value = labels.partition("=")
        return [
            copy.deepcopy(item)
            for (of, space, _), item in self.objects.items()
            if of == kind
            and namespace in ("", space)
            and (not labels or item["metadata"].get("labels", {}).get(key) == value)
        ]

    def patch(self, kind: str, namespace: str, name: str, patch: Object, part: str = "") -> Object:
        self.inject_fault("patch", kind)
        self._die(f"patch {kind} {part}".strip(), False)
        stored = self.objects.get((kind, namespace, name))
        if stored is None:
            raise ClusterError(f"404 {kind} {name}")
        version = patch.get("metadata", {}).get("resourceVersion")
        if version not in (None, stored["metadata"]["resourceVersion"]):
            raise Conflict(f"409 {kind} {name}")
        changed = merged(stored, patch)
        if kind == "InferenceService" and (reason := refusal(stored, changed)):
            raise ClusterError(f"PATCH: 403: admission webhook denied the request: {reason}")
        if changed["spec"] != stored["spec"]:
            changed["metadata"]["generation"] += 1
        done = self.put(changed)
        self._die(f"patch {kind} {part}".strip(), True)
        return copy.deepcopy(done)

    def create(self, kind: str, namespace: str, target: Object) -> Object:
        self.inject_fault("create", kind)
        made = copy.deepcopy(target)
        made["metadata"].setdefault("name", f"{kind}-{self._version}")
        made["metadata"]["namespace"] = namespace
        return self.put(made | {"kind": kind})

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.inject_fault("delete", kind)
        self._die(f"delete {kind}", False)
        self.objects.pop((kind, namespace, name), None)
        self._die(f"delete {kind}", True)

    def _die(self, write: str, is_done: bool) -> None:
        if not is_done:
            self.writes.append(write)
        if self.kill_at == len(self.writes) and self.after == is_done:
            self.kill_at = 0
            raise Died(write)

    # As a person

    def service(self, name: str = "minilm") -> Object:
        return self.objects["InferenceService", NAMESPACE, name]

    def rollout(self, name: str = "minilm") -> Object:
        return self.objects["EmbeddingRollout", NAMESPACE, name]

    def edit(self, kind: str, name: str, patch: Object) -> None:
        stored = self.objects[kind, NAMESPACE, name]
        changed = merged(stored, patch)
        if changed["spec"] != stored["spec"]:
            changed["metadata"]["generation"] += 1
        self.put(changed)

    # As time, and KServe

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._program()
        for (kind, _, _), item in list(self.objects.items()):
            if kind == "InferenceService":
                is_standard = "Standard" in str(item["metadata"].get("annotations"))
                (self._standard if is_standard else self.knative.reconcile)(item)

    def _age(self, what: str) -> float:
        return self.now - self._since.setdefault(what, self.now)

    def _is_up(self, what: str) -> bool:
        return self.slow is not None and self._age(what) >= self.slow

    def _standard(self, isvc: Object) -> None:
        name, spec = isvc["metadata"]["name"], isvc["spec"]
        stable = deployment_name(name, spec["predictor"].get("name", ""))
        by_kserve = pods_by_kserve(isvc, [d for _, _, d in self.objects if self._ready(d)])
        pods = {deployment: self._scaled(isvc, deployment, by_kserve) for deployment in by_kserve}
        labelled = [
            key for key, item in self.objects.items()
            if key[0] == "Deployment" and item["metadata"]["labels"][ISVC_LABEL] == name
        ]  # fmt: skip
        for key in labelled:
            if key[2] not in pods:
                del self.objects[key]
        for deployment, replicas in pods.items():
            is_first = deployment == stable and ("HTTPRoute", NAMESPACE, name) not in self.objects
            ready = [n for n in range(replicas) if is_first or self._is_up(f"{deployment}/{n}")]
            self._deployment(name, deployment, replicas, len(ready))
        self._route(isvc, stable)

    def _scaled(self, isvc: Object, deployment: str, by_kserve: dict[str, int]) -> int:
        """Replicas of a Deployment: KServe's number, an autoscaler's, or what it had."""
        if class_of(isvc) == "none":
            return by_kserve[deployment]
        load = self.load * self._share(isvc, deployment) / 100
        if class_of(isvc) != "external":
            is_stable = deployment == next(iter(by_kserve))
            most = int(isvc["spec"]["predictor"].get("maxReplicas", by_kserve[deployment]))
            return (
                min(max(ceil(load), by_kserve[deployment]), most)
                if is_stable
                else by_kserve[deployment]
            )
        for (kind, _, _), target in self.objects.items():
            if kind in LEAST and target["spec"]["scaleTargetRef"]["name"] == deployment:
                return scaled(target, load)
        living = self.objects.get(("Deployment", NAMESPACE, deployment), {"spec": {}})
        return int(living["spec"].get("replicas", 1))

    def _share(self, isvc: Object, deployment: str) -> int:
        """Percent of the traffic, as the route has it now."""
        route = self.objects.get(("HTTPRoute", NAMESPACE, isvc["metadata"]["name"]))
        backends = route["spec"]["rules"][-1]["backendRefs"] if route else []
        return sum(int(b["weight"]) for b in backends if b["name"] == deployment)

    def _deployment(self, name: str, deployment: str, replicas: int, ready: int) -> None:
        key = ("Deployment", NAMESPACE, deployment)
        had = self.objects.get(key, {}).get("status", {}).get("readyReplicas", 0)
        self.put({
            "kind": "Deployment",
            "metadata": {"name": deployment, "labels": {ISVC_LABEL: name}},
            "spec": {"replicas": replicas},
            "status": {"readyReplicas": max(ready, min(had, replicas))},
        })  # fmt: skip

    def _route(self, isvc: Object, stable: str) -> None:
        """Weights of canaries with a ready pod; the others are left out."""
        name = isvc["metadata"]["name"]
        ready = {
            c["predictor"]["name"]: c["trafficPercent"]
            for c in isvc["spec"].get("canary", [])
            if self._ready(deployment_name(name, c["predictor"]["name"]))
        }
        backends = [{"name": stable, "weight": 100 - sum(ready.values())}]
        backends += [{"name": deployment_name(name, n), "weight": w} for n, w in ready.items()]
        conditions = [{"type": "Accepted", "status": "True", "observedGeneration": 1}]
        self.put({
            "kind": "HTTPRoute",
            "metadata": {"name": name},
            "spec": {"rules": [{"matches": [{"path": PATH}], "backendRefs": backends}]},
            "status": {"parents": [{"conditions": conditions}]},
        })  # fmt: skip

    def _program(self) -> None:
        """The gateway's word on routes that KServe did not make."""
        for (kind, _, name), route in self.objects.items():
            if kind == "HTTPRoute" and name.endswith("-compare"):
                generation = route["metadata"]["generation"]
                state_of = {"type": "Accepted", "status": "True", "observedGeneration": generation}
                route["status"] = {"parents": [{"conditions": [state_of]}]}

    def _ready(self, deployment: str) -> int:
        stored = self.objects.get(("Deployment", NAMESPACE, deployment), {})
        return int(stored.get("status", {}).get("readyReplicas", 0))
