"""Limits that the downloading process sets itself before any client runs.

It dies with the server and writes nothing outside of its folder.
"""

import ctypes
import os
import signal
import sys
import tarfile
import tempfile
import zipfile
from typing import Any

from predictor.storage.failure import Escapes

PR_SET_PDEATHSIG = 1
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which argument of which audit event is a path that gets written.
WRITTEN = {"open": 0, "os.mkdir": 0, "os.rename": 1, "os.symlink": 1, "os.link": 1}

# What clients of stores keep for themselves.
CLIENT_FOLDERS = ("~/.cache", "~/.modelscope")


def die_with_parent(parent: int) -> None:
    """Have this process, and those that it forks, killed when their parent dies.

    Clients fork workers that would wait for work for ever. On other systems than Linux only the
    parent kills them.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)

    def arm(above: int) -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != above:  # it died already
            os._exit(1)

    arm(parent)
    this_process = os.getpid()
    os.register_at_fork(after_in_child=lambda: arm(this_process))


def forbid_writes_outside(folder: str) -> None:
    """Refuse to write outside of `folder`, the folder for temporary files and clients' own folders.

    Some clients append the names of a bucket's objects to the folder's path unchecked: `..`, `/`
    at the beginning, and the name of a link that was downloaded before are all valid there. It
    cannot be undone, and holds for processes forked from this one.
    """
    allowed = [folder, tempfile.gettempdir(), *map(os.path.expanduser, CLIENT_FOLDERS)]
    inside = [os.path.realpath(path) for path in allowed]

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        index = WRITTEN.get(event)
        if index is None or (event == "open" and not (arguments[2] or 0) & WRITING):
            return
        path = arguments[index]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        real = os.path.realpath(name) if event == "open" else _real_place(name)
        if real != os.devnull and not any(_is_within(real, root) for root in inside):
            raise Escapes(name[len(folder) + 1 :] if name.startswith(folder) else name)

    sys.addaudithook(refuse)


def _real_place(name: str) -> str:
    """Where an entry is that is made under this name; if it is a link, not where that leads."""
    folder, last = os.path.split(name.rstrip("/"))
    if last in ("", ".", ".."):
        return os.path.realpath(name)
    return os.path.join(os.path.realpath(folder or "."), last)


def _is_within(path: str, folder: str) -> bool:
    """Whether an absolute path is that of the folder or of something in it."""
    return os.path.commonpath((path, folder)) == folder


def forbid_unsafe_names() -> None:
    """Refuse archives with absolute names or `..`, which would be unpacked to another place.

    It cannot be undone.
    """
    unpack_zip, unpack_tar = zipfile.ZipFile.extractall, tarfile.TarFile.extractall

    def check(name: str) -> None:
        if name.startswith("/") or ".." in name.split("/"):
            raise Escapes(name)

    def strict(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        check(member.name)
        return tarfile.data_filter(member, path)

    def from_zip(archive: zipfile.ZipFile, *arguments: Any, **named: Any) -> None:
        for name in archive.namelist():
            check(name)
        unpack_zip(archive, *arguments, **named)

    def from_tar(archive: tarfile.TarFile, *arguments: Any, **named: Any) -> None:
        unpack_tar(archive, *arguments, **(named | {"filter": strict}))

    zipfile.ZipFile.extractall = from_zip  # type: ignore[assignment,method-assign]
    tarfile.TarFile.extractall = from_tar  # type: ignore[assignment,method-assign]
