"""Say whether the pods of an InferenceService fit on the nodes. Used by hack/cluster.sh.

    node_room.py MORE SERVICE NODES [PODS]

MORE is the number of pods that come to the service's minReplicas. SERVICE, NODES and PODS are files
of JSON as kubectl prints it: the InferenceService, the nodes, and all pods, which take room; those
of the service itself are not counted, because they will be replaced. Exit code 1: they do not fit.
Only the standard library is needed.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Object = Mapping[str, Any]
Resources = dict[str, float]

QUANTITY = re.compile(r"(?P<number>[0-9.]+(?:[eE][+-]?[0-9]+)?)(?P<suffix>[A-Za-z]*)")
DECIMAL = dict(zip(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), range(-3, 7), strict=True))
BINARY = dict(zip(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), range(1, 7), strict=True))


def amount(quantity: str) -> float:
    """The value of a quantity of Kubernetes, such as 150m, 2, 1Gi or 1e3.

    Raises:
        ValueError: it is no quantity.
    """
    match = QUANTITY.fullmatch(quantity)
    if match is None or match["suffix"] not in DECIMAL | BINARY:
        raise ValueError(f"{quantity!r} is no quantity")
    suffix = match["suffix"]
    factor = 1024.0 ** BINARY[suffix] if suffix in BINARY else 1000.0 ** DECIMAL[suffix]
    return float(match["number"]) * factor


def text_of(resource: str, value: float) -> str:
    """A value as a person writes it: memory in MiB, everything else with up to three decimals."""
    if resource == "memory":
        return f"{value / 1024**2:.0f}Mi"
    return f"{value:.3f}".rstrip("0").rstrip(".")


def total(parts: Iterable[Resources]) -> Resources:
    result: Resources = {}
    for part in parts:
        for resource, value in part.items():
            result[resource] = result.get(resource, 0.0) + value
    return result


def requests(containers: Iterable[Object]) -> Resources:
    """What the scheduler counts: the requests, and the limits of what has only limits."""
    return total(
        {
            resource: amount(str(quantity))
            for resource, quantity in (
                (container.get("resources") or {}).get("limits", {})
                | (container.get("resources") or {}).get("requests", {})
            ).items()
        }
        for container in containers
    )


def needs_of(service: Object) -> Resources:
    """The requests of one pod of an InferenceService; what only its runtime sets is not known."""
    predictor = service["spec"]["predictor"]
    return requests([predictor.get("model", {}), *predictor.get("containers", [])])


def takes(node: Object, predictor: Object) -> bool:
    """Whether the pods may run on the node: neither cordoned, nor tainted, nor another label."""
    spec, labels = node.get("spec", {}), node["metadata"].get("labels", {})
    selector = predictor.get("nodeSelector", {})
    tolerations = predictor.get("tolerations", [])
    return (
        not spec.get("unschedulable")
        and all(labels.get(key) == value for key, value in selector.items())
        and all(
            any(tolerates(toleration, taint) for toleration in tolerations)
            for taint in spec.get("taints", [])
            if taint["effect"] != "PreferNoSchedule"
        )
    )


def tolerates(toleration: Object, taint: Object) -> bool:
    same_value = toleration.get("operator") == "Exists" or (
        toleration.get("value", "") == taint.get("value", "")
    )
    return (
        toleration.get("key") in (None, "", taint["key"])
        and toleration.get("effect") in (None, "", taint["effect"])
        and same_value
    )


def free(node: Object, pods: Iterable[Object]) -> Resources:
    """What the node can give to pods, less the requests of those that run there."""
    allocatable = {
        resource: amount(str(quantity))
        for resource, quantity in node["status"].get("allocatable", {}).items()
    }
    running = [
        pod
        for pod in pods
        if pod["spec"].get("nodeName") == node["metadata"]["name"]
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]
    used = total(requests(pod["spec"]["containers"]) for pod in running)
    used["pods"] = len(running)
    return {resource: value - used.get(resource, 0.0) for resource, value in allocatable.items()}


def report(
    more: int, service: Object, nodes: Sequence[Object], pods: Sequence[Object]
) -> tuple[list[str], bool]:
    """What a pod of the service requests, what each node has left, and whether all pods fit."""
    needs = needs_of(service)
    count = max(1, service["spec"]["predictor"].get("minReplicas", 1)) + more
    pods = [pod for pod in pods if not belongs_to(pod, service)]
    lines = [f"{service['metadata']['name']} wants {count} x ({words(needs, needs)})"]
    places = 0
    for node in nodes:
        available = free(node, pods)
        fitting = 0
        if takes(node, service["spec"]["predictor"]):
            fitting = max(0, int(min([available.get("pods", 0.0), *ratios(available, needs)])))
        places += fitting
        has = words(needs, available)
        lines.append(f"node {node['metadata']['name']} has {has} left: room for {fitting}")
    fits = places >= count
    lines.append("they fit" if fits else f"they do not fit: there is room for {places}")
    return lines, fits


def belongs_to(pod: Object, service: Object) -> bool:
    meta, owner = pod["metadata"], service["metadata"]
    name = meta.get("labels", {}).get("serving.kserve.io/inferenceservice")
    return name == owner["name"] and meta.get("namespace") == owner.get("namespace")


def words(resources: Iterable[str], values: Resources) -> str:
    parts = (f"{name} {text_of(name, values.get(name, 0.0))}" for name in sorted(resources))
    return ", ".join(parts) or "nothing"


def ratios(available: Resources, needs: Resources) -> Iterator[float]:
    """How often each need is met."""
    for resource, value in needs.items():
        if value:
            # Half a byte more: sums of quantities are not exact.
            yield (available.get(resource, 0.0) + value * 1e-9) // value


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (3, 4):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    more, *files = arguments
    service, nodes, *others = (json.loads(Path(file).read_text("utf-8")) for file in files)
    pods = others[0]["items"] if others else []
    lines, fits = report(int(more), service, nodes["items"], pods)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
