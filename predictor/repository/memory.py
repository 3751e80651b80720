"""How much memory the process has, may have, and would need; and giving back what it has not.

glibc keeps freed memory for later: after a model of 130 MB was dropped, the process stayed
30 to 60 MB larger than before it was loaded. `malloc_trim` gives all of it back.
"""

import ctypes
import gc
import os
from pathlib import Path

from predictor.engine.bundle import is_bundle
from predictor.engine.cgroup import CGROUP, SELF, own_groups

MIB = 1 << 20
# Share of the cgroup's limit that may be used: beyond it the kernel kills without asking.
SHARE = 0.9
# What a version needs, from its files: a float32 graph is held about one and a half times (its
# matrices are repacked by each of two sessions, its tables are mapped), plus arena and tokenizer.
FILE_FACTOR, FIXED = 1.5, 32 * MIB
# cgroup v1 writes this, rounded down to pages, for "no limit".
NO_LIMIT_V1 = 1 << 62


def cgroup_memory(root: Path = CGROUP, membership: Path = SELF) -> int | None:
    """The tightest memory limit (bytes) on the way from this process's cgroup to the root."""
    limits: list[int] = []
    for group in own_groups("memory", root, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limit = int((group / name).read_text())
            except (OSError, ValueError):  # "max" too
                continue
            if limit < NO_LIMIT_V1:
                limits.append(limit)
    return min(limits, default=None)


def limit_bytes(setting_mb: int) -> int | None:
    """The limit as set, or from the cgroup; None: there is none."""
    if setting_mb:
        return setting_mb * MIB
    cgroup = cgroup_memory()
    return None if cgroup is None else int(cgroup * SHARE)


def resident_bytes() -> int:
    """What the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def needed_bytes(version: Path) -> int:
    """About what loading this version takes, from the size of its files.

    A bundle may hold several variants, of which one is loaded: its largest file counts.
    """
    sizes = [path.stat().st_size for path in version.rglob("*") if path.is_file()]
    size = max(sizes, default=0) if is_bundle(version) else sum(sizes)
    return int(size * FILE_FACTOR) + FIXED


def give_back() -> None:
    """Free what nothing refers to any more and return it to the kernel. Takes about 50 ms."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
