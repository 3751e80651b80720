"""The status that the controller writes, on a real API server: kubectl waits for its conditions."""

import copy
import json
import subprocess
from collections.abc import Iterator
from typing import Any, cast

import pytest
from kubernetes import client, config

from predictor.controller.cluster import Cluster
from predictor.controller.observe import Analyzer
from predictor.controller.reconciler import RolloutReconciler
from predictor.rollout.state import State
from predictor.rollout.status import read_state
from tests.charts import helm
from tests.charts.api_server import ApiServer, Rejected
from tests.charts.test_rollout_admission import GOOD, KIND, NAME
from tests.unit.controller.stories import ScriptedAnalyzer
from tests.unit.rollout.test_status import OLD_FORM

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

V1 = "pvc://models/minilm/1"
V2 = GOOD["spec"]["target"]["storageUri"]
SERVICE: helm.Object = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {
        "name": NAME,
        "namespace": helm.NAMESPACE,
        "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
    },
    "spec": {
        "predictor": {
            "minReplicas": 1,
            "model": {"modelFormat": {"name": "onnx"}, "name": "", "storageUri": V1},
        }
    },
}


class Served:
    """An InferenceService and its rollout on the API server, and the controller that reads them."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        configuration = client.Configuration()
        config.load_kube_config(str(server.kubeconfig), client_configuration=configuration)
        self.reconciler = RolloutReconciler(
            Cluster(client.ApiClient(configuration)),
            cast(Analyzer, ScriptedAnalyzer()),
            may_act=lambda: True,
            namespace=helm.NAMESPACE,
        )

    def reconcile(self) -> State:
        self.reconciler.reconcile()
        return read_state(self.rollout())

    def rollout(self) -> Any:
        return self.server.get(KIND, NAME)

    def change_service(self, spec: helm.Object) -> None:
        self.server.kubectl(
            "patch", "inferenceservice", NAME, "-n", helm.NAMESPACE, "--type=merge",
            "-p", json.dumps({"spec": spec}),
        )  # fmt: skip

    def wait(self, condition: str, timeout: str) -> str:
        """The command of the documentation. Raises Rejected when the time is over."""
        return self.server.kubectl(
            "wait", f"--for=condition={condition}", f"er/{NAME}", "-n", helm.NAMESPACE,
            f"--timeout={timeout}",
        )  # fmt: skip


@pytest.fixture
def served(api_server: ApiServer) -> Iterator[Served]:
    api_server.apply([SERVICE, GOOD])
    yield Served(api_server)
    api_server.delete([GOOD, SERVICE])


def promoted() -> helm.Object:
    """The specification of the service once the target is stable."""
    model = SERVICE["spec"]["predictor"]["model"] | {"storageUri": V2}
    return {"predictor": {"model": model}, "canary": None}


def test_kubectl_waits_for_a_promotion(served: Served) -> None:
    assert served.reconcile().phase == "Preparing"
    with pytest.raises(Rejected, match="timed out"):
        served.wait("Promoted", "1s")
    waiting = subprocess.Popen(
        [
            str(helm.TOOLS / "kubectl"), "--kubeconfig", str(served.server.kubeconfig), "wait",
            "--for=condition=Promoted", f"er/{NAME}", "-n", helm.NAMESPACE, "--timeout=120s",
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        served.change_service(promoted())
        state = served.reconcile()
        assert (state.phase, state.reason) == ("Succeeded", "PromotedExternally")
        out, _ = waiting.communicate(timeout=60.0)
    finally:
        waiting.kill()
    assert waiting.returncode == 0
    assert "condition met" in out


def test_kubectl_waits_for_a_failure(served: Served) -> None:
    served.reconcile()
    command = "predictor.dev/action=abort"
    served.server.kubectl("annotate", "er", NAME, "-n", helm.NAMESPACE, command)
    assert served.reconcile().phase == "RollingBack"
    served.wait("Degraded", "5s")
    served.change_service({"canary": None})
    state = served.reconcile()
    assert (state.phase, state.reason) == ("Failed", "Aborted")
    assert "condition met" in served.wait("Promoted=False", "5s")


def test_conditions_follow_the_conventions_of_the_api(served: Served) -> None:
    served.reconcile()
    resource = served.rollout()
    conditions = {item["type"]: item for item in resource["status"]["conditions"]}
    assert conditions["Progressing"]["status"] == "True"
    assert conditions["Progressing"]["reason"] == "CanaryStarting"
    generation = resource["metadata"]["generation"]
    assert {item["observedGeneration"] for item in conditions.values()} == {generation}
    paused = json.dumps({"spec": {"paused": True}})
    served.server.kubectl("patch", "er", NAME, "-n", helm.NAMESPACE, "--type=merge", "-p", paused)
    served.reconcile()
    again = served.rollout()["status"]
    assert again["observedGeneration"] == generation + 1
    for item in again["conditions"]:
        before = conditions[item["type"]]
        assert item["observedGeneration"] == generation + 1
        if item["status"] == before["status"]:
            assert item["lastTransitionTime"] == before["lastTransitionTime"]


def test_a_list_of_conditions_is_a_map_by_type(served: Served) -> None:
    """Two appliers of different conditions do not remove each other's."""
    served.reconcile()
    status = served.rollout()["status"]
    doubled = [*status["conditions"], status["conditions"][0]]
    with pytest.raises(Rejected, match="Duplicate value"):
        served.server.set_status(KIND, NAME, {"conditions": doubled})


def test_a_status_of_the_old_form_is_discarded(served: Served) -> None:
    """The rollout goes on from the canary that the InferenceService has, at its weight."""
    entry = {
        "trafficPercent": 10,
        "predictor": {
            "name": "v2",
            "minReplicas": 1,
            "model": SERVICE["spec"]["predictor"]["model"] | {"storageUri": V2},
        },
    }
    served.change_service({"canary": [entry]})
    old = {
        key: value
        for key, value in copy.deepcopy(OLD_FORM).items()
        # The API server refuses these; an object that was stored before is not read again by it.
        if key not in ("reason", "history")
    }
    served.server.set_status(KIND, NAME, old)
    state = served.reconcile()
    assert (state.phase, state.reason) == ("Progressing", "CanaryAdopted")
    assert (state.step, state.weight) == (1, 10)
    service = served.server.get("inferenceservice", NAME)
    assert service["spec"]["canary"] == [entry]
    assert not {"arrived", "looked", "history", "since"} & served.rollout()["status"].keys()
