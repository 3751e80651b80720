"""Bundles appear whole or not at all: written in a staging folder, then renamed.

A reader that polls the directory sees all of a version or nothing, and an export that is
interrupted, killed or runs out of disk leaves nothing that looks like a version.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from predictor.bundle.manifest import MANIFEST, Bundle, is_bundle, sha256
from predictor.bundle.signature import SIGNATURE, Sign
from predictor.bundle.version_folder import VERSION_NUMBER
from predictor.errors import BadModel
from predictor.wall import of_its_kind

logger = logging.getLogger(__name__)

STAGING_PREFIX = ".writing-"


@contextmanager
def staging_folder(parent: Path, shown: Path, hint: str) -> Iterator[Path]:
    """A folder beside the versions in `parent` to write into, removed at the end in any case.

    Args:
        shown: what the user called this place.
        hint: what to do if it cannot be written.

    Raises:
        BadModel: a file cannot be written (no permission), here or in the body.
        NoResources: the disk is full.
    """
    folder: Path | None = None
    lock: int | None = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        remove_half_made(parent)
        folder, lock = _new_staging_folder(parent)
        yield folder
    except OSError as error:
        why = error.strerror or error
        raise of_its_kind(BadModel(f"{shown}: cannot be written ({why}); {hint}")) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_half_made(parent: Path) -> None:
    """Remove the staging folders in `parent` whose processes were killed.

    A process holds a lock on its folder as long as it lives.
    """
    for folder in parent.glob(f"{STAGING_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # it is gone, or no folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            logger.info("removing %s, left by a process that was killed", folder)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # its process lives, or the file system has no locks
            continue
        finally:
            os.close(lock)


def _new_staging_folder(parent: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock. Raises OSError."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=parent))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # the file system has no locks: it is never removed
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)  # another process took it for one that was left


def publish(
    bundle: Bundle,
    folder: Path,
    version: Path,
    sign: Sign | None = None,
    check: Callable[[Path], None] | None = None,
) -> Bundle:
    """Write the manifest with the digests of all files in `folder`, and move it to `version`.

    Args:
        sign: gives the signature of the manifest, which is written beside it.
        check: called with `folder` when the bundle is complete; what it raises is passed on, and
            nothing is published.

    Returns:
        The bundle as written.

    Raises:
        BadModel: the version exists already, with another content.
    """
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    bundle = msgspec.structs.replace(bundle, files=files)
    manifest = msgspec.json.format(msgspec.json.encode(bundle), indent=2)
    (folder / MANIFEST).write_bytes(manifest)
    if sign is not None:
        (folder / SIGNATURE).write_bytes(sign(manifest))
    if check is not None:
        check(folder)
    folder.chmod(0o755)
    try:
        folder.rename(version)
    except OSError as error:
        if is_bundle(version) and _has_same_revision(version, bundle):
            return bundle  # another process was faster
        if version.exists():
            raise BadModel(f"{version}: exists already; versions are never replaced") from error
        raise
    return bundle


def _has_same_revision(version: Path, bundle: Bundle) -> bool:
    existing = msgspec.json.decode((version / MANIFEST).read_bytes(), type=Bundle)
    return existing.revision == bundle.revision


def next_version(model: Path) -> int:
    """One more than the highest version in a model's folder; 1 if there is none.

    Raises:
        BadModel: the folder may not be listed.
    """
    if not os.path.isdir(model):  # False, not an error, for a folder that may not be entered
        return 1
    try:
        names = os.listdir(model)
    except OSError as error:
        raise BadModel(f"{model}: cannot be listed ({error.strerror}); give another -o") from error
    numbers = [int(name) for name in names if VERSION_NUMBER.fullmatch(name)]
    return max(numbers, default=0) + 1
