"""Alerts fire in a real Prometheus when the thing they are about is really broken, and end after.

Nothing is changed about the rules but how long they wait: windows and thresholds are the chart's.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster import kit as kits
from tests.cluster import release
from tests.cluster.api import Api, wait_for
from tests.cluster.conftest import NAMESPACE
from tests.cluster.load import Load
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import CHARTS, RUNTIME, Release, helm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NAME = "alerts"
DEPLOYMENT = f"{NAME}-predictor"
BROKEN = ("errorsFast", "latencyFast", "vectors", "failed")
# Scrapes every 2 s, evaluations every 5 s, and a record before the alert.
FIRES_S, ENDS_S = 120.0, 90.0
# Of days the rates and budgets are made every two minutes.
OF_DAYS_S = 150.0
# The canonical texts every 2 s instead of 5 min.
WATCHED = "--canonical-interval-s=2"


@pytest.fixture(scope="module", autouse=True)
def impatient(cluster: Api) -> Iterator[None]:
    """The same rules without the minutes that they wait."""
    sets = ",".join(f"rules.{name}.for=1s" for name in BROKEN)
    helm(
        "upgrade", RUNTIME, CHARTS / "embedding-runtime", "--namespace", "predictor",
        "--reset-then-reuse-values", "--set", sets,
    )  # fmt: skip
    yield
    helm("rollback", RUNTIME, "--namespace", "predictor")


@pytest.fixture(scope="module")
def repository(models: Path) -> Path:
    """The folder that the pod serves, with version 1; this machine's, so it can be damaged."""
    folder = models / NAME
    shutil.copytree(models / "v1" / "1", folder / "1")
    readable(folder)
    return folder


def readable(folder: Path) -> None:
    """By the pod's user, whom this machine does not know."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture(scope="module")
def served(
    cluster: Api, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """A model of its own: what is done to it is not undone for others."""
    made = Release(
        cluster, NAME, NAMESPACE, tmp_path_factory.mktemp("alerts"),
        {
            "image": {"repository": kits.REPOSITORY, "tag": kits.TAG},
            "model": {"storageUri": f"pvc://{release.CLAIM}/{repository.name}"},
            "resources": release.RESOURCES,
            "serviceMonitor": {"enabled": True, "interval": "2s", "scrapeTimeout": "2s"},
            "extraArgs": [WATCHED],
            "probes": {"startup": {"periodSeconds": 1, "failureThreshold": 60}},
        },
    )  # fmt: skip
    made.upgrade()
    try:
        made.ready()
        yield made
    finally:
        made.uninstall()


def restart(served: Release, *flags: str) -> None:
    """New pods with these flags, and the old ones gone."""
    labels = f"app=isvc.{DEPLOYMENT}"

    def pods() -> set[str]:
        """Those that are ending too: they still get requests, and refuse them."""
        items = served.api.list("Pod", served.namespace, labels)
        return {pod["metadata"]["name"] for pod in items}

    before = pods()
    served.upgrade(extraArgs=[WATCHED, *flags])

    def replaced() -> bool:
        return bool(served.ready_pods(DEPLOYMENT)) and not before & pods()

    wait_for("new pods", replaced, 180.0, 0.5)


def load_on(served: Release, **shape: Any) -> Load:
    """Straight at the Service: no gateway that asks again."""
    address = kits.service_address(served.api, DEPLOYMENT, served.namespace)
    return Load(address, address, NAME, unique=True, **shape)


def firing(prometheus: Prometheus) -> set[str]:
    """Names of the alerts of this deployment."""
    labels = f'namespace="{NAMESPACE}", deployment="{DEPLOYMENT}", alertstate="firing"'
    alerts = prometheus.query(f"ALERTS{{{labels}}}")
    return {alert["metric"]["alertname"] for alert in alerts}


def value(prometheus: Prometheus, record: str) -> float | None:
    samples = prometheus.query(
        f'namespace_deployment:predictor_{record}{{deployment="{DEPLOYMENT}"}}'
    )
    return float(samples[0]["value"][1]) if samples else None


def summary(prometheus: Prometheus, name: str) -> str:
    """As a person is told, by Prometheus' own templates."""
    (rule,) = (rule for rule in prometheus.rules() if rule["name"] == name)
    (alert,) = (a for a in rule["alerts"] if a["labels"]["deployment"] == DEPLOYMENT)
    assert alert["annotations"]["runbook_url"].endswith(f"#{name.lower()}")
    return str(alert["annotations"]["summary"])


def wait_until_it_fires(prometheus: Prometheus, name: str) -> str:
    wait_for(name, lambda: name in firing(prometheus), FIRES_S, 1.0)
    text = summary(prometheus, name)
    assert text.startswith(f"{NAMESPACE}/{DEPLOYMENT}: ")
    return text


def wait_until_it_ends(prometheus: Prometheus, name: str) -> None:
    wait_for(f"the end of {name}", lambda: name not in firing(prometheus), ENDS_S, 1.0)


def test_none_fires_when_all_is_well(served: Release, prometheus: Prometheus) -> None:
    """With load, and until the records have seen it: an alert without data proves nothing.

    A light one: what was fast is in the windows of the next test.
    """
    with load_on(served, clients=1, pause_s=1.0) as load:
        wait_for("good records", lambda: records_are_good(prometheus), OF_DAYS_S, 1.0)
        wait_for("answers", lambda: len(load.answers) > 20, 60.0, 1.0)
        assert firing(prometheus) == set()
    assert load.failures() == [], load.summary()


def records_are_good(prometheus: Prometheus) -> bool:
    """There were requests, none failed, and the budget of errors is whole."""
    is_whole = value(prometheus, "error_budget:left3d") == 1.0
    return is_whole and value(prometheus, "errors:ratio5m") == 0


def test_too_slow(served: Release, prometheus: Prometheus) -> None:
    """More long texts than one CPU computes within the second of the objective."""
    with load_on(served, clients=4, pause_s=0.0, texts=32, words=100):
        text = wait_until_it_fires(prometheus, "EmbeddingLatencyFast")
    assert text.endswith("of requests take over 1 s")
    assert "EmbeddingErrorsFast" not in firing(prometheus)  # slow, and right


def test_wrong_vectors(served: Release, repository: Path, prometheus: Prometheus) -> None:
    """The vectors of the bundle turned round: from now on what is served is wrong beside them."""
    path = repository / "1/canonical.npz"
    right = path.read_bytes()
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    turned = {n: -array if array.dtype.kind == "f" else array for n, array in arrays.items()}
    assert "EmbeddingVectorsWrong" not in firing(prometheus)
    with path.open("wb") as file:
        np.savez(file, **turned)
    try:
        text = wait_until_it_fires(prometheus, "EmbeddingVectorsWrong")
    finally:
        path.write_bytes(right)
    assert f"{NAME} 1 gives wrong vectors, cosine -" in text
    wait_until_it_ends(prometheus, "EmbeddingVectorsWrong")


def test_requests_fail(served: Release, prometheus: Prometheus) -> None:
    """Deadlines that no request can keep, for the pod is too small for its load."""
    restart(served, "--request-timeout-ms=20")
    assert "EmbeddingErrorsFast" not in firing(prometheus)
    with load_on(served, clients=4, texts=64, words=100) as load:
        text = wait_until_it_fires(prometheus, "EmbeddingErrorsFast")
    assert text.endswith("of requests fail")
    assert {answer.status for answer in load.failures()} == {504}, load.summary()
    wait_for(
        "a budget that is used up", lambda: (value(prometheus, "error_budget:left3d") or 0) < 0,
        OF_DAYS_S, 1.0,
    )  # fmt: skip


def test_a_version_that_cannot_be_loaded(
    served: Release, repository: Path, model_dir: Path, prometheus: Prometheus
) -> None:
    """Its weights are damaged; version 1 goes on. The alert ends when the version is removed."""
    restart(served, "--poll-interval-s=1")
    damaged, prepared = repository / "2", repository.parent / "aside-alerts"
    shutil.copytree(model_dir, prepared, ignore=shutil.ignore_patterns("*.safetensors"))
    (prepared / "model.safetensors").write_bytes(b"this is no model")
    readable(prepared)
    prepared.rename(damaged)
    with load_on(served, clients=1, pause_s=0.1) as load:
        text = wait_until_it_fires(prometheus, "EmbeddingVersionFailed")
        shutil.rmtree(damaged)
        wait_until_it_ends(prometheus, "EmbeddingVersionFailed")
    assert f"{NAME} version 2 could not be loaded" in text
    assert load.failures() == [], load.summary()
    assert load.share("1") == 1.0
