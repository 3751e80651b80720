"""Puts the server together: settings, model, KServe's process around it."""

import platform
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

from predictor import __version__, repository
from predictor.metrics import BUILD_INFO
from predictor.settings import Settings


def serve(settings: Settings) -> int:
    """Load the model and serve it until SIGTERM; returns the process's exit code.

    Raises:
        BadModel, BadSetting: what is wrong, in one sentence.
    """
    # KServe takes most of a second to import and the model about as long to load: side by side.
    with ThreadPoolExecutor(1, "load") as loading:
        loaded = loading.submit(repository.load, settings)
        from predictor.server.model import EmbeddingModel
        from predictor.server.model_server import EmbeddingModelServer

        model = EmbeddingModel(loaded.result(), settings)
    BUILD_INFO.labels(
        __version__, platform.python_version(), _version("onnxruntime"), _version("kserve")
    ).set(1)
    return EmbeddingModelServer(settings).start([model])


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return metadata.version(f"{distribution}-gpu")
