"""Which releases the figures are of: our engine's and the peers'."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from . import environments


def versions() -> dict[str, str]:
    return {
        "ours: onnxruntime": onnxruntime_version(),
        "Infinity": environments.version("infinity", "infinity_emb"),
        "with onnxruntime": environments.version("infinity", "onnxruntime"),
        "naive: kserve": environments.version("naive", "kserve"),
        "onnxruntime": environments.version("naive", "onnxruntime"),
        "sentence-transformers": environments.version("st", "sentence-transformers"),
        "torch": environments.version("st", "torch"),
    }


def onnxruntime_version() -> str:
    """Of the package that this environment has: there is one for CPUs and one for CUDA."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(PackageNotFoundError):
            return version(package)
    return "?"
