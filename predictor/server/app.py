"""Puts the server together: settings, model, KServe's process around it."""

import platform
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

from predictor import __version__
from predictor.metrics import BUILD_INFO
from predictor.repository import Repository
from predictor.server.metric_aliases import parse_kinds
from predictor.settings import Settings


def serve(settings: Settings) -> int:
    """Load what is to be served and serve it until SIGTERM; returns the process's exit code.

    Raises:
        BadModel, BadSetting: what is wrong, in one sentence.
    """
    parse_kinds(settings.server.metrics_compat)  # says what is wrong before anything is loaded
    repository: Repository[Any] = Repository(settings)
    # KServe takes most of a second to import and a model about as long to load: side by side.
    with ThreadPoolExecutor(1, "load") as loading:
        loaded = loading.submit(repository.preload)
        from predictor.server.model_server import EmbeddingModelServer

        loaded.result()
    BUILD_INFO.labels(
        __version__, platform.python_version(), _version("onnxruntime"), _version("kserve")
    ).set(1)
    return EmbeddingModelServer(settings, repository).start()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return metadata.version(f"{distribution}-gpu")
