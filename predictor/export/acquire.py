"""The model that `predictor export` is given as a directory, a zip, or a name on a hub."""

import importlib.util
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from predictor.bundle.source import is_source
from predictor.errors import BadModel, BadSetting
from predictor.extras import install

HUB_NAME = re.compile(r"[\w][\w.-]*/[\w.-]+(@[\w.\-/]+)?")
MODULE_FOLDER = re.compile(r"\d+_[A-Z]")  # 1_Pooling: a part of a model
# No code of a model is ever fetched, nor weights of other frameworks.
FETCHED_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.bin", "*.md")
UNWANTED = ("onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "training_args.bin")


@dataclass(frozen=True)
class Acquired:
    """A model's directory on this machine."""

    folder: Path
    """Where to read it."""

    name: str
    """What the bundle says it came from."""

    revision: str | None = None
    """Its commit, if it came from a hub."""


@contextmanager
def acquire(source: str) -> Iterator[Acquired]:
    """The model named by `source`; an unpacked zip is removed at the end.

    Raises:
        BadModel: the source cannot be read or fetched, or is no model.
        BadSetting: `source` names neither a directory, a zip nor a model on a hub, or the hub's
            library is not installed.
    """
    path = Path(source)
    if os.path.isdir(source):  # False, not an error, for a name that is too long for a path
        yield Acquired(_model_in(path, path), path.resolve().name)
    elif os.path.isfile(source):
        with tempfile.TemporaryDirectory(prefix="predictor-source-") as folder:
            _unpack(path, Path(folder))
            yield Acquired(_model_in(Path(folder), path), path.name)
    elif HUB_NAME.fullmatch(source) and not source.startswith((".", "/")):
        yield _from_hub(source)
    else:
        raise BadSetting(
            f"{source}: no such directory or zip file, and not the name of a model on a hub "
            "(organisation/name or organisation/name@revision)"
        )


def _model_in(folder: Path, shown: Path) -> Path:
    """The folder itself, or the only folder in it that holds a model; `shown`: its name."""
    if is_source(folder):
        return folder
    inside = sorted(
        child
        for child in folder.iterdir()
        if child.is_dir() and is_source(child) and not MODULE_FOLDER.match(child.name)
    )
    if len(inside) != 1:
        names = ", ".join(child.name for child in inside) or "none"
        raise BadModel(
            f"{shown}: no config.json or modules.json; folders in it that have one: {names}"
        )
    return inside[0]


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)  # it strips absolute paths and ".."
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # or encrypted
        raise BadModel(f"{path}: not a zip file, or a damaged one: {error}") from error
    except OSError as error:
        raise BadModel(f"{path}: cannot be unpacked: {error.strerror or error}") from error


def _from_hub(source: str) -> Acquired:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise BadSetting(
            f"{source}: no such directory, and fetching from a hub needs huggingface_hub: "
            + install("hub")
        )
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    try:
        folder = snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=list(FETCHED_FILES),
            ignore_patterns=list(UNWANTED),
        )
    except Exception as error:  # the library lets errors of several HTTP clients through
        why = " ".join(str(error).split())[:200]
        raise BadModel(f"{source}: cannot be fetched from the hub: {why}") from error
    # The cache keeps each commit in a folder of its name.
    return Acquired(Path(folder), name, Path(folder).name)
