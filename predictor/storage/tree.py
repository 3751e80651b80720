"""What lies in a download and in a mirror: versions, their digests, and nothing that leads out."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from predictor.bundle.manifest import MANIFEST, is_bundle, sha256
from predictor.bundle.version_folder import VERSION_NUMBER, is_version_folder
from predictor.storage.failure import Escapes, NoModel

# Beside a version's files: the digest of all of them, so that it is worked out once.
CONTENT = ".content"
NO_MANIFEST = "holds neither bundle.json nor config.json"
NOTHING = (
    "no model there: neither bundle.json nor config.json, no numbered folders and no folders of "
    "models"
)


@dataclass(frozen=True)
class Version:
    """A version's folder; `number` is None for a plain model folder. `model` may be ""."""

    model: str
    number: int | None
    folder: Path

    @property
    def name(self) -> str:
        """As in a path: `minilm/3`, `3`, or `minilm`; empty: the folder itself."""
        return "/".join(filter(None, (self.model, str(self.number or ""))))


def survey(tree: Path, number: int | None = None) -> list[Version]:
    """The versions in a folder, by the rules of a repository: a version, a model, or models.

    Args:
        number: of the version, if the folder is one itself.
    """
    if is_version_folder(tree):
        return [Version("", number, tree)]
    folders = list(_folders(tree))
    numbered = _numbered("", folders)
    if numbered:
        return numbered
    return [version for folder in folders for version in _model(folder)]


def _model(folder: Path) -> list[Version]:
    if is_version_folder(folder):
        return [Version(folder.name, None, folder)]
    return _numbered(folder.name, list(_folders(folder)))


def _numbered(model: str, folders: list[Path]) -> list[Version]:
    return [Version(model, int(f.name), f) for f in folders if VERSION_NUMBER.fullmatch(f.name)]


def _folders(folder: Path) -> Iterator[Path]:
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith("."):
            yield child


def in_mirror(mirror: Path) -> dict[tuple[str, int], Path]:
    """All versions of a mirror by (model, number), also where both kinds of layout are mixed."""
    folders = list(_folders(mirror))
    named = [folder for folder in folders if not VERSION_NUMBER.fullmatch(folder.name)]
    versions = _numbered("", folders)
    versions += [version for f in named for version in _numbered(f.name, list(_folders(f)))]
    return {(version.model, version.number or 0): version.folder for version in versions}


def tidy(tree: Path, number: int | None) -> list[Version]:
    """Make a download fit to be published: no hidden files, plain permissions, nothing odd.

    Raises:
        Escapes: a link leads out of its version, or a file is neither file nor folder.
        NoModel: there is no version in it.
    """
    _drop_hidden(tree)
    versions = survey(tree, number)
    if not versions:
        raise NoModel(NOTHING)
    for version in versions:
        if version.folder != tree and version.folder.is_symlink():
            raise Escapes(version.name)
        _check(version.folder, tree)
    return versions


def _drop_hidden(tree: Path) -> None:
    """What clients leave beside a model: .git, .cache, .gitattributes."""
    for parent, folders, files in os.walk(tree):
        for name in [name for name in folders if name.startswith(".")]:
            path = Path(parent, name)
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)
            folders.remove(name)
        for name in files:
            if name.startswith("."):
                Path(parent, name).unlink()


def _check(version: Path, tree: Path) -> None:
    inside = version.resolve()
    version.chmod(0o755)
    for parent, folders, files in os.walk(version):
        for name in (*folders, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not _stays(path, inside):
                    raise Escapes(str(path.relative_to(tree)))
            elif stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                path.chmod(0o755 if stat.S_ISDIR(mode) else 0o644)
            else:
                raise Escapes(str(path.relative_to(tree)))


def _stays(link: Path, inside: Path) -> bool:
    """Whether a link is relative and ends within its version, which will be moved."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # dangling, or a loop
        return False
    return not os.path.isabs(os.readlink(link)) and target.is_relative_to(inside)


def content_of(folder: Path) -> str:
    """Hex sha256 of a version: of a bundle its manifest, which has the digests, else all files."""
    if is_bundle(folder):
        return sha256(folder / MANIFEST)
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted(name for name in (*files, *links) if not name.startswith(".")):
            path = Path(parent, name)
            what = f"-> {os.readlink(path)}" if path.is_symlink() else sha256(path)
            digest.update(
                f"{path.relative_to(folder)}\0{what}\0".encode("utf-8", "surrogateescape")
            )
    return digest.hexdigest()


def known_content(folder: Path) -> str | None:
    """The digest beside a version's files, if it is there."""
    try:
        return (folder / CONTENT).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def size_of(folder: Path) -> int:
    """Bytes of all files; of those that vanish meanwhile, none."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
