"""Rollouts on the cluster: a model whose versions the project's own controller brings in."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.cluster import kit as kits
from tests.cluster.api import Api, Object, wait_for
from tests.cluster.conftest import NAMESPACE
from tests.cluster.load import Load
from tests.cluster.release import CONTROLLER, CONTROLLERS, Release

# Holds of seconds instead of minutes; everything else as it comes, but for the looks that follow
# each other as fast as this Prometheus scrapes. This node has two cores for all, and new pods
# are slow on it for seconds: only what is much slower counts.
ANALYSIS = {
    "interval": "3s",
    "minRequests": 100,
    "failures": 2,
    "slow": {"maxIncrease": 0.2},
}
STEPS = [{"weight": weight, "hold": "15s"} for weight in (10, 50, 100)]


def controlled(api: Api, namespace: str, folder: Path, values: Object, **changed: Any) -> Release:
    """A release that hands its versions to the controller."""
    rollout = {"mode": "controller", "steps": STEPS, "analysis": ANALYSIS}
    rollout |= changed.pop("rollout", {})
    return Release(api, "minilm", namespace, folder, values | {"rollout": rollout} | changed)


@contextlib.contextmanager
def answering(gateway: str, release: Release) -> Iterator[Release]:
    """Installed, ready, led by a controller, and known to Envoy; gone at the end."""
    release.upgrade()
    try:
        release.ready()
        wait_for("a controller", lambda: leader(release.api, CONTROLLERS), 120.0)
        with Load(gateway, release.host, "minilm") as load:
            wait_for("good answers", load.settled, 60.0)
        yield release
    finally:
        release.uninstall()


def set_target(release: Release, uri: str, name: str, image: Object | None = None) -> None:
    """Ask for another version by `helm upgrade`, as a person would."""
    rollout = release.values["rollout"] | {"target": {"name": name}}
    changed: Object = {"model": {"storageUri": uri}, "rollout": rollout}
    if image is not None:
        changed["image"] = release.values["image"] | image
    release.upgrade(**changed)


def kubectl(*words: str) -> str:
    """As a person would say it."""
    return kits.run(kits.TOOLS / "kubectl", "--namespace", NAMESPACE, *words)


def status(release: Release) -> Object:
    rollout = release.api.get("EmbeddingRollout", release.name, release.namespace)
    assert rollout is not None
    current: Object = rollout.get("status", {})
    return current


def ended(release: Release, target: str, timeout_s: float = 240.0) -> Object:
    """The status, once the rollout of this target has ended."""

    def is_over() -> bool:
        current = status(release)
        is_ours = current.get("target", "").split(" ")[0] == target
        return is_ours and current["phase"] in ("Succeeded", "Failed")

    try:
        wait_for(f"the end of {target}", is_over, timeout_s, 0.5)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{status(release)}\n{release.why()}") from error
    return status(release)


def shares(status: Object) -> list[int]:
    """The weights that the last target went through; the transitions have those before it too."""
    transitions = status["transitions"]
    started = max(n for n, item in enumerate(transitions) if item["phase"] == "Preparing")
    return [item["weight"] for item in transitions[started:]]


def seconds_between(first: Object, second: Object) -> float:
    """Of two transitions."""
    times = [datetime.fromisoformat(item["time"]) for item in (first, second)]
    return (times[1] - times[0]).total_seconds()


def leader(api: Api, namespace: str) -> str:
    """Name of the controller's pod that leads; empty while none does."""
    lease = api.get("Lease", CONTROLLER, namespace)
    return str((lease or {}).get("spec", {}).get("holderIdentity", "")).split("_")[0]


def events(release: Release) -> list[Object]:
    return [
        event
        for event in release.api.list("Event", release.namespace)
        if event["involvedObject"]["kind"] == "EmbeddingRollout"
    ]


# Appended to the server's model: what a bad build of it might do to some requests, or to all.
FAULTS = {
    "errors": """
import random

async def _call(self, *args, _inner=ServedModel.__call__, **named):
    if random.random() < 0.03:
        raise RuntimeError("a fault on purpose")
    return await _inner(self, *args, **named)

ServedModel.__call__ = _call
""",
    "slow": """
async def _call(self, *args, _inner=ServedModel.__call__, **named):
    result = await _inner(self, *args, **named)
    await asyncio.sleep(0.05)
    return result

ServedModel.__call__ = _call
""",
}


@contextlib.contextmanager
def faulty_image(kit: kits.Kit, kind: str, folder: Path) -> Iterator[Object]:
    """The project's image with one fault in it, known to the node; values for `image`."""
    name = f"{kits.REPOSITORY}:{kits.TAG}-{kind}"
    source = f"{kits.REPOSITORY}:{kits.TAG}"
    container = kits.run("buildah", "from", "--pull-never", source).strip()
    try:
        root = Path(kits.run("buildah", "mount", container).strip())
        (model,) = root.glob("opt/predictor/lib/python3*/site-packages/predictor/server/model.py")
        model.write_text(model.read_text() + FAULTS[kind])
        for compiled in model.parent.glob("__pycache__/model.*.pyc"):
            compiled.unlink()  # it is never checked against its source
        kits.run("buildah", "umount", container)
        kits.run("buildah", "commit", container, name)
        archive = folder / f"{kind}.tar"
        kits.run("buildah", "push", name, f"docker-archive:{archive}:{name}")
        kits.run(kit.script, "load", archive)
        archive.unlink()
        yield {"tag": f"{kits.TAG}-{kind}"}
    finally:
        kits.run("buildah", "rm", container)
