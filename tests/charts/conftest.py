"""Every ci file is rendered once for all tests."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer, start, stop, why_not

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
        found = helm.all_ci_files()
        names = [f"{chart}-{path.name.removesuffix('-values.yaml')}" for chart, path in found]
        metafunc.parametrize(("chart", "values"), found, ids=names)


@pytest.fixture(scope="package")
def api_server() -> Iterator[ApiServer]:
    """Started once and stopped after this folder: later tests want the machine for a node."""
    if reason := why_not():
        pytest.skip(reason)
    server = start()
    yield server
    stop()
