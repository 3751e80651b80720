"""What the downloading process does to itself before any client runs: it dies with the server, and
writes nothing outside of its folder.
"""

import ctypes
import os
import signal
import sys
import tarfile
import zipfile
from typing import Any

from predictor.storage.failure import Escapes

PR_SET_PDEATHSIG = 1
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which argument of which audit event is a path that gets written.
WRITTEN = {"open": 0, "os.mkdir": 0, "os.rename": 1, "os.symlink": 1, "os.link": 1}


def die_with(parent: int) -> None:
    """Have this process, and those that it forks, killed when the one above it dies.

    Clients fork workers that would wait for work for ever. Elsewhere than on Linux the group is
    killed by the parent only.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)

    def arm(above: int) -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != above:  # it died before
            os._exit(1)

    arm(parent)
    own = os.getpid()
    os.register_at_fork(after_in_child=lambda: arm(own))


def keep_inside(folder: str) -> None:
    """Refuse to write to a path with `..` that leads out of `folder`.

    Some clients put the names of a bucket's objects behind the folder's as they are, and `..` is a
    valid name there. Cannot be undone; holds for processes forked from this one.
    """
    inside = os.path.realpath(folder)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        index = WRITTEN.get(event)
        if index is None or (event == "open" and not (arguments[2] or 0) & WRITING):
            return
        path = arguments[index]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if ".." not in name.split("/"):
            return
        if os.path.commonpath((inside, os.path.realpath(name))) != inside:
            raise Escapes(name[len(folder) + 1 :] if name.startswith(folder) else name)

    sys.addaudithook(refuse)


def refuse_odd_names() -> None:
    """Refuse archives with absolute names or `..`, which unpacking would quietly put elsewhere.

    Cannot be undone.
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
