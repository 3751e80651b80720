"""`hack/cluster.sh install` on a cluster of the caller's: a real API server without nodes.

No controller acts there, so the test makes the pod, and says what KServe would say.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import yaml

from tests.charts import helm
from tests.charts.api_server import ApiServer
from tests.deadlines import DEADLINE_S

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAMESPACE = "script"
POD: helm.Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "minilm-predictor-1",
        "namespace": NAMESPACE,
        "labels": {"serving.kserve.io/inferenceservice": "minilm"},
    },
    "spec": {
        "containers": [{"name": "kserve-container", "image": "registry.example.com/predictor"}]
    },
}
REASON = "0/1 nodes are available: 1 Insufficient cpu."
UNSCHEDULABLE = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": REASON,
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster(api_server: ApiServer) -> Iterator[ApiServer]:
    """A namespace with a pod that no node has room for."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    api_server.apply([namespace])
    api_server.kubectl(
        "wait", "--for=create", "--timeout=30s", "-n", NAMESPACE, "serviceaccount/default"
    )
    api_server.apply([POD])
    api_server.set_status("pod", "minilm-predictor-1", {"conditions": [UNSCHEDULABLE]}, NAMESPACE)
    yield api_server
    api_server.delete([POD, namespace])


@pytest.fixture
def script_environment(cluster: ApiServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two files of values, named as from the folder of the caller."""
    values = {
        "runtime": {"scope": "Namespace", "image": {"pullPolicy": "Never"}},
        "model": {"resources": {"requests": {"cpu": "7"}}, "autoscaling": {"mode": "none"}},
    }
    for name, content in values.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    environment = {
        **os.environ,
        **cluster.environment,
        "NAMESPACE": NAMESPACE,
        "IMAGE": "registry.example.com/predictor:0.1.0",
        "MODEL_URI": "pvc://models/minilm/1",
        "RUNTIME_VALUES": "runtime.yaml",
        "MODEL_VALUES": "model.yaml",
        "PREDICTOR_PYTHON": sys.executable,
    }
    yield environment
    subprocess.run(
        [helm.ROOT / "hack/cluster.sh", "down"], env=environment, cwd=tmp_path, check=True,
        capture_output=True, timeout=DEADLINE_S,
    )  # fmt: skip


def start(environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [helm.ROOT / "hack/cluster.sh", "install"], env=environment, cwd=folder, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def until(errors: IO[str], words: str) -> list[str]:
    """The lines up to the first one that has the words."""
    lines: list[str] = []
    for line in errors:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def test_a_model_that_is_not_ready_in_time_ends_with_what_its_pods_wait_for(
    script_environment: dict[str, str], cluster: ApiServer, tmp_path: Path
) -> None:
    process = start(script_environment | {"WAIT_SECONDS": "30"}, tmp_path)
    _, errors = process.communicate(timeout=2 * DEADLINE_S)
    assert process.returncode != 0
    room, _, rest = errors.partition("== installing the charts")
    assert "minilm wants 1 x (cpu 7, memory 1024Mi)\nthey do not fit: there is room for 0" in room
    assert "set `resources` in MODEL_VALUES, or make room" in room
    while_waiting, _, last = rest.partition("== not ready:")
    line = f"minilm-predictor-1: Unschedulable: {REASON}"
    assert line in while_waiting
    assert last.strip() == line
    predictor = cluster.get("inferenceservice", "minilm", NAMESPACE)["spec"]["predictor"]
    assert predictor["model"]["resources"]["requests"]["cpu"] == "7"
    runtime = cluster.get("servingruntime", "embedding-cpu", NAMESPACE)
    assert runtime["spec"]["containers"][0]["imagePullPolicy"] == "Never"


def test_it_ends_when_the_model_is_ready(
    script_environment: dict[str, str], cluster: ApiServer, tmp_path: Path
) -> None:
    process = start(script_environment, tmp_path)
    assert process.stderr is not None
    with process.stderr as errors:
        until(errors, "waiting for the model")
        until(errors, REASON)
        until(errors, REASON)
        service = cluster.get("inferenceservice", "minilm", NAMESPACE)
        ready = {"type": "Ready", "status": "True"}
        status = {"conditions": [ready], "observedGeneration": service["metadata"]["generation"]}
        cluster.set_status("inferenceservice", "minilm", status, NAMESPACE)
        rest = errors.read()
    assert process.wait(DEADLINE_S) == 0
    assert "not ready" not in rest


def test_a_file_that_is_not_there_is_said_before_anything_is_done(tmp_path: Path) -> None:
    environment = {**os.environ, "KUBECONFIG": "/nonexistent", "MODEL_VALUES": "typo.yaml"}
    process = start(environment, tmp_path)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert f"cannot read {tmp_path}/typo.yaml" in errors
