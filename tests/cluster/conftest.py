"""One node for the session, with the image, the models, KServe's stand-in and the runtime."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts import helm
from tests.cluster import kit as kits
from tests.cluster import release
from tests.cluster.api import Api, connected
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
def models(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle as versions 1, 2 and 3 in folders v1, v2, v3: answers tell who gave them."""
    folder = tmp_path_factory.mktemp("volume")
    for number in ("1", "2", "3"):
        shutil.copytree(bundle_dir, folder / f"v{number}" / number)
    for path in (folder, *folder.rglob("*")):  # the pod's user is nobody that this machine knows
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


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
    release.install_runtime(tmp_path_factory.mktemp("runtime"))
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


@pytest.fixture(scope="module")
def model(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A model `minilm`, installed and ready; what a module does with it is undone at its end."""
    installed = Release(
        cluster, "minilm", NAMESPACE, tmp_path_factory.mktemp("release"),
        {
            "image": {"repository": kits.REPOSITORY, "tag": kits.TAG},
            "model": {"storageUri": f"pvc://{release.CLAIM}/v1"},
            "resources": release.RESOURCES,
            "serviceMonitor": {"enabled": True, "interval": "2s", "scrapeTimeout": "2s"},
            "gateway": {"enabled": True},
            # The file does not change, so a start that takes longer than this is a fault.
            "probes": {"startup": {"periodSeconds": 1, "failureThreshold": 60}},
        },
    )  # fmt: skip
    installed.upgrade()
    try:
        installed.ready()
        yield installed
    finally:
        installed.uninstall()
