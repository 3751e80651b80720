"""One node for the session, with the image, the models, KServe's stand-in and the runtime."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from predictor.bundle.source import read_source
from predictor.export.convert import convert_cached
from predictor.types import Pooling
from tests.charts import helm
from tests.cluster import kit as kits
from tests.cluster import release
from tests.cluster.api import Api, Object, connected
from tests.cluster.prometheus import URL as PROMETHEUS
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release
from tests.cluster.standin.controller import Controller

NAMESPACE = "demo"


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kits.Kit]:
    """A node that has the image; where there can be none, what needs it is skipped and says why."""
    if reason := kits.why_not() or helm.why_no_helm():
        pytest.skip(reason)
    running = kits.start()
    try:
        kits.load_image(running, tmp_path_factory.mktemp("image"))
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def api(kit: kits.Kit) -> Iterator[Api]:
    with connected(kits.KUBECONFIG) as client:
        yield client


@pytest.fixture(scope="session")
def models(
    bundle_dir: Path, model_dir: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same bundle as versions 1 to 5 in folders v1 to v5: answers tell who gave them.

    And two that are not the same: `cls`, which pools the first token instead of the mean, and
    `coarse`, whose weights have 6 bits left. Both are whole, and right by their own vectors.
    """
    folder = tmp_path_factory.mktemp("volume")
    for number in ("1", "2", "3", "4", "5"):
        shutil.copytree(bundle_dir, folder / f"v{number}" / number)
    cls = convert_cached(read_source(model_dir, Pooling.CLS), cache_dir, threads=2)
    shutil.copytree(cls, folder / "cls/6")
    coarse = convert_cached(read_source(coarsened(model_dir, folder.parent)), cache_dir, threads=2)
    shutil.copytree(coarse, folder / "coarse/7")
    for path in (folder, *folder.rglob("*")):  # the pod's user is nobody that this machine knows
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def coarsened(model_dir: Path, folder: Path) -> Path:
    """The model with every matrix rounded to 63 steps: quantisation gone wrong."""
    copy = shutil.copytree(model_dir, folder / "coarse-source", copy_function=os.link)
    weights = load_file(copy / "model.safetensors")
    for name, tensor in weights.items():
        if tensor.ndim == 2 and tensor.dtype == np.float32:
            step = np.abs(tensor).max() / 31
            weights[name] = (np.rint(tensor / step) * step).astype(np.float32)
    (copy / "model.safetensors").unlink()  # a link to the right one
    save_file(weights, copy / "model.safetensors")
    return copy


@pytest.fixture(scope="session")
def kserve(api: Api) -> Iterator[None]:
    """The stand-in for KServe's controller, in a thread with a connection of its own."""
    with connected(kits.KUBECONFIG) as client:
        controller = Controller(client)
        controller.start()
        yield
        controller.stop()


@pytest.fixture(scope="session")
def cluster(
    api: Api, kserve: None, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """Everything a model is installed on."""
    release.claim(api, NAMESPACE, models)
    release.install_runtime(api, tmp_path_factory.mktemp("runtime"), PROMETHEUS)
    yield api
    release.uninstall_runtime()
    release.unclaim(api, NAMESPACE)


@pytest.fixture(scope="session")
def gateway(cluster: Api) -> str:
    return kits.gateway_address(cluster)


@pytest.fixture(scope="session")
def prometheus(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It scrapes what ServiceMonitors say and evaluates the rules."""
    running = Prometheus(cluster, tmp_path_factory.mktemp("prometheus"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def model_values() -> Object:
    """Of a model on this cluster."""
    return {
        "image": {"repository": kits.REPOSITORY, "tag": kits.TAG},
        "model": {"storageUri": f"pvc://{release.CLAIM}/v1"},
        "resources": release.RESOURCES,
        "serviceMonitor": {"enabled": True, "interval": "2s", "scrapeTimeout": "2s"},
        "gateway": {"enabled": True},
        # The file does not change, so a start that takes longer than this is a fault.
        "probes": {"startup": {"periodSeconds": 1, "failureThreshold": 60}},
    }


@pytest.fixture(scope="module")
def model(
    cluster: Api, model_values: Object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """A model `minilm`, installed and ready; what a module does with it is undone at its end."""
    folder = tmp_path_factory.mktemp("release")
    installed = Release(cluster, "minilm", NAMESPACE, folder, model_values)
    installed.upgrade()
    try:
        installed.ready()
        yield installed
    finally:
        installed.uninstall()
