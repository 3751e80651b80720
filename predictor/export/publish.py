"""Bundles appear whole or not at all: written aside, then renamed into their place.

A reader who polls the directory sees all of a version or nothing, and an export that is
interrupted, killed or runs out of disk leaves nothing that looks like a version.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from predictor.engine.bundle import MANIFEST, Bundle, is_bundle, sha256
from predictor.errors import BadModel

ASIDE = ".writing-"
VERSION = re.compile(r"[1-9][0-9]{0,8}")


@contextmanager
def aside(parent: Path, shown: Path, mend: str) -> Iterator[Path]:
    """A folder beside the versions in `parent` to write into; gone at the end, whatever happens.

    Args:
        shown: what the user called this place.
        mend: what to do if it cannot be written.

    Raises:
        BadModel: a file cannot be written (no permission, disk full), here or in the body.
    """
    folder: Path | None = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=ASIDE, dir=parent))
        yield folder
    except OSError as error:
        raise BadModel(f"{shown}: cannot be written ({error.strerror or error}); {mend}") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def publish(bundle: Bundle, folder: Path, version: Path) -> Bundle:
    """Write the manifest with the digests of all files in `folder`, and move it to `version`.

    Returns:
        The bundle as written.

    Raises:
        BadModel: another version stands there already, with another content.
    """
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    bundle = msgspec.structs.replace(bundle, files=files)
    manifest = msgspec.json.format(msgspec.json.encode(bundle), indent=2)
    (folder / MANIFEST).write_bytes(manifest)
    folder.chmod(0o755)
    try:
        folder.rename(version)
    except OSError as error:
        if is_bundle(version) and _same(version, bundle):
            return bundle  # another process was faster
        if version.exists():
            raise BadModel(f"{version}: exists already; versions are never replaced") from error
        raise
    return bundle


def _same(version: Path, bundle: Bundle) -> bool:
    there = msgspec.json.decode((version / MANIFEST).read_bytes(), type=Bundle)
    return there.revision == bundle.revision


def next_version(model: Path) -> int:
    """One more than the highest version in a model's folder; 1 if there is none.

    Raises:
        BadModel: the folder may not be listed.
    """
    if not os.path.isdir(model):  # of a folder that may not be entered: False, no error
        return 1
    try:
        names = os.listdir(model)
    except OSError as error:
        raise BadModel(f"{model}: cannot be listed ({error.strerror}); give another -o") from error
    numbers = [int(name) for name in names if VERSION.fullmatch(name)]
    return max(numbers, default=0) + 1
