"""Why pods are not ready, in a sentence: for the status, before the pods are removed.

Everything comes from the pods' and the InferenceService's own status, so no right to read logs is
needed: the chart lets Kubernetes keep the end of a container's log as its termination message.
Pure.
"""

from collections.abc import Iterator, Sequence

from predictor.controller.objects import Object

# Characters of a sentence.
MOST_PROBLEM = 300
# KServe's conditions, the most telling first.
CONDITIONS = ("CanaryPredictorReady", "PredictorReady", "LatestDeploymentReady", "Ready")


def problem_of(pods: Sequence[Object], isvc: Object) -> str:
    """The worst of the pods, what KServe says, and the end of the container's own words."""
    unready = [pod for pod in pods if not _is_ready(pod)]
    worst = max(unready, key=_restarts, default=None)
    head = _pod_part(worst) if worst is not None else "there are no pods" if not pods else ""
    parts = [part for part in (head, _kserve_part(isvc)) if part]
    text = "; ".join(parts)[:MOST_PROBLEM]
    last_words = _last_words(worst) if worst is not None else ""
    room = MOST_PROBLEM - len(text) - len("; … ")
    if not last_words or room < 20:
        return text
    end = last_words if len(last_words) <= room else f"… {last_words[-room:]}"
    return f"{text}; {end}"


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _containers(pod: Object) -> Iterator[Object]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])


def _restarts(pod: Object) -> int:
    return sum(int(container.get("restartCount", 0)) for container in _containers(pod))


def _pod_part(pod: Object) -> str:
    parts = [f"pod {pod['metadata']['name']} is {pod.get('status', {}).get('phase', 'Unknown')}"]
    for entry in pod.get("status", {}).get("conditions", []):
        if entry["type"] == "PodScheduled" and entry["status"] == "False":
            parts.append(f"{entry.get('reason', '')}: {entry.get('message', '')}")
    for container in _containers(pod):
        if not container.get("ready"):
            parts += _container_parts(container)
    return ", ".join(parts)


def _container_parts(container: Object) -> list[str]:
    waiting = container.get("state", {}).get("waiting")
    ended = _ended(container)
    if waiting is None and ended is None:
        return []
    parts = [str(container["name"])]
    if waiting is not None:
        parts[0] += f" waits: {waiting.get('reason', '')}"
        if ended is None and waiting.get("message"):
            parts.append(_joined(waiting["message"]))
    if ended is not None:
        if not container.get("state", {}).get("waiting") and ended.get("exitCode") == 0:
            return []  # an init container that is done
        parts.append(f"exit code {ended.get('exitCode')} ({ended.get('reason', '')})")
    if restarts := container.get("restartCount"):
        parts.append(f"{restarts} restarts")
    return parts


def _ended(container: Object) -> Object | None:
    """How the container ended last, if it did."""
    now, last = container.get("state", {}), container.get("lastState", {})
    ended: Object | None = now.get("terminated") or last.get("terminated")
    return ended


def _last_words(pod: Object) -> str:
    """The termination message of a container that failed."""
    for container in _containers(pod):
        ended = _ended(container)
        if ended is not None and ended.get("exitCode") and ended.get("message"):
            return _joined(ended["message"])
    return ""


def _joined(text: str) -> str:
    return " ".join(str(text).split())


def _kserve_part(isvc: Object) -> str:
    conditions = isvc.get("status", {}).get("conditions", [])
    known = {entry["type"]: entry for entry in conditions if entry.get("status") == "False"}
    for kind in CONDITIONS:
        if kind in known:
            words = [known[kind].get("reason", ""), known[kind].get("message", "")]
            return f"KServe: {kind} is False: {' '.join(word for word in words if word)}"
    return ""
