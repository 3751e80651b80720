"""KServe's and Knative's controllers for a service in Knative mode, one pass each a round.

What they do is what their sources say: KServe's `ksvc_reconciler.go` and `PropagateStatus`
(`inference_service_status.go`), Knative's `reconciler/service` and `reconciler/configuration`. The
gateway follows the traffic that Knative writes one pass later.
"""

import copy
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
TAG_ROUTING = "serving.kserve.io/enable-tag-routing"
# KServe's ServiceAnnotationDisallowedList: every other annotation is in the revision's template.
NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", SOURCE)
RUNTIME_IMAGE = "predictor:of-the-runtime"
# Seconds until a revision whose model has been served before is ready.
KNOWN_S = 5.0


class KnativeControllers:
    """Both controllers. objects: the cluster's; put: writes one; age: seconds since a name was new.

    is_up: whether pods of a revision are ready.
    """

    def __init__(
        self,
        objects: dict[tuple[str, str, str], Object],
        put: Callable[[Object], Object],
        age: Callable[[str], float],
        is_up: Callable[[str], bool],
    ) -> None:
        self._objects, self._put, self._age, self._is_up = objects, put, age, is_up
        # Percent by revision, as the gateway sends it.
        self.routed: dict[str, int] = {}
        # Names of all revisions, oldest first.
        self.revisions: list[str] = []
        self._good: set[str] = set()

    def reconcile(self, isvc: Object) -> None:
        """Knative first: it sees what KServe wrote a round ago, as the controller does."""
        metadata = isvc["metadata"]
        name, namespace = f"{metadata['name']}-predictor", metadata["namespace"]
        service = self._objects.get(("KnativeService", namespace, name))
        if service is not None:
            self._knative(service)
        self._kserve(isvc, service, name)

    def shares(self) -> dict[str, int]:
        """Percent by the model that the revisions serve."""
        sums: dict[str, int] = {}
        for revision, percent in self.routed.items():
            uri = self.uri_of(revision)
            sums[uri] = sums.get(uri, 0) + percent
        return sums

    def uri_of(self, revision: str) -> str:
        uri: str = self._template(revision)["metadata"]["annotations"][SOURCE]
        return uri

    # KServe

    def _kserve(self, isvc: Object, service: Object | None, name: str) -> None:
        components = isvc.setdefault("status", {}).setdefault("components", {})
        status = components.setdefault("predictor", {})
        spec = _service_spec(isvc, status)
        if service is None:
            metadata = {"name": name, "namespace": isvc["metadata"]["namespace"]}
            self._put({"kind": "KnativeService", "metadata": metadata, "spec": spec, "status": {}})
            return
        if service["spec"] != spec:
            service["spec"] = spec
            service["metadata"]["generation"] += 1
        _propagate(isvc, status, service["status"])

    # Knative

    def _knative(self, service: Object) -> None:
        status, template = service["status"], service["spec"]["template"]
        latest = status.get("latestCreatedRevisionName")
        if latest is None or self._template(latest) != template:
            latest = f"{service['metadata']['name']}-{len(self.revisions) + 1:05d}"
            self._create_revision(service, latest)
            status["latestCreatedRevisionName"] = latest
        uri = template["metadata"]["annotations"][SOURCE]
        is_first = len(self.revisions) == 1
        if is_first or self._is_up(latest) or (uri in self._good and self._age(latest) >= KNOWN_S):
            self._good.add(uri)
            status["latestReadyRevisionName"] = latest
        ready = status["latestReadyRevisionName"]
        traffic = [_assigned(target, service, ready) for target in service["spec"]["traffic"]]
        is_programmed = status.get("traffic", traffic) == traffic
        if is_programmed:
            self.routed = _percents(traffic)
        status |= {
            "traffic": traffic,
            "observedGeneration": service["metadata"]["generation"],
            "conditions": [
                {"type": "ConfigurationsReady", "status": "True" if ready == latest else "Unknown"},
                {"type": "RoutesReady", "status": "True" if is_programmed else "Unknown"},
            ],
        }

    def _create_revision(self, service: Object, name: str) -> None:
        self._age(name)
        self.revisions.append(name)
        template = copy.deepcopy(service["spec"]["template"])
        template["metadata"] |= {"name": name, "namespace": service["metadata"]["namespace"]}
        self._put({"kind": "Revision"} | template)

    def _template(self, revision: str) -> Object:
        (living,) = (
            item
            for (kind, _, name), item in self._objects.items()
            if (kind, name) == ("Revision", revision)
        )
        annotations = living["metadata"]["annotations"]
        return {"metadata": {"annotations": annotations}, "spec": living["spec"]}


def _service_spec(isvc: Object, status: Object) -> Object:
    """As createKnativeService makes it."""
    predictor = isvc["spec"]["predictor"]
    annotations = isvc["metadata"].get("annotations", {})
    copied = {key: value for key, value in annotations.items() if key not in NOT_COPIED}
    image = predictor["model"].get("image", RUNTIME_IMAGE)
    template = {
        "metadata": {"annotations": copied | {SOURCE: predictor["model"]["storageUri"]}},
        "spec": {"containers": [{"name": "kserve-container", "image": image}]},
    }
    percent = predictor.get("canaryTrafficPercent")
    rolled_out = status.get("latestRolledoutRevision", "")
    is_split = percent is not None and rolled_out
    latest: Object = {"latestRevision": True, "percent": percent if is_split else 100}
    if annotations.get(TAG_ROUTING) == "true":
        latest["tag"] = "latest"
    traffic = [latest]
    if is_split and percent < 100:
        rest = {"revisionName": rolled_out, "latestRevision": False, "percent": 100 - percent}
        traffic.append(rest | {"tag": "prev"})
    return {"template": template, "traffic": traffic}


def _propagate(isvc: Object, status: Object, of_service: Object) -> None:
    """As PropagateStatus does it: the generation is that of the Knative Service."""
    if "observedGeneration" not in of_service:
        return
    status["latestCreatedRevision"] = of_service["latestCreatedRevisionName"]
    ready = of_service["latestReadyRevisionName"]
    percents = _percents(of_service["traffic"])
    for target in of_service["traffic"]:
        if target["revisionName"] != ready or not target["latestRevision"]:
            continue
        if status.get("latestRolledoutRevision") != ready:
            if target["percent"] == 100:
                status["previousRolledoutRevision"] = status.get("latestRolledoutRevision", "")
                status["latestRolledoutRevision"] = ready
        elif (
            ready == status["latestCreatedRevision"]
            and target["percent"] < 100 == percents[ready]
            and status["previousRolledoutRevision"]
        ):
            status["latestRolledoutRevision"] = status["previousRolledoutRevision"]
    status["latestReadyRevision"] = ready
    status["traffic"] = copy.deepcopy(of_service["traffic"])
    isvc["status"]["observedGeneration"] = of_service["observedGeneration"]


def _assigned(target: Object, service: Object, ready: str) -> Object:
    assigned = {"latestRevision": False, "revisionName": ready} | target
    if "tag" in target:
        host = f"{target['tag']}-{service['metadata']['name']}.search.example.com"
        assigned["url"] = f"http://{host}"
    return assigned


def _percents(traffic: list[Object]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for target in traffic:
        sums[target["revisionName"]] = sums.get(target["revisionName"], 0) + target["percent"]
    return sums
