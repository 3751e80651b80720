"""Every ci file is rendered once for all tests."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer, Rejected, start, stop, why_not

Rendering = Callable[[str, Path], list[helm.Object]]


@pytest.fixture(scope="session", autouse=True)
def the_real_helm() -> None:
    """Nothing of this folder means anything without it."""
    if reason := helm.why_no_helm():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def rendered() -> Rendering:
    """The objects of a ci file; not to be changed by a test."""

    @cache
    def render(chart: str, path: Path) -> list[helm.Object]:
        return helm.template(chart, files=(path,))

    return render


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes chart and values runs for every ci file."""
    if {"chart", "values"} <= set(metafunc.fixturenames):
        cases = helm.all_ci_files()
        names = [f"{chart}-{path.name.removesuffix('-values.yaml')}" for chart, path in cases]
        metafunc.parametrize(("chart", "values"), cases, ids=names)


@pytest.fixture(scope="package")
def api_server() -> Iterator[ApiServer]:
    """Started once and stopped after this folder: later tests want the machine for a node."""
    if reason := why_not():
        pytest.skip(reason)
    server = start()
    yield server
    stop()


@pytest.fixture(scope="module")
def policy(api_server: ApiServer) -> Iterator[ApiServer]:
    """The API server with the policy of canaries, as the chart installs it, once it is obeyed."""
    arguments = (str(helm.CHARTS / helm.RUNTIME), "-n", helm.NAMESPACE)
    sets = helm.flags(helm.NEEDED[helm.RUNTIME], ())
    helm.run("install", "rt", *arguments, *sets, environment=api_server.environment)
    values = ("canary.name=v2", "canary.storageUri=pvc://models/2", "canary.trafficPercent=10")
    probe = helm.only(helm.template(helm.MODEL, *values, release="probe"), "InferenceService")
    api_server.apply([probe])

    def is_enforced() -> bool:
        try:
            api_server.kubectl(
                "patch", "inferenceservice", "probe", "-n", helm.NAMESPACE, "--type=merge",
                "--dry-run=server", "-p", '{"spec": {"canary": null}}',
            )  # fmt: skip
        except Rejected:
            return True
        return False

    try:
        api_server.settle("the policy is not enforced", is_enforced)
        yield api_server
    finally:
        api_server.delete([probe])
        helm.run("uninstall", "rt", "-n", helm.NAMESPACE, environment=api_server.environment)
