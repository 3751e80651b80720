"""Fixtures of all kinds of tests. A real model, a real server; nothing is downloaded here."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from predictor.export.convert import convert_cached
from predictor.export.source import read_source
from tests.serving import Server, model_flags

DEFAULT_MODEL = Path(__file__).parents[1] / ".cache/models/all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """all-MiniLM-L6-v2 as a Hugging Face directory; `hack/test.sh` fetches it."""
    path = Path(os.environ.get("PREDICTOR_TEST_MODEL", DEFAULT_MODEL))
    if not (path / "model.safetensors").is_file():
        pytest.fail(f"{path}: no model; run ./hack/test.sh, which fetches it")
    return path


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this session's bundles are made; the conversion itself is part of what is tested."""
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def bundle_dir(model_dir: Path, cache_dir: Path) -> Path:
    """The converted model: a version folder with bundle.json."""
    return convert_cached(read_source(model_dir), cache_dir, threads=2)


@pytest.fixture(scope="session")
def server(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    """One server for all tests that do not change it."""
    del bundle_dir  # made before, so that the start is quick
    running = Server(*model_flags(model_dir, cache_dir), "--drain-delay=0")
    yield running
    assert running.stop() == 0
