"""Key files as tests write them, and a directory that is swapped as Kubernetes swaps a Secret."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

SEARCH = "sk-search-0123456789abcdef0123456789abcdef"
INGEST = "sk-ingest-0123456789abcdef0123456789abcdef"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def entry(name: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": digest(key), **more}


def listing(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": entries}).encode()


class Mount:
    """`<folder>/<name>` -> `..data/<name>`, `..data` -> `..1/`, then `..2/`, as the kubelet's."""

    def __init__(self, folder: Path, name: str, content: bytes) -> None:
        self._folder, self._name, self._count = folder, name, 0
        folder.mkdir()
        self.path = folder / name
        self.swap(content)
        self.path.symlink_to(f"..data/{name}")

    def swap(self, content: bytes) -> None:
        """Write the next version beside, put the link over the old one, remove the old version."""
        self._count += 1
        fresh = self._folder / f"..{self._count}"
        fresh.mkdir()
        (fresh / self._name).write_bytes(content)
        (self._folder / "..data_tmp").symlink_to(fresh.name)
        (self._folder / "..data_tmp").rename(self._folder / "..data")
        old = self._folder / f"..{self._count - 1}"
        if old.is_dir():
            (old / self._name).unlink()
            old.rmdir()


def rewrite_unseen(path: Path, content: bytes) -> None:
    """Other bytes in the same inode, of the same size and with the same time of writing."""
    stat = path.stat()
    assert len(content) == stat.st_size
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
