"""Status and Events of a rollout: what people read."""

import logging
from datetime import UTC, datetime
from typing import Any

from predictor.controller import metrics
from predictor.controller.cluster import Cluster, ClusterError, Object
from predictor.rollout.spec import GROUP, KIND, VERSION
from predictor.rollout.state import Move, State, status_of

logger = logging.getLogger(__name__)

COMPONENT = "predictor-rollout"
WARNINGS = frozenset({"RollingBack", "Failed", "Paused", "Pending"})


def write_status(cluster: Cluster, resource: Object, state: State) -> Object:
    """Replace the status, and return the resource as it is then.

    Raises:
        Conflict: the resource has changed since it was read.
        ClusterError: it could not be written.
    """
    own = resource["metadata"]
    generation = own.get("generation", 0)
    patch = {
        "metadata": {"resourceVersion": own["resourceVersion"]},
        "status": _whole(resource.get("status", {}), status_of(state, generation)),
    }
    return cluster.patch(KIND, own["namespace"], own["name"], patch, "status")


def _whole(old: Object, new: Object) -> Object:
    """A merge patch that leaves nothing of the old status but what is new."""
    return dict.fromkeys(old.keys() - new.keys()) | new


def tell(cluster: Cluster, resource: Object, before: State, after: State) -> None:
    """One Event, log line and count for each new move; an Event that is lost is no harm."""
    own = resource["metadata"]
    for move in _new(before, after):
        logger.info(
            "%s/%s: %s, weight %d: %s",
            *(own["namespace"], own["name"], move.phase, move.weight, move.reason),
        )
        metrics.MOVES.labels(own["namespace"], own["name"], move.phase).inc()
        try:
            cluster.create("Event", own["namespace"], event(resource, move))
        except ClusterError as error:
            logger.warning("an event was not written: %s", error)


def _new(before: State, after: State) -> list[Move]:
    known = set(before.history)
    return [move for move in after.history if move not in known]


def event(resource: Object, move: Move) -> Object:
    """For `kubectl describe`, on the rollout."""
    own = resource["metadata"]
    at = datetime.fromtimestamp(move.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    involved: dict[str, Any] = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": own["name"],
        "namespace": own["namespace"],
        "uid": own["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{own['name'][:200]}.", "namespace": own["namespace"]},
        "involvedObject": involved,
        "reason": move.phase,
        "message": f"weight {move.weight}: {move.reason}"[:1000],
        "type": "Warning" if move.phase in WARNINGS else "Normal",
        "source": {"component": COMPONENT},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
