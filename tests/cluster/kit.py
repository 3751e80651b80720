"""The test cluster: a real Kubernetes that one script starts and stops, and the image in it.

The script is `kit`, which is not part of this repository: KIT names it, else it is looked for at
../shared/cluster/kit. Without it the tests that need it are skipped.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api import Api

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".cache/tools"
STATE = Path(os.environ.get("KIT_DIR", "/tmp/kit-cluster"))
KUBECONFIG = STATE / "conf/admin.kubeconfig"
# A process of each add-on; there as long as the add-on is.
ADD_ONS = {
    "gateway": "envoy-gateway",
    "prometheus": "prometheus-operator",
    "keda": "keda-operator",
}
REPOSITORY, TAG = "localhost/predictor", "cluster"


def find() -> Path | None:
    named = Path(os.environ.get("KIT", ROOT.parent / "shared/cluster/kit"))
    return named if os.access(named, os.X_OK) else None


def why_not() -> str | None:
    """Why no node with our image can be had here, in one line; None if it can."""
    if find() is None:
        return "no test cluster: KIT does not name the kit script, nor is it ../shared/cluster/kit"
    if os.geteuid() != 0:
        return "a test cluster's node needs root"
    if shutil.which("buildah") is None:
        return "no buildah to build the image with (Debian: apt-get install buildah debootstrap)"
    return None


def run(*command: str | Path, timeout_s: float = 600.0, cwd: Path = ROOT) -> str:
    """Standard output of a command.

    Raises:
        RuntimeError: it failed; with what it said last.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=cwd,
        env=os.environ | {"KUBECONFIG": str(KUBECONFIG)},
    )  # fmt: skip
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)[:300]
        raise RuntimeError(
            f"{words}: exit {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout


@dataclass(frozen=True)
class Kit:
    """A node that runs, with its add-ons; `mine`: started here, so it is stopped here."""

    script: Path
    mine: bool

    def stop(self) -> None:
        if self.mine:
            run(self.script, "down")


def start() -> Kit:
    """A node with all add-ons. One that is up already is used as it is and left up."""
    script = find()
    assert script is not None
    mine = not is_up(script)
    # A session, so that an interrupted test run does not take the node's processes with it.
    run("setsid", "--wait", script, "up", "node")
    running = Kit(script, mine)
    try:
        state = status(script)
        missing = [name for name, process in ADD_ONS.items() if f"{process} runs" not in state]
        if missing:
            run("setsid", "--wait", script, "add", *missing)
    except BaseException:
        running.stop()
        raise
    return running


def status(script: Path) -> str:
    done = subprocess.run([script, "status"], capture_output=True, text=True, check=False)
    return done.stderr


def is_up(script: Path) -> bool:
    return "level node" in status(script)


def load_image(kit: Kit, folder: Path) -> float:
    """Build the image out of the Dockerfile and make it known to the node; the seconds it took."""
    started = time.monotonic()
    base = run(kit.script, "base").strip()
    name = f"{REPOSITORY}:{TAG}"
    run(ROOT / "hack/image.sh", "--base", base, "--tag", name, timeout_s=1200.0)
    archive = folder / "image.tar"
    run("buildah", "push", name, f"docker-archive:{archive}:{name}")
    run(kit.script, "load", archive)
    archive.unlink()
    return time.monotonic() - started


def gateway_address(api: Api) -> str:
    """Of Envoy; reachable from this machine, as every address of a service is."""
    labels = "gateway.envoyproxy.io/owning-gateway-name=kserve-ingress-gateway"
    (service,) = api.list("Service", "envoy-gateway-system", labels)
    return str(service["spec"]["clusterIP"])


def service_address(api: Api, name: str, namespace: str) -> str:
    service = api.get("Service", name, namespace)
    assert service is not None, f"no Service {namespace}/{name}"
    return str(service["spec"]["clusterIP"])
