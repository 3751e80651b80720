"""Say what pods wait for: a line for each one that is not ready. Used by hack/cluster.sh.

    kubectl get pods --output json | pod_reasons.py

Only the standard library is needed.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]


def waiting(pods: Sequence[Object]) -> list[str]:
    """A line for each pod that is not ready: what Kubernetes says about it."""
    return [
        f"{pod['metadata']['name']}: {'; '.join(reasons(pod)) or 'not ready'}"
        for pod in pods
        if not is_ready(pod)
    ]


def is_ready(pod: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod.get("status", {}).get("conditions", [])
    )


def reasons(pod: Object) -> Iterator[str]:
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        yield "is being stopped"
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield reason_of(condition)
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind, []):
            yield from container_reasons(container)
    if status.get("message"):
        yield reason_of(status)


def container_reasons(container: Object) -> Iterator[str]:
    """Of a container that does not do its work: why it waits, how it ended, how often."""
    name, state = container["name"], container.get("state", {})
    last = container.get("lastState", {}).get("terminated", {})
    if "waiting" in state:
        yield f"{name}: {reason_of(state['waiting'])}"
    elif state.get("terminated", {}).get("exitCode"):
        last = state["terminated"]
    elif "running" in state and not container.get("ready"):
        yield f"{name} runs and is not ready"
    if last:
        times = container.get("restartCount", 0)
        yield f"{name} ended with {last['exitCode']} ({last.get('reason', '')}), {times} restarts"


def reason_of(part: Object) -> str:
    return ": ".join(filter(None, (part.get("reason"), part.get("message"))))


def main() -> int:
    pods = json.load(sys.stdin)["items"]
    sys.stdout.writelines(f"{line}\n" for line in waiting(pods))
    return 0


if __name__ == "__main__":
    sys.exit(main())
