"""Why pods of a canary are not ready, in a sentence that the status keeps."""

from typing import Any

from predictor.controller.pod_problems import MOST_PROBLEM, problem_of
from tests.unit.controller.stories import play, rollout, service
from tests.unit.controller.world import World

Object = dict[str, Any]
FALSE = {"type": "CanaryPredictorReady", "status": "False", "reason": "CanariesNotReady"}
ISVC: Object = {"status": {"conditions": [FALSE]}}


def pod(phase: str = "Running", *containers: Object, init: Object | None = None) -> Object:
    status: Object = {"phase": phase, "containerStatuses": list(containers)}
    if init is not None:
        status["initContainerStatuses"] = [init]
    return {
        "kind": "Pod",
        "metadata": {"name": "m-v2-x", "labels": {"app": "isvc.minilm-v2-predictor"}},
        "status": status,
    }


def crashing(message: str = "ModelError: no such file") -> Object:
    ended = {"exitCode": 1, "reason": "Error", "message": message}
    return {
        "name": "kserve-container",
        "ready": False,
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": ended},
    }


def test_a_container_that_ends_again_and_again() -> None:
    assert problem_of([pod("Running", crashing())], ISVC) == (
        "pod m-v2-x is Running, kserve-container waits: CrashLoopBackOff, exit code 1 (Error), "
        "4 restarts; KServe: CanaryPredictorReady is False: CanariesNotReady; "
        "ModelError: no such file"
    )


def test_the_end_of_a_long_log_is_kept() -> None:
    text = problem_of([pod("Running", crashing("first\n" * 200 + "the last line"))], ISVC)
    assert len(text) <= MOST_PROBLEM
    assert text.endswith("first the last line")


def test_a_pod_that_no_node_takes() -> None:
    pending = pod("Pending")
    message = "0/1 nodes are available: 1 Insufficient cpu."
    pending["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    ]
    assert f"is Pending, Unschedulable: {message}" in problem_of([pending], ISVC)


def test_an_image_that_cannot_be_pulled() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "r/p:9"'}
    container = {"name": "kserve-container", "ready": False, "state": {"waiting": waiting}}
    text = problem_of([pod("Pending", container)], {})
    assert 'kserve-container waits: ImagePullBackOff, Back-off pulling image "r/p:9"' in text


def test_a_model_that_cannot_be_fetched() -> None:
    ended = {"exitCode": 1, "reason": "Error", "message": "404 s3://models/none"}
    init = {"name": "storage-initializer", "ready": False, "state": {"terminated": ended}}
    main = {
        "name": "kserve-container",
        "ready": False,
        "state": {"waiting": {"reason": "PodInitializing"}},
    }
    text = problem_of([pod("Pending", main, init=init)], {})
    assert "storage-initializer, exit code 1 (Error)" in text
    assert text.endswith("404 s3://models/none")


def test_the_worst_pod_is_told_and_ready_ones_are_not() -> None:
    fine = pod("Running")
    fine["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert "4 restarts" in problem_of([fine, pod("Pending"), pod("Running", crashing())], {})
    assert problem_of([fine], {}) == ""
    assert problem_of([], {}) == "there are no pods"


def test_why_a_canary_was_taken_back_stays_in_status_and_event() -> None:
    world = World(slow=None)
    world.put(service(minReplicas=1))
    world.put(rollout(limits={"progressDeadline": "60s"}))
    world.put(pod("Running", crashing()))
    state = play(world)
    assert (state.phase, state.reason) == ("Failed", "ProgressDeadlineExceeded")
    problem = "kserve-container waits: CrashLoopBackOff, exit code 1 (Error), 4 restarts"
    assert state.message.startswith("0 of 1 pods were ready within 60s: pod m-v2-x is Running")
    assert problem in state.message
    events = [item for (kind, _, _), item in world.objects.items() if kind == "Event"]
    assert problem in events[-1]["message"]
