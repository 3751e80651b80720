"""How many threads this process may keep busy: the cgroup's CPU limit, not the host's cores.

ONNX Runtime counts the host's cores, and KServe's SDK reads cgroup v1 only; in a pod limited to two
CPUs on a large node both start dozens of threads that the kernel then throttles.
"""

import math
import os
from pathlib import Path

from predictor.engine.cgroup import CGROUP, SELF, own_groups


def quota_v2(cpu_max: str) -> float | None:
    """CPUs allowed by the text of a cgroup v2 `cpu.max` ("max 100000" or "200000 100000")."""
    quota, _, period = cpu_max.strip().partition(" ")
    if quota == "max":
        return None
    return int(quota) / int(period or 100_000)


def quota_v1(quota_us: str, period_us: str) -> float | None:
    """CPUs allowed by cgroup v1's `cpu.cfs_quota_us` (-1: no limit) and `cpu.cfs_period_us`."""
    quota = int(quota_us)
    return quota / int(period_us) if quota > 0 else None


def cgroup_limit(root: Path = CGROUP, membership: Path = SELF) -> float | None:
    """The tightest CPU limit (in CPUs) on the way from this process's cgroup to the root."""
    limits: list[float] = []
    for group in own_groups("cpu", root, membership):
        try:
            limit = quota_v2((group / "cpu.max").read_text())
        except (OSError, ValueError):
            try:
                limit = quota_v1(
                    (group / "cpu.cfs_quota_us").read_text(),
                    (group / "cpu.cfs_period_us").read_text(),
                )
            except (OSError, ValueError):
                continue
        if limit is not None:
            limits.append(limit)
    return min(limits, default=None)


def available_cpus() -> int:
    """CPUs this process may keep busy: the smaller of affinity and cgroup limit, at least 1."""
    affinity = len(os.sched_getaffinity(0))
    limit = cgroup_limit()
    return affinity if limit is None else max(1, min(affinity, math.ceil(limit)))


# What decides which kernels a matrix product gets, in /proc/cpuinfo's words, x86 first.
TELLING_FLAGS = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
)


def instruction_sets(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """The instruction sets of this CPU that matter to an inference engine; empty if unknown."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return ()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    present = set(flags.partition(":")[2].split())
    return tuple(flag for flag in TELLING_FLAGS if flag in present)
