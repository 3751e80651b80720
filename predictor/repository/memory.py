"""How much memory the process uses and may use; and freeing what it does not use.

glibc keeps freed memory for later: after a model of 130 MB was dropped, the process stayed
30 to 60 MB larger than before it was loaded. `malloc_trim` gives all of it back.
"""

import ctypes
import gc
import os
from pathlib import Path

from predictor.engine.cgroup import CGROUP, SELF, own_groups

MIB = 1 << 20
# Share of the cgroup's limit that may be used; over the limit the kernel kills the process.
SHARE = 0.9
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
    """The limit as set, else that of the cgroup; None: there is no limit."""
    if setting_mb:
        return setting_mb * MIB
    cgroup = cgroup_memory()
    return None if cgroup is None else int(cgroup * SHARE)


def resident_bytes(process: int | None = None) -> int:
    """Memory that this process, or another one, uses now; 0 if that has ended."""
    try:
        content = Path(f"/proc/{process or 'self'}/statm").read_text()
    except OSError:
        return 0
    return int(content.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Free unreferenced objects and return their memory to the kernel.

    Takes about 1 ms if the objects of the start are frozen (`gc.freeze`), otherwise 50 to 200 ms.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
