"""A memory cgroup of 1 GiB, the pod's default limit, for a server that is attacked (v1 or v2)."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S

LIMIT_BYTES = 1 << 30
MOUNT = Path("/sys/fs/cgroup")


def parent_of(membership: str, mount: Path = MOUNT) -> tuple[Path, str]:
    """The cgroup of this process, and the file of a limit in a child of it.

    Args:
        membership: the content of `/proc/self/cgroup`.
    """
    lines = dict(re.findall(r"^\d+:([^:]*):(.*)$", membership, re.MULTILINE))
    if "memory" in lines:
        return mount / "memory" / lines["memory"].lstrip("/"), "memory.limit_in_bytes"
    return mount / lines.get("", "/").lstrip("/"), "memory.max"


@contextmanager
def memory_cgroup() -> Iterator[Path]:
    """A cgroup of 1 GiB, gone at the end; skips the test where none can be made."""
    parent, limit = parent_of(Path("/proc/self/cgroup").read_text())
    folder = parent / f"attack-{os.getpid()}-{time.monotonic_ns()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made: {error.strerror}")
    try:
        try:
            (folder / limit).write_text(str(LIMIT_BYTES))
        except OSError as error:
            pytest.skip(f"no memory cgroup can be made: {error.strerror}")
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """The kernel takes a moment to see that the last process has left."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def wrapper(folder: Path, descriptors: int) -> list[str]:
    """A command that runs another one in a cgroup with a limit of file descriptors."""
    script = f'echo $$ > "{folder}/cgroup.procs" && ulimit -n {descriptors} && exec "$@"'
    return ["sh", "-c", script, "sh"]
