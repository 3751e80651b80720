"""Assembles the server from settings, models and capabilities."""

import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import TYPE_CHECKING, Any

from predictor import __version__
from predictor.metrics import BUILD_INFO
from predictor.repository import Repository, await_model_dir
from predictor.server.metrics.aliases import parse_kinds
from predictor.settings import Settings

if TYPE_CHECKING:  # importing it takes KServe along
    from predictor.server.application import Capability


def serve(settings: Settings, capabilities: "Sequence[Capability] | None" = None) -> int:
    """Load what is to be served and serve it until SIGTERM; returns the process's exit code.

    Args:
        capabilities: the tasks and how protocols write them; None: all that there are.

    Raises:
        BadModel, BadSetting: what is wrong, in one sentence.
    """
    parse_kinds(settings.server.metrics_compat)  # says what is wrong before anything is loaded
    await_model_dir(settings)
    repository: Repository[Any] = Repository(settings)
    # Importing KServe and loading a model each take most of a second, so they run in parallel.
    with ThreadPoolExecutor(1, "load") as loading:
        loaded = loading.submit(repository.preload)
        from predictor.server.application import CAPABILITIES, put_together
        from predictor.server.server import Server

        loaded.result()
    BUILD_INFO.labels(
        __version__, platform.python_version(), _version("onnxruntime"), _version("kserve")
    ).set(1)
    application = put_together(CAPABILITIES if capabilities is None else capabilities)
    return Server(settings, repository, application).start()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return metadata.version(f"{distribution}-gpu")
