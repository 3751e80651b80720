"""A real API server with the CRDs that the charts use, and nothing that acts upon what is created.

The script `kit` starts it, which is not part of this repository: KIT names it, else it is looked
for at ../shared/cluster/kit. Its folder and ports are its own: a node that is up stays as it is.
API_SERVER_DIR and API_SERVER_PORT name others (four ports from there on), so that two runs on one
machine do not share a server.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.charts import helm

STATE = Path(os.environ.get("API_SERVER_DIR", "/tmp/kit-charts"))
PORT = os.environ.get("API_SERVER_PORT", "17443")
OUR_CRD = helm.CHARTS / "embedding-runtime/files/crds/embeddingrollouts.yaml"
START_S, COMMAND_S, SETTLE_S = 180.0, 60.0, 30.0


class Rejected(Exception):
    """The API server refused; the text is what kubectl wrote."""


def kit() -> Path:
    return Path(os.environ.get("KIT", helm.ROOT.parent / "shared/cluster/kit"))


def why_not() -> str:
    """Why there can be no API server here, in one line; empty if there can."""
    if not os.access(kit(), os.X_OK):
        return "no API server: KIT does not name the kit script, nor is it ../shared/cluster/kit"
    return ""


def run_kit(*arguments: str) -> None:
    """Raises RuntimeError with what the kit said last."""
    # A session of its own: an interrupted test run does not take the processes with it.
    done = subprocess.run(
        ["setsid", "--wait", str(kit()), *arguments], capture_output=True, text=True,
        timeout=START_S, check=False, env={**os.environ, "KIT_DIR": str(STATE), "KIT_PORT": PORT},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"kit {' '.join(arguments)}: {done.stderr[-2000:]}")


@dataclass(frozen=True)
class ApiServer:
    kubeconfig: Path = STATE / "conf/admin.kubeconfig"

    @property
    def environment(self) -> Mapping[str, str]:
        return {"KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output. Raises Rejected."""
        done = subprocess.run(
            [str(helm.TOOLS / "kubectl"), "--request-timeout=30s", *arguments], input=stdin,
            capture_output=True, text=True, timeout=COMMAND_S, check=False,
            env={**os.environ, **self.environment},
        )  # fmt: skip
        if done.returncode:
            raise Rejected(done.stderr)
        return done.stdout

    def apply(self, objects: list[helm.Object], *flags: str) -> None:
        """All objects at once, strictly. Raises Rejected."""
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "--validate=strict", *flags, "-f", "-", stdin=json.dumps(listed))

    def delete(self, objects: list[helm.Object]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl(
            "delete", "--ignore-not-found", "--timeout=30s", "--grace-period=0", "--force",
            "-f", "-", stdin=json.dumps(listed),
        )  # fmt: skip

    def get(self, kind: str, name: str, namespace: str = helm.NAMESPACE) -> Any:
        return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))

    def set_status(
        self, kind: str, name: str, status: Any, namespace: str = helm.NAMESPACE
    ) -> None:
        self.kubectl(
            "patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": status}),
        )  # fmt: skip

    def settle(self, what: str, reached: Callable[[], bool]) -> None:
        """Ask until it is so. Raises TimeoutError after 30 s."""
        deadline = time.monotonic() + SETTLE_S
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.2)


def start() -> ApiServer:
    """Start it, with the namespaces that ci files name."""
    server = ApiServer()
    try:
        run_kit("up", "api")
        for name in (helm.NAMESPACE, "monitoring"):
            server.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
        server.kubectl("apply", "--server-side", "-f", str(OUR_CRD))
        server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(OUR_CRD))
        # Made by a controller: nothing that has pods is admitted before.
        server.settle("no ServiceAccount default", lambda: has_account(server))
    except BaseException:
        stop()
        raise
    return server


def has_account(server: ApiServer) -> bool:
    try:
        return bool(server.get("serviceaccount", "default"))
    except Rejected:
        return False


def stop() -> None:
    run_kit("down")
