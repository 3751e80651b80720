"""A cluster in memory: objects with versions, and KServe's two controllers as a function of them.

What the controllers do is what was seen of the real ones; each rule stands beside its line. Time is
a number that the test moves.
"""

import copy
from collections.abc import Callable
from typing import Any

from predictor.controller.cluster import ClusterError, Conflict
from predictor.controller.standard import ISVC_LABEL, deployment_name

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
    kill_at: the write, counted from 1, at which the controller dies; after: instead of before it.
    """

    def __init__(self, slow: float | None = 5.0) -> None:
        self.now = 1_000_000.0
        self.objects: dict[Key, Object] = {}
        self.slow = slow
        self.kill_at, self.after = 0, False
        self.writes: list[str] = []
        self.trouble: Callable[[str, str], None] = lambda verb, kind: None
        self._version = 0
        self._since: dict[str, float] = {}

    # As the API server

    def put(self, target: Object) -> Object:
        self._version += 1
        made = copy.deepcopy(target)
        own = made["metadata"]
        own["resourceVersion"] = str(self._version)
        own.setdefault("namespace", NAMESPACE)
        own.setdefault("generation", 1)
        own.setdefault("creationTimestamp", f"{self.now:.0f}")
        own.setdefault("uid", f"uid-{self._version}")
        self.objects[made["kind"], own["namespace"], own["name"]] = made
        return made

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        self.trouble("get", kind)
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        self.trouble("list", kind)
        key, _, value = labels.partition("=")
        return [
            copy.deepcopy(found)
            for (of, space, _), found in self.objects.items()
            if of == kind
            and namespace in ("", space)
            and (not labels or found["metadata"].get("labels", {}).get(key) == value)
        ]

    def patch(self, kind: str, namespace: str, name: str, patch: Object, part: str = "") -> Object:
        self.trouble("patch", kind)
        self._die(f"patch {kind} {part}".strip(), False)
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise ClusterError(f"404 {kind} {name}")
        version = patch.get("metadata", {}).get("resourceVersion")
        if version not in (None, found["metadata"]["resourceVersion"]):
            raise Conflict(f"409 {kind} {name}")
        changed = merged(found, patch)
        if changed["spec"] != found["spec"]:
            changed["metadata"]["generation"] += 1
        done = self.put(changed)
        self._die(f"patch {kind} {part}".strip(), True)
        return copy.deepcopy(done)

    def create(self, kind: str, namespace: str, target: Object) -> Object:
        self.trouble("create", kind)
        made = copy.deepcopy(target)
        made["metadata"].setdefault("name", f"{kind}-{self._version}")
        made["metadata"]["namespace"] = namespace
        return self.put(made | {"kind": kind})

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.trouble("delete", kind)
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
        found = self.objects[kind, NAMESPACE, name]
        changed = merged(found, patch)
        if changed["spec"] != found["spec"]:
            changed["metadata"]["generation"] += 1
        self.put(changed)

    # As time, and KServe

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._program()
        for (kind, _, _), found in list(self.objects.items()):
            if kind == "InferenceService":
                is_standard = "Standard" in str(found["metadata"].get("annotations"))
                (self._standard if is_standard else self._knative)(found)

    def _age(self, what: str) -> float:
        return self.now - self._since.setdefault(what, self.now)

    def _is_up(self, what: str) -> bool:
        return self.slow is not None and self._age(what) >= self.slow

    def _standard(self, isvc: Object) -> None:
        name, spec = isvc["metadata"]["name"], isvc["spec"]
        stable = deployment_name(name, spec["predictor"].get("name", ""))
        pods = {stable: int(spec["predictor"].get("minReplicas", 1))}
        for canary in spec.get("canary", []):
            own = canary["predictor"]
            pods[deployment_name(name, own["name"])] = int(own.get("minReplicas", 1))
        labelled = [
            key for key, found in self.objects.items()
            if key[0] == "Deployment" and found["metadata"]["labels"][ISVC_LABEL] == name
        ]  # fmt: skip
        for key in labelled:
            if key[2] not in pods:
                del self.objects[key]
        for deployment, replicas in pods.items():
            is_first = deployment == stable and ("HTTPRoute", NAMESPACE, name) not in self.objects
            ready = [n for n in range(replicas) if is_first or self._is_up(f"{deployment}/{n}")]
            self._deployment(name, deployment, replicas, len(ready))
        self._route(isvc, stable)

    def _deployment(self, name: str, deployment: str, replicas: int, ready: int) -> None:
        key = ("Deployment", NAMESPACE, deployment)
        had = self.objects.get(key, {}).get("status", {}).get("readyReplicas", 0)
        self.put({
            "kind": "Deployment",
            "metadata": {"name": deployment, "labels": {ISVC_LABEL: name}},
            "spec": {"replicas": replicas},
            "status": {"readyReplicas": max(ready, had) if had <= replicas else ready},
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
        for (kind, _, name), found in self.objects.items():
            if kind == "HTTPRoute" and name.endswith("-compare"):
                own = found["metadata"]["generation"]
                told = {"type": "Accepted", "status": "True", "observedGeneration": own}
                found["status"] = {"parents": [{"conditions": [told]}]}

    def _ready(self, deployment: str) -> int:
        found = self.objects.get(("Deployment", NAMESPACE, deployment), {})
        return int(found.get("status", {}).get("readyReplicas", 0))

    def _knative(self, isvc: Object) -> None:
        """Revisions by model: the newest ready one has the percentage, the one before the rest."""
        predictor = isvc["spec"]["predictor"]
        told = (
            isvc.setdefault("status", {}).setdefault("components", {}).setdefault("predictor", {})
        )
        revisions: list[str] = told.setdefault("revisions", [])
        model = f"{predictor['model']['storageUri']} {predictor['model'].get('image', '')}"
        if not revisions or told["model"] != model:
            revisions.append(f"{isvc['metadata']['name']}-predictor-{len(revisions) + 1:05d}")
            told["model"] = model
        latest = revisions[-1]
        told["latestCreatedRevision"] = latest
        known = predictor["model"]["storageUri"] in told.setdefault("good", [])
        if len(revisions) == 1 or self._is_up(latest) or (known and self._age(latest) >= 5.0):
            told["good"].append(predictor["model"]["storageUri"])
            told["latestReadyRevision"] = latest
        ready, percent = told["latestReadyRevision"], predictor.get("canaryTrafficPercent")
        rolled = told.setdefault("latestRolledoutRevision", ready)
        if percent is None or ready == rolled:
            told["traffic"] = [{"revisionName": ready, "percent": 100, "latestRevision": True}]
            told["latestRolledoutRevision"] = ready
        else:
            told["traffic"] = [
                {"revisionName": ready, "percent": percent, "latestRevision": True},
                {"revisionName": rolled, "percent": 100 - percent, "tag": "prev"},
            ]
        isvc["status"]["observedGeneration"] = isvc["metadata"]["generation"]
        served = told.setdefault("served", {})
        served[latest] = predictor["model"]["storageUri"]
        self.shares = {served[one["revisionName"]]: one["percent"] for one in told["traffic"]}
