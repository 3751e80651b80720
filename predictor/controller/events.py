"""Status and Events of a rollout: what people, scripts and dashboards read."""

import logging
from typing import Literal

from predictor.controller import metrics
from predictor.controller.cluster import Cluster, ClusterError
from predictor.controller.objects import Object, key_of
from predictor.rollout.spec import GROUP, KIND, VERSION
from predictor.rollout.state import Phase, State, Transition
from predictor.rollout.status import status_of, whole_time

logger = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]
COMPONENT = "predictor-rollout"
WARNINGS: frozenset[Phase] = frozenset({"RollingBack", "Failed", "Paused", "Pending"})
# The API server accepts 1 024 bytes.
MOST_MESSAGE = 1000


def write_status(cluster: Cluster, rollout: Object, state: State, now: float) -> Object:
    """Replace the status, and return the rollout as it is then.

    Args:
        now: seconds since 1970.

    Raises:
        Conflict: the rollout has changed since it was read.
        ClusterError: the status could not be written.
    """
    metadata = rollout["metadata"]
    previous = rollout.get("status") or {}
    status = status_of(state, metadata.get("generation", 0), previous, now)
    # A merge patch leaves the fields that it does not name: those of the previous status go.
    removed = dict.fromkeys(previous.keys() - status.keys())
    patch = {
        "metadata": {"resourceVersion": metadata["resourceVersion"]},
        "status": removed | status,
    }
    return cluster.patch(KIND, *key_of(rollout), patch, "status")


def report_transitions(cluster: Cluster, rollout: Object, before: State, after: State) -> None:
    """One Event, log line and count for each new transition; a lost Event is not repeated."""
    namespace, name = key_of(rollout)
    known = set(before.transitions)
    for transition in after.transitions:
        if transition in known:
            continue
        logger.info(
            "rollout %s/%s: %s, weight %d, %s: %s",
            namespace,
            name,
            transition.phase,
            transition.weight,
            transition.reason,
            transition.message,
        )
        metrics.TRANSITIONS.labels(namespace, name, transition.phase).inc()
        _create(cluster, rollout, event_of(rollout, transition))


def event_of(rollout: Object, transition: Transition) -> Object:
    """The Event of a transition, for `kubectl describe`; its reason is that of the transition."""
    message = f"{transition.phase}, weight {transition.weight}: {transition.message}"
    kind: EventType = "Warning" if transition.phase in WARNINGS else "Normal"
    return new_event(rollout, transition.reason, message, kind, transition.time)


def report_refusal(cluster: Cluster, rollout: Object, error: str, now: float) -> None:
    """An Event with the API server's sentence; a lost one is not repeated."""
    event = new_event(rollout, "WriteRefused", error, "Warning", now)
    _create(cluster, rollout, event)


def report_deletion(cluster: Cluster, rollout: Object, state: State, now: float) -> None:
    """An Event of the InferenceService, whose rollout was deleted before its end."""
    namespace, name = key_of(rollout)
    service = rollout["spec"].get("inferenceService", "")
    message = (
        f"EmbeddingRollout {name} was deleted in phase {state.phase}: canary {state.canary} "
        f"({state.target_uri}) stays with weight {state.served_weight}. A new EmbeddingRollout "
        f"with the same target takes it over; with rollout.mode=helm, `helm upgrade` does"
    )
    logger.warning("rollout %s/%s: %s", namespace, name, message)
    try:
        isvc = cluster.get("InferenceService", namespace, service)
    except ClusterError as error:
        logger.warning("rollout %s/%s: the Event was not written: %s", namespace, name, error)
        return
    if isvc is not None:
        isvc = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"} | isvc
        _create(cluster, rollout, new_event(isvc, "RolloutDeleted", message, "Warning", now))


def _create(cluster: Cluster, rollout: Object, event: Object) -> None:
    namespace, name = key_of(rollout)
    try:
        cluster.create("Event", namespace, event)
    except ClusterError as error:
        logger.warning("rollout %s/%s: the Event was not written: %s", namespace, name, error)


def new_event(involved: Object, reason: str, message: str, kind: EventType, now: float) -> Object:
    """An Event about an object; an item of a list has no kind, and is a rollout."""
    namespace, name = key_of(involved)
    time = whole_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name[:200]}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": involved.get("apiVersion", f"{GROUP}/{VERSION}"),
            "kind": involved.get("kind", KIND),
            "name": name,
            "namespace": namespace,
            "uid": involved["metadata"]["uid"],
        },
        "reason": reason,
        "message": message[:MOST_MESSAGE],
        "type": kind,
        "source": {"component": COMPONENT},
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
