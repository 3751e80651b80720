"""From the state that a refused `helm rollback` leaves, the command in the refusal leads out.

With both of hack/tools.sh: after the refusal Helm 4 applies the whole object, Helm 3 sends the
difference between two manifests, of which the older one is not what is in the cluster.
"""

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer, Rejected
from tests.cluster.standin.routes import routes
from tests.cluster.standin.workload import predictor_name
from tests.deadlines import DEADLINE_S

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

V1, V2 = "pvc://models/minilm/1", "pvc://models/minilm/2"
CANARY = ("canary.name=v2", f"canary.storageUri={V2}", "canary.image.tag=0.2.0")
NO_CANARY = ("canary.name=", "canary.storageUri=", "canary.trafficPercent=0", "canary.image.tag=")
PROMOTED = ("predictor.name=v2", f"model.storageUri={V2}", "image.tag=0.2.0", *NO_CANARY)


@dataclass(frozen=True)
class Release:
    """Of the chart embedding-model, called emb, by one Helm."""

    program: Path
    server: ApiServer

    def helm(self, *arguments: str) -> None:
        """Raises helm.Refused."""
        done = subprocess.run(
            [str(self.program), *arguments], capture_output=True, text=True, timeout=DEADLINE_S,
            check=False, cwd=helm.ROOT, env={**os.environ, **self.server.environment},
        )  # fmt: skip
        if done.returncode:
            raise helm.Refused(done.stderr)

    def upgrade(self, *sets: str) -> None:
        chart = str(helm.CHARTS / helm.MODEL)
        flags = ("--install", "--reset-then-reuse-values", "-n", helm.NAMESPACE)
        self.helm("upgrade", "emb", chart, *flags, *helm.flags(sets, ()))

    def spec(self) -> Any:
        return self.server.get("inferenceservice", "emb")["spec"]

    def refused_rollback(self) -> str:
        """To the first revision; the command that the refusal names."""
        before = self.spec()
        with pytest.raises(helm.Refused) as refused:
            self.helm("rollback", "emb", "1", "-n", helm.NAMESPACE)
        assert self.spec() == before
        command = re.search(r"irst: helm (upgrade .*?); (with|then)", str(refused.value))
        assert command is not None, refused.value
        return command[1]


@pytest.fixture(params=["helm", "helm3"])
def release(policy: ApiServer, request: pytest.FixtureRequest) -> Iterator[Release]:
    program = helm.TOOLS / request.param
    if not program.is_file():
        pytest.skip(f"no {program.name}: hack/tools.sh fetches it")
    installed = Release(program, policy)
    yield installed
    installed.helm("uninstall", "emb", "-n", helm.NAMESPACE, "--ignore-not-found")


def with_canary(release: Release, *sets: str) -> None:
    release.upgrade(*helm.NEEDED[helm.MODEL], "predictor.name=v1", *sets)
    release.upgrade(*CANARY, "canary.trafficPercent=10")


def test_the_command_takes_the_canary_to_0(release: Release) -> None:
    with_canary(release)
    release.helm(*shlex.split(release.refused_rollback()))
    (canary,) = release.spec()["canary"]
    assert (canary["predictor"]["name"], canary["trafficPercent"]) == ("v2", 0)
    assert canary["predictor"]["model"]["storageUri"] == V2
    assert canary["predictor"]["model"]["image"].endswith(":0.2.0")
    release.helm("rollback", "emb", "1", "-n", helm.NAMESPACE)
    assert "canary" not in release.spec()
    assert release.spec()["predictor"]["model"]["storageUri"] == V1


def test_the_command_makes_a_canary_of_the_version_before(release: Release) -> None:
    with_canary(release)
    release.upgrade("canary.trafficPercent=100", "canary.allowSkippedStep=true")
    release.upgrade(*PROMOTED, "canary.allowSkippedStep=false")
    release.helm(*shlex.split(release.refused_rollback()))
    spec = release.spec()
    (canary,) = spec["canary"]
    assert (canary["predictor"]["name"], canary["trafficPercent"]) == ("v1", 0)
    assert canary["predictor"]["model"]["storageUri"] == V1
    assert canary["predictor"]["model"]["image"].endswith(":0.1.0")
    stable = spec["predictor"]
    assert (stable["name"], stable["model"]["storageUri"]) == ("v2", V2)
    assert stable["model"]["image"].endswith(":0.2.0")


def test_a_canary_after_a_promotion_is_taken_back_too(release: Release) -> None:
    """The rollback would change the stable predictor and remove the canary."""
    with_canary(release)
    release.upgrade("canary.trafficPercent=100", "canary.allowSkippedStep=true")
    release.upgrade(*PROMOTED, "canary.allowSkippedStep=false")
    release.upgrade("canary.name=v3", "canary.storageUri=pvc://m/3", "canary.trafficPercent=10")
    release.helm(*shlex.split(release.refused_rollback()))
    spec = release.spec()
    assert (spec["canary"][0]["predictor"]["name"], spec["canary"][0]["trafficPercent"]) == (
        "v3",
        0,
    )
    assert (spec["predictor"]["name"], spec["predictor"]["model"]["storageUri"]) == ("v2", V2)


def test_a_knative_canary_is_taken_back(release: Release) -> None:
    release.upgrade(*helm.NEEDED[helm.MODEL], "deploymentMode=Knative")
    release.upgrade(f"canary.storageUri={V2}", "canary.image.tag=0.2.0", "canary.trafficPercent=10")
    release.helm(*shlex.split(release.refused_rollback()))
    predictor = release.spec()["predictor"]
    assert (predictor["canaryTrafficPercent"], predictor["model"]["storageUri"]) == (0, V2)
    release.upgrade(f"canary.storageUri={V1}", "canary.image.tag=")
    predictor = release.spec()["predictor"]
    assert (predictor["canaryTrafficPercent"], predictor["model"]["storageUri"]) == (0, V1)
    assert predictor["model"]["image"].endswith(":0.1.0")
    release.upgrade("canary.storageUri=")
    assert "canaryTrafficPercent" not in release.spec()["predictor"]


@pytest.fixture
def gateway(policy: ApiServer) -> Iterator[None]:
    """Does for the route what KServe and a gateway do, so that the script sees its steps taken."""
    stopping = threading.Event()
    thread = threading.Thread(target=keep_route, args=(policy, stopping), name="gateway")
    thread.start()
    yield
    stopping.set()
    thread.join(DEADLINE_S)
    policy.kubectl("delete", "httproute", "emb", "-n", helm.NAMESPACE, "--ignore-not-found")


def keep_route(server: ApiServer, stopping: threading.Event) -> None:
    while not stopping.wait(0.3):
        try:
            isvc = server.get("inferenceservice", "emb")
        except Rejected:
            continue  # not installed
        names = {entry["predictor"]["name"] for entry in isvc["spec"].get("canary", [])}
        stable = predictor_name("emb", isvc["spec"]["predictor"].get("name", ""))
        ports = [{"name": "http", "port": 80}]
        service = {"metadata": {"name": stable}, "spec": {"ports": ports}}
        route = routes(isvc, service, names)[-1]
        route["metadata"].pop("annotations")
        server.apply([route])
        generation = server.get("httproute", "emb")["metadata"]["generation"]
        condition = {
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        gateway = {"name": "kserve-ingress-gateway"}
        parent = {
            "controllerName": "example.com/g",
            "parentRef": gateway,
            "conditions": [condition],
        }
        server.set_status("httproute", "emb", {"parents": [parent]})


def test_the_script_takes_the_canary_back(release: Release, gateway: None, tmp_path: Path) -> None:
    with_canary(release)
    release.refused_rollback()
    (tmp_path / "helm").symlink_to(release.program)
    done = subprocess.run(
        [str(helm.ROOT / "hack/rollout.sh"), "rollback", "emb", "-n", helm.NAMESPACE,
         "--settle", "0", "--timeout", "60"],
        capture_output=True, text=True, timeout=2 * DEADLINE_S, check=False,
        env={
            **os.environ, **release.server.environment,
            "PATH": f"{tmp_path}:{helm.TOOLS}:{os.environ['PATH']}",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "canary" not in release.spec()
    assert release.spec()["predictor"]["name"] == "v1"
    release.helm("rollback", "emb", "1", "-n", helm.NAMESPACE)
