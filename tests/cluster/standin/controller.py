"""The loop around the plan: reads the cluster, writes what the plan says, again and again.

KServe is told of changes by watches; this looks several times a second and does nothing when
nothing has changed. `python -m tests.cluster.standin.controller KUBECONFIG` runs it for a person.
"""

import copy
import datetime
import logging
import sys
import threading
from pathlib import Path

from tests.cluster.api import Api, Object, Refused, connected
from tests.cluster.standin.merge import Invalid
from tests.cluster.standin.plan import Plan, Step, desired
from tests.cluster.standin.status import Living
from tests.cluster.standin.workload import AUTOSCALER_CLASS

PERIOD_S = 0.25
READ_KINDS = (
    "InferenceService",
    "ServingRuntime",
    "ClusterServingRuntime",
    "Deployment",
    "Service",
    "HTTPRoute",
)
REVISION = "deployment.kubernetes.io/revision"
logger = logging.getLogger("kserve-stand-in")


class Controller:
    """Runs in a thread of its own between start and stop; `failure` is why it ended, if it did."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stopping = threading.Event()
        self._reconciled: dict[str, tuple[str, ...]] = {}
        self._thread = threading.Thread(target=self._run, name="kserve-stand-in", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Raises what the thread ended with."""
        self._stopping.set()
        self._thread.join(30.0)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._stopping.wait(PERIOD_S):
                self.look()
        except BaseException as error:  # it is for the owner to raise it
            logger.exception("the stand-in ended")
            self.failure = error

    def look(self) -> None:
        """One round over every InferenceService that something has changed about."""
        objects = {kind: self._api.list(kind) for kind in READ_KINDS}
        for isvc in objects["InferenceService"]:
            metadata = isvc["metadata"]
            runtime = _runtime_of(isvc, objects)
            living = _living(isvc, objects)
            state = _versions(isvc, runtime, living)
            if "deletionTimestamp" in metadata or self._reconciled.get(metadata["uid"]) == state:
                continue
            try:
                self._reconcile(isvc, runtime, living)
                self._reconciled[metadata["uid"]] = state
            except Refused as refused:  # a conflict, or deleted meanwhile: the next round sees it
                logger.warning("%s/%s: %s", metadata["namespace"], metadata["name"], refused)

    def _reconcile(self, isvc: Object, runtime: Object | None, living: Living) -> None:
        try:
            plan = desired(isvc, runtime, living)
        except Invalid as invalid:
            info = {"reason": invalid.reason, "message": str(invalid)}
            status = {"transitionStatus": "InvalidSpec", "lastFailureInfo": info}
            plan = Plan((), {**isvc.get("status", {}), "modelStatus": status})
        for step in plan.steps:
            self._take(step)
        self._write_status(isvc, plan.status)

    def _take(self, step: Step) -> None:
        target = step.target
        kind, metadata = target["kind"], target["metadata"]
        if step.verb == "delete":
            logger.info("%s", step.name)
            self._api.delete(kind, metadata["name"], metadata["namespace"])
            return
        existing = self._api.get(kind, metadata["name"], metadata["namespace"])
        if existing is None:
            logger.info("%s", step.name)
            self._api.create(target)
        elif replacement := self._difference(target, existing):
            logger.info("%s", step.name)
            self._api.replace(replacement)

    def _difference(self, target: Object, existing: Object) -> Object | None:
        """What to put in its place, or None if its spec says the same already.

        Defaults of the API server are filled in by a dry run, as KServe does. Replicas are an
        autoscaler's, unless the class is none.
        """
        replacement = copy.deepcopy(target)
        metadata = replacement["metadata"]
        metadata["resourceVersion"] = existing["metadata"]["resourceVersion"]
        if target["kind"] == "Deployment":
            if metadata["annotations"].get(AUTOSCALER_CLASS) != "none":
                replacement["spec"]["replicas"] = existing["spec"].get("replicas", 1)
            if REVISION in existing["metadata"].get("annotations", {}):
                metadata["annotations"][REVISION] = existing["metadata"]["annotations"][REVISION]
        if target["kind"] == "Service":
            for kept in ("clusterIP", "clusterIPs"):
                replacement["spec"][kept] = existing["spec"][kept]
        filled = self._api.replace(replacement, dry_run=True)
        return None if filled["spec"] == existing["spec"] else replacement

    def _write_status(self, isvc: Object, status: Object) -> None:
        before = isvc.get("status", {})
        dated = with_times(status, before.get("conditions", []))
        if dated == before:
            return
        current = self._api.get(
            "InferenceService", isvc["metadata"]["name"], isvc["metadata"]["namespace"]
        )
        if current is not None and current["metadata"]["uid"] == isvc["metadata"]["uid"]:
            current["status"] = dated
            self._api.replace(current, part="/status")


def with_times(status: Object, before: list[Object]) -> Object:
    """Conditions with the time of their last change: a new one where the status changed."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    old = {c["type"]: c for c in before}
    dated = []
    for condition in status.get("conditions", []):
        was = old.get(condition["type"], {})
        same = was.get("status") == condition["status"]
        dated.append(condition | {"lastTransitionTime": was["lastTransitionTime"] if same else now})
    return {**status, "conditions": dated} if dated else status


def _runtime_of(isvc: Object, objects: dict[str, list[Object]]) -> Object | None:
    """A ServingRuntime of the namespace beats one of the cluster (utils.go, GetServingRuntime)."""
    name = isvc["spec"]["predictor"].get("model", {}).get("runtime")
    for kind in ("ServingRuntime", "ClusterServingRuntime"):
        for runtime in objects[kind]:
            metadata = runtime["metadata"]
            if metadata["name"] == name and metadata.get("namespace") in (
                None, isvc["metadata"]["namespace"],
            ):  # fmt: skip
                return runtime
    return None


def _living(isvc: Object, objects: dict[str, list[Object]]) -> Living:
    """By labels, as KServe lists what may be orphaned: also what somebody else labelled so."""
    metadata = isvc["metadata"]

    def ours(item: Object) -> bool:
        labels: dict[str, str] = item["metadata"].get("labels", {})
        return (
            str(item["metadata"]["namespace"]) == metadata["namespace"]
            and labels.get("serving.kserve.io/inferenceservice") == metadata["name"]
            and labels.get("component") == "predictor"
        )

    return Living(
        {d["metadata"]["name"]: d for d in objects["Deployment"] if ours(d)},
        {s["metadata"]["name"]: s for s in objects["Service"] if ours(s)},
        {
            r["metadata"]["name"]: r
            for r in objects["HTTPRoute"]
            if r["metadata"]["namespace"] == metadata["namespace"]
        },
    )


def _versions(isvc: Object, runtime: Object | None, living: Living) -> tuple[str, ...]:
    objects = [isvc, *([runtime] if runtime else []), *living.deployments.values()]
    objects += [*living.services.values(), *living.routes.values()]
    return tuple(f"{o['metadata']['uid']}@{o['metadata']['resourceVersion']}" for o in objects)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request
    with connected(Path(sys.argv[1])) as api:
        controller = Controller(api)
        while True:
            controller.look()
            threading.Event().wait(PERIOD_S)


if __name__ == "__main__":
    main()
