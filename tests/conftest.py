"""Fixtures of all kinds of tests. A real model, a real server; nothing is downloaded here."""

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from predictor.bundle.source import read_source
from predictor.export.convert import convert_cached
from tests.serving import Server, model_flags

pytest_plugins = ("tests.distribution", "tests.skips")

# A slow machine is no failure of the code: hypothesis does not time examples.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

DEFAULT_MODEL = Path(__file__).parents[1] / ".cache/models/all-MiniLM-L6-v2"


def pytest_configure() -> None:
    """A shell starts a job in the background with SIGINT ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """all-MiniLM-L6-v2 as a Hugging Face directory; `hack/test.sh` fetches it."""
    path = Path(os.environ.get("PREDICTOR_TEST_MODEL", DEFAULT_MODEL))
    if not (path / "model.safetensors").is_file():
        pytest.fail(f"{path}: no model; run ./hack/test.sh, which fetches it")
    return path


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this run's bundles are made; the conversion itself is part of what is tested.

    All processes of a run share it: theirs are folders beside each other.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "bundles"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def bundle_dir(model_dir: Path, cache_dir: Path) -> Path:
    """The converted model: a version folder with bundle.json, made by the first who wants it."""
    with (cache_dir.parent / "bundles.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return convert_cached(read_source(model_dir), cache_dir, threads=2)


@pytest.fixture(scope="session")
def server(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    """One server for all tests that do not change it."""
    del bundle_dir  # made before, so that the start is quick
    running = Server(*model_flags(model_dir, cache_dir), "--drain-delay-s=0")
    yield running
    assert running.stop() == 0
