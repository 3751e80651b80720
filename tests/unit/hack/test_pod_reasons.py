"""What pods wait for, in the words of Kubernetes."""

import io
import json
from typing import Any

import pytest

from tests.scripts import load

Object = dict[str, Any]
script = load("pod_reasons")

UNSCHEDULABLE = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient cpu.",
}  # fmt: skip


def pod(**status: Any) -> Object:
    return {"metadata": {"name": "minilm-predictor-1"}, "status": status}


def container(name: str = "kserve-container", **fields: Any) -> Object:
    return {"name": name, "restartCount": 0, **fields}


WAITING = container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
RUNNING = container(state={"running": {}}, ready=False)
CRASHED = container(
    state={"waiting": {"reason": "CrashLoopBackOff"}},
    lastState={"terminated": {"exitCode": 2, "reason": "Error"}}, restartCount=4,
)  # fmt: skip
FETCH = container("storage-initializer", state={"terminated": {"exitCode": 1, "reason": "Error"}})
DONE = container("storage-initializer", state={"terminated": {"exitCode": 0}}, ready=True)


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        (
            pod(conditions=[UNSCHEDULABLE]),
            "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (pod(containerStatuses=[WAITING]), "kserve-container: ImagePullBackOff: no such image"),
        (
            pod(containerStatuses=[CRASHED]),
            "kserve-container: CrashLoopBackOff; kserve-container ended with 2 (Error), 4 restarts",
        ),
        (
            pod(initContainerStatuses=[FETCH]),
            "storage-initializer ended with 1 (Error), 0 restarts",
        ),
        (
            pod(initContainerStatuses=[DONE], containerStatuses=[RUNNING]),
            "kserve-container runs and is not ready",
        ),
        (pod(reason="Evicted", message="The node was low on memory."), "Evicted: The node was low"),
        (pod(), "not ready"),
    ],
)
def test_a_pod_says_what_it_waits_for(waiting: Object, reason: str) -> None:
    (line,) = script.waiting([waiting])
    assert line.startswith(f"minilm-predictor-1: {reason}")


def test_a_pod_that_is_being_stopped_says_so() -> None:
    stopping = pod(containerStatuses=[RUNNING])
    stopping["metadata"]["deletionTimestamp"] = "2026-11-30T12:00:00Z"
    assert "is being stopped" in script.waiting([stopping])[0]


def test_ready_pods_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = pod(conditions=[{"type": "Ready", "status": "True"}])
    pods = {"items": [ready, pod(containerStatuses=[WAITING])]}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(pods)))
    assert script.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
