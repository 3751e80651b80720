"""A server as the kernel sees it: started in its own process group, read from /proc, ended whole.

A process group, because peers start children of their own, and a benchmark that leaves one running
spoils the next.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
GRACE_S = 15
QUIET_CPU_SHARE = 0.1  # of one core: peers poll even when they have nothing to do


@dataclass(frozen=True)
class MemoryUse:
    """Of a process and its children, in bytes. Shared pages count fully in RSS, in parts in PSS."""

    rss: int
    pss: int


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def family(pid: int) -> list[int]:
    """The process and all that it started."""
    pids = [pid]
    for parent in pids:
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                pids += [int(child) for child in children.read_text().split()]
    return pids


def memory(pid: int) -> MemoryUse:
    rss = pss = 0
    for member in family(pid):
        rollup = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        kilobytes = {line.split()[0]: int(line.split()[1]) for line in rollup[1:]}
        rss += kilobytes["Rss:"] * 1024
        pss += kilobytes["Pss:"] * 1024
    return MemoryUse(rss, pss)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that the processes and their children have used so far."""
    ticks = 0
    for pid in pids:
        for member in family(pid):
            with suppress(OSError):
                # The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
                fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def wait_until_idle(pids: Sequence[int], limit_s: float = 60) -> bool:
    """Wait until the servers have done with what an ended client had left in their queues."""
    step_s = 0.25
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(step_s)
        if cpu_seconds(pids) - before <= QUIET_CPU_SHARE * step_s * len(pids):
            return True
    return False
