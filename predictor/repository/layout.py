"""What a model directory holds: models, their numbered versions, and problems seen from outside.

No large file is opened here: a scan must be cheap enough to be made every second.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from predictor.bundle.manifest import MANIFEST
from predictor.bundle.version_folder import VERSION_NUMBER, is_version_folder
from predictor.errors import BadModel

# A name that can stand in a URL, in `name:version` and in a log line.
# Names of folders.
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Folders that volumes and tools leave in a directory, which are no models.
NOT_MODELS = ("lost+found", "__pycache__")
# Depth of the folders of a version that are scanned.
MAX_DEPTH = 4
# A folder with more files is not a version.
MAX_FILES = 10_000

# name, size, time of change and inode of every file
Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class VersionFolder:
    """A version on disk."""

    path: Path
    # Changes whenever a file of it does.
    stamp: Stamp = ()
    # Why it must not be loaded; empty: no reason is known.
    problem: str = ""
    # Of its vectors, where a manifest says so.
    dimensions: int | None = None


@dataclass(frozen=True)
class Layout:
    """The result of one scan."""

    # Versions by model and number.
    models: dict[str, dict[int, VersionFolder]] = field(default_factory=dict)
    # Why an entry is no model or version, by (model, entry); the names may be unusable in requests.
    strays: dict[tuple[str, str], str] = field(default_factory=dict)


def find_version(path: Path) -> tuple[Path, str]:
    """The folder to serve and its version: a version itself, or the highest numbered child.

    Raises:
        BadModel: it is neither.
    """
    if is_version_folder(path):
        return path, str(_number_of(path))
    versions = [
        child
        for child in path.iterdir()
        if VERSION_NUMBER.fullmatch(child.name) and is_version_folder(child)
    ]
    if not versions:
        raise BadModel(
            f"{path}: no model here: neither bundle.json nor config.json, and no numbered folder "
            "with one of them"
        )
    newest = max(versions, key=lambda child: int(child.name))
    return newest, newest.name


def _number_of(path: Path) -> int:
    """The version of a folder that is one itself."""
    return int(path.name) if VERSION_NUMBER.fullmatch(path.name) else 1


def scan(root: Path, model_name: str) -> Layout:
    """Scan a directory: a version, a model (numbered folders) or a repository (of models).

    Args:
        model_name: the name of the one model, where the directory is no repository.

    Raises:
        OSError: the directory cannot be listed.
    """
    layout = Layout()
    if is_version_folder(root):
        # A single folder that is configured may link to files anywhere.
        layout.models[model_name] = {_number_of(root): _look(root, None)}
        return layout
    folders = list(_folders(root))
    inside = root.resolve()
    if any(VERSION_NUMBER.fullmatch(folder.name) for folder in folders):
        _add_model(layout, model_name, folders, inside)
        return layout
    for folder in folders:
        _add_child(layout, folder, inside)
    return layout


def _add_child(layout: Layout, folder: Path, inside: Path) -> None:
    """A folder of a repository: a model, or a version of one."""
    name = folder.name
    if not MODEL_NAME.fullmatch(name):
        why = "a model's name has letters, digits, '.', '_' and '-' only, and at most 128"
        layout.strays[_shown(name), ""] = why
    elif not _is_within(folder, inside):
        layout.strays[name, ""] = "a link that leads out of the repository"
    else:
        try:
            children = None if is_version_folder(folder) else list(_folders(folder))
        except OSError as error:
            layout.strays[name, ""] = f"cannot be listed: {error.strerror or error}"
            return
        if children is None:
            layout.models[name] = {1: _look(folder, inside)}
        else:
            _add_model(layout, name, children, inside)


def _add_model(layout: Layout, name: str, folders: list[Path], inside: Path) -> None:
    versions = layout.models[name] = {}
    for folder in folders:
        if VERSION_NUMBER.fullmatch(folder.name):
            versions[int(folder.name)] = _look(folder, inside)
        else:
            layout.strays[name, _shown(folder.name)] = (
                "not a version number: 1, 2, 3, ... without leading zeros"
            )
    if not versions:
        layout.strays[name, ""] = "no numbered version, no bundle.json and no config.json"
        del layout.models[name]


def _folders(path: Path) -> Iterator[Path]:
    """The folders in `path` that may mean something, by name."""
    for child in sorted(path.iterdir()):
        if not child.name.startswith(".") and child.name not in NOT_MODELS and child.is_dir():
            yield child


def stamp_of(folder: Path) -> Stamp:
    """The stamp of a version's files as they are now. Raises OSError."""
    return tuple(islice(_stamps(folder, folder, None, 0), MAX_FILES + 1))


def _look(folder: Path, inside: Path | None) -> VersionFolder:
    """A version's files from the outside; with `inside`, none may lead out of there."""
    try:
        stamp = tuple(islice(_stamps(folder, folder, inside, 0), MAX_FILES + 1))
    except BadModel as error:
        return VersionFolder(folder, problem=str(error))
    except OSError as error:
        return VersionFolder(folder, problem=f"{folder}: cannot be read: {error.strerror or error}")
    if len(stamp) > MAX_FILES:
        return VersionFolder(folder, problem=f"{folder}: more than {MAX_FILES} files are no model")
    return VersionFolder(folder, stamp, dimensions=_dimensions(folder))


def _stamps(
    folder: Path, version: Path, inside: Path | None, depth: int
) -> Iterator[tuple[str, int, int, int]]:
    """Raises BadModel for a link that leads out, OSError for what cannot be read."""
    if inside is not None and not _is_within(folder, inside):
        raise BadModel(f"{folder}: a link that leads out of the repository")
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if depth < MAX_DEPTH:
                yield from _stamps(path, version, inside, depth + 1)
            continue
        if inside is not None and path.is_symlink() and not _is_within(path, inside):
            raise BadModel(f"{path}: a link that leads out of the repository")
        stat = path.stat()
        name = str(path.relative_to(version))
        yield name, stat.st_size, stat.st_mtime_ns, stat.st_ino


def _is_within(path: Path, inside: Path) -> bool:
    try:
        return path.resolve().is_relative_to(inside)
    except (OSError, RuntimeError):  # links in a circle; RuntimeError before Python 3.13
        return False


class _Dimensions(msgspec.Struct):
    dimensions: int


def _dimensions(folder: Path) -> int | None:
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Dimensions).dimensions
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


def _shown(name: str) -> str:
    """A file name as text that can be written anywhere: at most 128 characters, valid Unicode."""
    return name[:128].encode("utf-8", "replace").decode()
